package load

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/txlock"
)

// trusted reads the deadline and then the clock: at that moment nobody else can have
// the lease by its expiry.
func trusted(h *holding) bool {
	deadline := h.Deadline()
	return h.Context().Err() == nil && time.Now().Before(deadline)
}

// tryAcquire acquires a lease in a transaction of the library.
func (c *client) tryAcquire(ctx context.Context, key string) {
	c.acquire(ctx, key, c.locker.TryAcquire)
}

func (c *client) acquireWaiting(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.TTL)
	defer cancel()
	c.acquire(ctx, key, c.locker.Acquire)
}

func (c *client) acquire(ctx context.Context, key string, acquire func(context.Context, string, ...txlock.AcquireOption) (*txlock.Lease, error)) {
	op := c.op(history.Acquire, key)
	ttl := c.ttl()
	options := c.options(op, ttl)
	op.Kept = c.chance(30)
	c.recorder.Call(op)
	lease, err := acquire(ctx, key, options...)
	var unknown *txlock.CommitUnknownError
	if errors.As(err, &unknown) {
		op.Epoch = unknown.Epoch
	}
	if err == nil {
		op.Epoch = lease.Epoch()
	}
	if c.returns(op, err) != history.OK {
		return
	}
	h := &holding{Lease: lease, op: op.ID, ttl: ttl}
	if op.Kept {
		var keep context.Context
		if keep, h.stop = context.WithCancel(context.WithoutCancel(ctx)); lease.KeepAlive(keep) != nil {
			h.stop()
			return // its deadline has passed already
		}
	}
	c.believe(h)
}

// acquireOwn acquires a lease in a transaction of the client, with a row.
func (c *client) acquireOwn(ctx context.Context, key string) {
	op := c.op(history.AcquireTx, key)
	ttl := c.ttl()
	options := c.options(op, ttl)
	var lease *txlock.Lease
	c.recorder.Call(op)
	err := c.transact(ctx, func(tx *sql.Tx) (err error) {
		if lease, err = c.locker.AcquireTx(ctx, tx, key, options...); err != nil {
			return err
		}
		op.Epoch = lease.Epoch()
		if err := c.acquired(ctx, tx, op, lease.Epoch()); err != nil {
			return err
		}
		c.think()
		return c.rollback()
	})
	outcome := c.returns(op, err)
	if lease == nil {
		return
	}
	h := &holding{Lease: lease, op: op.ID, ttl: ttl}
	if outcome == history.OK {
		c.believe(h)
	} else {
		c.remember(h) // its transaction rolled back, or nobody knows
	}
}

func (c *client) rollback() error {
	if c.rollsBack() {
		return errRollback
	}
	return nil
}

// acquireMany acquires several leases in one transaction, all or none.
func (c *client) acquireMany(ctx context.Context) {
	first := c.rand.IntN(c.Keys)
	var ops []*history.Op
	var keys []string
	ttl := c.ttl()
	for i := range 2 + c.rand.IntN(2) {
		key := c.keyOf((first + i) % c.Keys)
		if slices.Contains(keys, key) {
			break
		}
		op := c.op(history.AcquireTx, key)
		op.TTL = int64(ttl)
		keys, ops = append(keys, key), append(ops, op)
	}
	for _, op := range ops {
		c.recorder.Call(op)
	}
	var leases []*txlock.Lease
	err := c.transact(ctx, func(tx *sql.Tx) (err error) {
		if leases, err = c.locker.AcquireManyTx(ctx, tx, keys, txlock.TTL(ttl)); err != nil {
			return err
		}
		for i, lease := range leases {
			ops[i].Epoch = lease.Epoch()
			if err := c.acquired(ctx, tx, ops[i], lease.Epoch()); err != nil {
				return err
			}
		}
		return c.rollback()
	})
	for i, op := range ops {
		if c.returns(op, errorFor(op.Key, err)) == history.OK {
			c.believe(&holding{Lease: leases[i], op: op.ID, ttl: ttl})
		}
	}
}

// turn acquires, works and releases in one transaction.
func (c *client) turn(ctx context.Context, key string) {
	c.counter(ctx, key)
	op := c.op(history.Turn, key)
	c.recorder.Call(op)
	err := c.transact(ctx, func(tx *sql.Tx) error {
		lease, err := c.locker.AcquireTx(ctx, tx, key, txlock.TTL(time.Minute))
		if err != nil {
			return err
		}
		op.Epoch = lease.Epoch()
		if err := c.write(ctx, tx, op, op.ID, lease.Epoch()); err != nil {
			return err
		}
		if err := lease.ReleaseTx(ctx, tx); err != nil {
			return err
		}
		return c.rollback()
	})
	c.returns(op, err)
}
