package load

import (
	"context"
	"database/sql"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/txlock"
)

// do runs a business transaction of the library's under a lock.
func (c *client) do(ctx context.Context, key string) {
	c.counter(ctx, key)
	var options []txlock.AcquireOption
	if c.chance(20) {
		options = append(options, txlock.NoWait())
	}
	op := c.op(history.Lock, key)
	c.recorder.Call(op)
	err := c.locker.Do(ctx, key, func(ctx context.Context, tx *sql.Tx) error {
		epoch, _ := txlock.EpochFromContext(ctx)
		op.Epoch = epoch
		return c.work(ctx, tx, op, op.ID, epoch)
	}, options...)
	c.returns(op, err)
}

// lockOwn locks a key in a transaction of the client.
func (c *client) lockOwn(ctx context.Context, key string) {
	c.counter(ctx, key)
	op := c.op(history.Lock, key)
	c.recorder.Call(op)
	err := c.transact(ctx, func(tx *sql.Tx) error {
		if err := c.locker.LockTx(ctx, tx, key); err != nil {
			return err
		}
		if err := c.locked(ctx, tx, op); err != nil {
			return err
		}
		return c.rollback()
	})
	c.returns(op, err)
}

// locked works under a lock. What its epoch is, the key's row says.
func (c *client) locked(ctx context.Context, tx *sql.Tx, op *history.Op) error {
	var epoch int64
	if err := tx.QueryRowContext(ctx, `SELECT epoch FROM helix_locks WHERE lock_key = ?`, op.Key).Scan(&epoch); err != nil {
		return ownError(err)
	}
	op.Epoch = epoch
	return c.write(ctx, tx, op, op.ID, epoch)
}

// lockTwo locks two keys in one transaction, in either order, so that two of them
// deadlock. It locks both before it reads anything.
func (c *client) lockTwo(ctx context.Context) {
	first := c.rand.IntN(c.Keys)
	second := (first + 1 + c.rand.IntN(c.Keys-1)) % c.Keys
	ops := []*history.Op{c.op(history.Lock, c.keyOf(first)), c.op(history.Lock, c.keyOf(second))}
	for _, op := range ops {
		c.counter(ctx, op.Key)
	}
	for _, op := range ops {
		c.recorder.Call(op)
	}
	err := c.transact(ctx, func(tx *sql.Tx) error {
		for _, op := range ops {
			if err := c.locker.LockTx(ctx, tx, op.Key); err != nil {
				return err
			}
		}
		for _, op := range ops {
			if err := c.locked(ctx, tx, op); err != nil {
				return err
			}
		}
		return c.rollback()
	})
	for _, op := range ops {
		c.returns(op, errorFor(op.Key, err))
	}
}
