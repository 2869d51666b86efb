package load

import (
	"context"
	"database/sql"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/txlock"
)

// lockOp begins a lock of a key, which has an epoch of its own if it asks for one, and
// on a cluster with several writers in any case.
func (c *client) lockOp(key string) (*history.Op, []txlock.AcquireOption) {
	op := c.op(history.Lock, key)
	var options []txlock.AcquireOption
	if c.chance(30) {
		options = append(options, txlock.NewEpoch())
	}
	if options != nil || c.MultiWriter {
		op.Kind = history.EpochLock
	}
	return op, options
}

// do runs a business transaction of the library's under a lock.
func (c *client) do(ctx context.Context, key string) {
	c.counter(ctx, key)
	op, options := c.lockOp(key)
	if c.chance(20) {
		options = append(options, txlock.NoWait())
	}
	c.recorder.Call(op)
	err := c.locker.Do(ctx, key, func(ctx context.Context, tx *sql.Tx) error {
		if err := c.locked(ctx, tx, op); err != nil {
			return err
		}
		return c.rollback()
	}, options...)
	c.returns(op, err)
}

// lockOwn locks a key in a transaction of the client.
func (c *client) lockOwn(ctx context.Context, key string) {
	c.counter(ctx, key)
	op, options := c.lockOp(key)
	c.recorder.Call(op)
	err := c.transact(ctx, func(tx *sql.Tx) error {
		if err := c.locker.LockTx(ctx, tx, key, options...); err != nil {
			return err
		}
		if err := c.locked(ctx, tx, op); err != nil {
			return err
		}
		return c.rollback()
	})
	c.returns(op, err)
}

// locked works under a lock.
func (c *client) locked(ctx context.Context, tx *sql.Tx, op *history.Op) error {
	if err := c.found(ctx, tx, op); err != nil {
		return err
	}
	lease := int64(0)
	if op.Kind == history.EpochLock {
		lease = op.ID
	}
	return c.write(ctx, tx, op, lease, op.Epoch)
}

// found reads the epoch of a key that is locked. Do tells one that is new, too.
func (c *client) found(ctx context.Context, tx *sql.Tx, op *history.Op) error {
	var known bool
	if op.Epoch, known = txlock.EpochFromContext(ctx); known {
		return nil
	}
	if err := tx.QueryRowContext(ctx, `SELECT epoch FROM helix_locks WHERE lock_key = ?`, op.Key).Scan(&op.Epoch); err != nil {
		return ownError(err)
	}
	return nil
}

// share reads the counter twice under a shared lock, each time as it is then.
func (c *client) share(ctx context.Context, key string) {
	if c.MultiWriter {
		return // refused
	}
	c.counter(ctx, key)
	op := c.op(history.Share, key)
	c.recorder.Call(op)
	fresh := &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	err := c.transactOn(ctx, c.db, fresh, func(tx *sql.Tx) error {
		if err := c.locker.LockTx(ctx, tx, key, txlock.Shared()); err != nil {
			return err
		}
		if err := c.found(ctx, tx, op); err != nil {
			return err
		}
		var n, again int64
		const counter = `SELECT n FROM proof_counters WHERE k = ?`
		if err := tx.QueryRowContext(ctx, counter, key).Scan(&n); err != nil {
			return ownError(err)
		}
		c.think()
		if err := tx.QueryRowContext(ctx, counter, key).Scan(&again); err != nil {
			return ownError(err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO proof_shared (op, k, n, again, epoch) VALUES (?, ?, ?, ?, ?)`, op.ID, key, n, again, op.Epoch); err != nil {
			return ownError(err)
		}
		return c.rollback()
	})
	c.returns(op, err)
}

// lockTwo locks two keys in one transaction, in either order, so that two of them
// deadlock. It locks both before it reads anything.
func (c *client) lockTwo(ctx context.Context) {
	first := c.rand.IntN(c.Keys)
	second := (first + 1 + c.rand.IntN(c.Keys-1)) % c.Keys
	ops := make([]*history.Op, 2)
	options := make([][]txlock.AcquireOption, 2)
	for i, place := range []int{first, second} {
		ops[i], options[i] = c.lockOp(c.keyOf(place))
		c.counter(ctx, ops[i].Key)
	}
	for _, op := range ops {
		c.recorder.Call(op)
	}
	err := c.transact(ctx, func(tx *sql.Tx) error {
		for i, op := range ops {
			if err := c.locker.LockTx(ctx, tx, op.Key, options[i]...); err != nil {
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
