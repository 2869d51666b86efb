package txlock

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
)

// within says under what a function of [Locker.Do], [Lease.InTx] or [Locker.Run] runs. The
// function's context has it.
type within struct {
	outer *within
	epoch int64   // zero if there is none to tell
	lease *Lease  // of InTx
	tx    *sql.Tx // of InTx
	over  atomic.Bool
}

type withinKey struct{}

func withinOf(ctx context.Context) *within {
	w, _ := ctx.Value(withinKey{}).(*within)
	return w
}

// enter returns the context of a function that runs within w.
func (w *within) enter(ctx context.Context) context.Context {
	w.outer = withinOf(ctx)
	return context.WithValue(ctx, withinKey{}, w)
}

// EpochFromContext returns the epoch of the lock or lease under which [Locker.Do],
// [Lease.InTx] or [Locker.Run] runs the function that was given ctx, and whether there is
// one: a lock has one only with [NewEpoch].
func EpochFromContext(ctx context.Context) (int64, bool) {
	if w := withinOf(ctx); w != nil && w.epoch != 0 {
		return w.epoch, true
	}
	return 0, false
}

// surrounding is the InTx of this lease whose function was given ctx, or nil.
func (le *Lease) surrounding(ctx context.Context) *within {
	for w := withinOf(ctx); w != nil; w = w.outer {
		if w.lease == le && !w.over.Load() {
			return w
		}
	}
	return nil
}

// refuseNested refuses a fence in a transaction other than that of a surrounding InTx,
// which it may have to wait for.
func (le *Lease) refuseNested(ctx context.Context, tx *sql.Tx) error {
	if w := le.surrounding(ctx); w != nil && w.tx != tx {
		return le.inTheWay("use its function's tx")
	}
	return nil
}

// refuseUpgrade refuses what needs the row's exclusive lock where a surrounding InTx has a
// shared one: in its transaction it deadlocks with whoever waits for the row, in another
// one it waits for itself.
func (le *Lease) refuseUpgrade(ctx context.Context) error {
	if le.surrounding(ctx) != nil {
		return le.inTheWay("renew or release after it, or let ReleaseTx fence the lease's last transaction in place of InTx")
	}
	return nil
}

func (le *Lease) inTheWay(next string) error {
	return &InvalidError{
		Kind:   ErrInvalidArgument,
		Value:  fmt.Sprintf("lease %d of key %s", le.epoch, quoteName(le.key)),
		Reason: "the surrounding InTx has its row locked: " + next,
	}
}
