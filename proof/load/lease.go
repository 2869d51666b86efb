package load

import (
	"context"
	"database/sql"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/txlock"
)

// fence works in a fenced transaction of the library.
func (c *client) fence(ctx context.Context, h *holding) {
	c.counter(ctx, h.Key())
	op := c.about(history.Fence, h)
	c.recorder.Call(op)
	err := h.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return c.work(ctx, tx, op, h.op, h.Epoch())
	})
	c.settle(h, c.returns(op, err))
}

// fenceConnector works in a transaction of a pool whose every transaction is fenced.
func (c *client) fenceConnector(ctx context.Context, h *holding) {
	c.counter(ctx, h.Key())
	db := sql.OpenDB(txlock.FencedConnector(c.connector, h.Lease))
	db.SetMaxOpenConns(1)
	op := c.about(history.Fence, h)
	c.recorder.Call(op)
	err := c.transactOn(ctx, db, nil, func(tx *sql.Tx) error {
		return c.work(ctx, tx, op, h.op, h.Epoch())
	})
	o := c.returns(op, err)
	_ = db.Close() // what its connection has to say has been said
	c.settle(h, o)
}

// fenceLong keeps a fenced transaction open for longer than the TTL, in which nothing
// renews the lease, and then looks whether it is trusted.
func (c *client) fenceLong(h *holding) {
	ctx, cancel := context.WithTimeout(context.Background(), c.Patience+3*h.ttl)
	defer cancel()
	c.counter(ctx, h.Key())
	op := c.about(history.Fence, h)
	c.recorder.Call(op)
	err := h.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		time.Sleep(h.ttl + h.ttl/2)
		return c.write(ctx, tx, op, h.op, h.Epoch())
	})
	o := c.returns(op, err)
	if o == history.OK {
		time.Sleep(h.ttl / 20) // for who waited behind it
		c.trust(h)
		return
	}
	c.settle(h, o)
}

// fenceOwn works in a transaction of the client, which it fences.
func (c *client) fenceOwn(ctx context.Context, h *holding) {
	c.counter(ctx, h.Key())
	op := c.about(history.Fence, h)
	c.recorder.Call(op)
	err := c.transact(ctx, func(tx *sql.Tx) error {
		if err := h.VerifyTx(ctx, tx); err != nil {
			return err
		}
		return c.work(ctx, tx, op, h.op, h.Epoch())
	})
	c.settle(h, c.returns(op, err))
}

func (c *client) renew(ctx context.Context, h *holding) {
	op := c.about(history.Renew, h)
	c.recorder.Call(op)
	c.settle(h, c.returns(op, h.Renew(ctx)))
}

func (c *client) renewOwn(ctx context.Context, h *holding) {
	op := c.about(history.Renew, h)
	c.recorder.Call(op)
	err := c.transact(ctx, func(tx *sql.Tx) error {
		if err := h.RenewTx(ctx, tx); err != nil {
			return err
		}
		return c.rollback()
	})
	c.settle(h, c.returns(op, err))
}

func (c *client) release(ctx context.Context, h *holding) {
	op := c.about(history.Release, h)
	c.recorder.Call(op)
	c.released(h, c.returns(op, h.Release(ctx)))
}

// released does what the outcome of a release asks for.
func (c *client) released(h *holding, o history.Outcome) {
	if o == history.OK {
		c.giveUp(h)
	} else {
		c.settle(h, o)
	}
}

// releaseOwn gives the lease up in a transaction of the client's, with its last work.
func (c *client) releaseOwn(ctx context.Context, h *holding) {
	c.counter(ctx, h.Key())
	op := c.about(history.ReleaseTx, h)
	c.recorder.Call(op)
	err := c.transact(ctx, func(tx *sql.Tx) error {
		if err := h.ReleaseTx(ctx, tx); err != nil {
			return err
		}
		return c.work(ctx, tx, op, h.op, h.Epoch())
	})
	c.released(h, c.returns(op, err))
}
