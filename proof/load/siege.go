package load

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/txlock"
)

// besiege keeps leases of keys that nobody else wants, one after the other, while two of
// its own fences at a time, short ones, have the row locked, so that no heartbeat gets
// through. The fences must renew it.
func (c *client) besiege(ctx context.Context) {
	if c.Connections != 0 {
		return // its fences would wait for a connection
	}
	for n := 0; ctx.Err() == nil; n++ {
		c.siege(ctx, "siege/"+digits(c.id)+"/"+digits(n))
		select {
		case <-ctx.Done():
		case <-time.After(c.TTL):
		}
	}
}

func (c *client) siege(ctx context.Context, key string) {
	op, ttl := c.op(history.Siege, key), 6*c.TTL
	ctx, cancel := context.WithTimeout(ctx, ttl+ttl/3)
	defer cancel()
	lease, err := c.locker.TryAcquire(ctx, key, txlock.TTL(ttl))
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err != nil || lease.KeepAlive(keep) != nil {
		return // a fault is on
	}
	held := lease.Context()
	c.recorder.Call(op)
	// While each fence takes less than a seventh of the time to the deadline, another one
	// begins, and ends, in the last third of it.
	var late, lost atomic.Bool
	var fences sync.WaitGroup
	for range 2 {
		fences.Go(func() {
			for !late.Load() && !lost.Load() {
				began := time.Now()
				err := lease.InTx(ctx, func(context.Context, *sql.Tx) error {
					time.Sleep(ttl/40 + rand.N(ttl/40))
					return nil
				})
				over := held.Err() != nil
				switch {
				case time.Since(began) > ttl/8, err != nil && !over && ctx.Err() == nil:
					late.Store(true)
				case over:
					lost.Store(true)
				case ctx.Err() != nil:
					return
				}
			}
		})
	}
	fences.Wait()
	switch {
	case late.Load():
		op.Outcome = history.Ended // which says nothing
	case lost.Load():
		op.Outcome, op.Error = history.Lost, context.Cause(held).Error()
	default:
		op.Outcome = history.OK
	}
	c.recorder.Return(op)
}
