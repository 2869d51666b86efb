package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/txlock"
)

// client does one operation after another.
type client struct {
	*worker
	id   int
	rand *rand.Rand

	held  []*holding // leases that it believes to have
	stale []*holding // that it lost, gave up, or never had for certain
}

// holding is a lease, and what the history calls it.
type holding struct {
	*txlock.Lease
	op   int64 // the operation that acquired it
	ttl  time.Duration
	stop func() // its heartbeats, if it has any
}

const (
	mostHeld  = 2
	mostStale = 4
)

func newClient(w *worker, i int) *client {
	id := w.Worker*100 + i
	return &client{worker: w, id: id, rand: rand.New(rand.NewPCG(w.Seed, uint64(id)))}
}

// chance is true so often of a hundred.
func (c *client) chance(percent int) bool { return c.rand.IntN(100) < percent }

// run goes on until ctx ends; each operation has a context of its own, and ends
// by itself.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		opCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Patience)
		c.next(opCtx)
		cancel()
	}
}

func (c *client) next(ctx context.Context) {
	if len(c.held) > 0 && (len(c.held) == mostHeld || c.chance(75)) {
		h := c.held[c.rand.IntN(len(c.held))]
		switch n := c.rand.IntN(100); {
		case c.Mix == Bumps && n < 60:
			c.bump(ctx, h)
		case n < 2 && h.stop != nil:
			c.fenceLong(h)
		case n < 22:
			c.fence(ctx, h)
		case n < 25:
			c.fenceConnector(ctx, h)
		case n < 40:
			c.fenceOwn(ctx, h)
		case n < 55:
			c.bump(ctx, h)
		case n < 62:
			c.trust(h)
		case n < 70:
			c.renew(ctx, h)
		case n < 77:
			c.renewOwn(ctx, h)
		case n < 86:
			c.release(ctx, h)
		case n < 92:
			c.releaseOwn(ctx, h)
		case c.Mix == Bumps:
			c.bump(ctx, h)
		default:
			c.giveUp(h) // to expire
		}
		return
	}
	if len(c.stale) > 0 && c.chance(12) {
		h := c.stale[c.rand.IntN(len(c.stale))]
		switch c.rand.IntN(4) {
		case 0:
			c.fence(ctx, h)
		case 1:
			c.fenceOwn(ctx, h)
		case 2:
			c.renew(ctx, h)
		case 3:
			c.release(ctx, h)
		}
		return
	}
	key := c.keyOf(c.rand.IntN(c.Keys))
	n := c.rand.IntN(100)
	if c.Mix == Deadlocks && n < 50 {
		c.lockTwo(ctx)
		return
	}
	switch {
	case n < 18:
		c.tryAcquire(ctx, key)
	case n < 34:
		c.acquireOwn(ctx, key)
	case n < 42:
		c.acquireWaiting(ctx, key)
	case n < 47:
		c.acquireMany(ctx)
	case n < 56:
		c.do(ctx, key)
	case n < 63:
		c.lockOwn(ctx, key)
	case n < 68:
		c.share(ctx, key)
	case n < 73:
		c.turn(ctx, key)
	case n < 76:
		c.lockTwo(ctx)
	case n < 86:
		c.inspect(ctx, key)
	case n < 91:
		c.retire(ctx, key)
	case n < 98:
		if contested(key) {
			c.revoke(ctx, key)
		} else {
			c.inspect(ctx, key)
		}
	default:
		c.purge(ctx)
	}
}

func contested(key string) bool { return key[0] == 'c' }

// op begins an operation.
func (c *client) op(kind history.Kind, key string) *history.Op {
	return &history.Op{ID: c.ids.Add(1), Worker: c.Worker, Client: c.id, Key: key, Kind: kind, Owner: c.Owner}
}

// about begins an operation of a lease.
func (c *client) about(kind history.Kind, h *holding) *history.Op {
	op := c.op(kind, h.Key())
	op.Lease, op.TTL, op.Epoch = h.op, int64(h.ttl), h.Epoch()
	return op
}

// returns notes what came of an operation.
func (c *client) returns(op *history.Op, err error) history.Outcome {
	op.Outcome = outcome(err)
	if err != nil {
		op.Error = err.Error()
	}
	c.recorder.Return(op)
	if op.Outcome == history.OK {
		c.acked.Add(1)
	}
	return op.Outcome
}

// believe keeps a lease that was just acquired.
func (c *client) believe(h *holding) { c.held = append(c.held, h) }

// giveUp does without a lease, which it may try to use all the same.
func (c *client) giveUp(h *holding) {
	c.forget(h)
	c.remember(h)
}

// forget does without a lease, and never uses it again.
func (c *client) forget(h *holding) {
	if h.stop != nil {
		h.stop()
	}
	c.held = slices.DeleteFunc(c.held, func(other *holding) bool { return other == h })
	c.stale = slices.DeleteFunc(c.stale, func(other *holding) bool { return other == h })
}

func (c *client) remember(h *holding) {
	if len(c.stale) == mostStale {
		c.stale = c.stale[1:]
	}
	c.stale = append(c.stale, h)
}

// settle does what the outcome of an operation of a lease asks for.
func (c *client) settle(h *holding, o history.Outcome) {
	if o == history.Lost {
		c.giveUp(h)
	}
	if o == history.Unknown {
		// A transaction of it may be under way still, beside which the next one of the
		// same lease would not be protected.
		c.forget(h)
	}
}

// ttl is a time to live for a new lease.
func (c *client) ttl() time.Duration {
	return c.TTL + time.Duration(c.rand.Int64N(int64(c.TTL)))
}

// options are those of an acquisition, noted in op.
func (c *client) options(op *history.Op, ttl time.Duration) []txlock.AcquireOption {
	op.TTL = int64(ttl)
	options := []txlock.AcquireOption{txlock.TTL(ttl)}
	if c.chance(15) {
		options = append(options, txlock.NoWait())
	}
	if contested(op.Key) && c.chance(10) {
		op.Reclaim = true
		options = append(options, txlock.Reclaim())
	}
	return options
}

// think is what a business transaction does between its statements.
func (c *client) think() {
	if c.chance(30) {
		time.Sleep(time.Duration(c.rand.Int64N(int64(3 * time.Millisecond))))
	}
}

func (c *client) rollsBack() bool {
	if c.Mix == Rollbacks {
		return c.chance(50)
	}
	return c.chance(12)
}

func ownError(err error) error { return fmt.Errorf("the client's own statement: %w", err) }
