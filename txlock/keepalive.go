package txlock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// kept is what a lease knows of its heartbeat. Its fields are guarded by the
// lease's mutex, but for those of the keeper.
type kept struct {
	marked  bool // the row says that the lease may be extended: see RenewLock
	on      bool
	failure error // why the last heartbeat failed
	seen    observation
	number  int         // of KeepAlives
	stop    func() bool // stops waiting for the end of KeepAlive's context
	// extended says that the lease may have a row in helix_lock_extensions.
	extended bool

	next    time.Time // keeper's: when to renew
	beating bool      // keeper's: a renewal is under way
	alone   bool      // keeper's: it is renewed for itself
}

// KeepAlive renews the lease in the background, from now until ctx ends or the
// lease is released or lost, or the Locker is closed. Unless the lease was acquired
// with [Kept], it first renews once itself, as [Lease.Renew] does, and fails as that
// does, at the latest when [Lease.Deadline] has passed; call it before fenced
// transactions of the lease begin, since that waits for those that are open.
//
// A Locker renews all leases that it keeps together, in one goroutine: each after
// a third of its TTL, a thousand of one TTL in one statement, on at most four
// connections. A heartbeat that fails is tried again until [Lease.Deadline];
// then, or as soon as the server says that the lease is over, [Lease.Context] is
// canceled. It never waits for transactions that have the row locked: while the
// holder's own fenced transactions do, it extends the lease in
// helix_lock_extensions, which whoever finds the lease expired looks at.
//
// With [WithMultiWriter] there are no extensions. There each [Lease.InTx] of a kept
// lease renews it as it commits, and a single transaction that is longer than the
// deadline ends the trust.
//
// When ctx ends, the lease is neither released nor lost: it runs out. When
// [Lease.Release] fails, but not with ErrLost, the lease is kept on: release it again.
func (le *Lease) KeepAlive(ctx context.Context) error {
	return le.keepAlive(ctx, ctx)
}

// keepAlive is KeepAlive whose first renewal has a context of its own.
func (le *Lease) keepAlive(first, ctx context.Context) error {
	le.mu.Lock()
	over, on, cause, deadline := le.trust.over, le.kept.on, le.trust.cause, le.deadline
	marked := le.kept.marked || le.locker.multiWriter
	le.kept.on = !over
	le.mu.Unlock()
	switch {
	case over && cause == nil:
		return le.lost() // released
	case over:
		return fmt.Errorf("txlock: keep %q alive: its context has ended: %w", le.key, cause)
	case on:
		return &InvalidError{Kind: ErrInvalidArgument, Value: fmt.Sprintf("lease %d of %q", le.epoch, le.key), Reason: "is kept alive already"}
	}
	due := deadline.Add(le.beat() - le.window())
	if !marked || !time.Now().Before(due) {
		if err := le.mark(first, deadline); err != nil {
			return err
		}
		due = time.Now().Add(le.beat())
	}
	return le.keep(ctx, due)
}

// mark renews the lease, and marks its row as that of one that may be extended.
func (le *Lease) mark(ctx context.Context, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	le.setMarked(true) // for the renewal to write
	err := le.Renew(ctx)
	if err != nil {
		le.setMarked(false)
		le.mu.Lock()
		le.kept.on = false
		le.mu.Unlock()
	}
	return err
}

func (le *Lease) setMarked(marked bool) {
	le.mu.Lock()
	defer le.mu.Unlock()
	le.kept.marked = marked && !le.locker.multiWriter
}

// keep hands a lease that is to be renewed at due to the keeper.
func (le *Lease) keep(ctx context.Context, due time.Time) error {
	le.Context() // the deadline is watched from now on
	_, seen := le.locker.observe(le.values, Operation{Name: OpHold, Key: le.key, Keys: 1, TTL: le.ttl})
	le.mu.Lock()
	if le.trust.over {
		cause := le.trust.cause
		le.mu.Unlock()
		err := le.lost()
		if cause != nil {
			err = fmt.Errorf("txlock: keep %q alive: its context has ended: %w", le.key, cause)
		}
		seen.end(Result{Err: err, Epoch: le.epoch})
		return err
	}
	le.kept.seen = seen
	le.kept.number++
	le.kept.stop = context.AfterFunc(ctx, le.forsake)
	le.mu.Unlock()
	if err := le.locker.keeper.add(le, due); err != nil {
		err = fmt.Errorf("txlock: keep %q alive: %w", le.key, err)
		le.end(err)
		return err
	}
	le.mu.Lock()
	over := le.trust.over || !le.kept.on
	le.mu.Unlock()
	if over { // while it was handed over
		le.locker.keeper.remove(le)
	}
	return nil
}

// forsake stops the heartbeat and leaves the lease to run out.
func (le *Lease) forsake() {
	le.mu.Lock()
	seen, on, kept := le.kept.seen, le.kept.on, le.kept.number
	le.mu.Unlock()
	if !on {
		return
	}
	le.locker.keeper.remove(le) // before another KeepAlive can add it
	le.mu.Lock()
	mine := le.kept.on && le.kept.number == kept // end was not first
	if mine {
		le.kept.on, le.kept.seen = false, observation{}
		le.kept.failure = errForsaken
	}
	le.mu.Unlock()
	if mine {
		seen.end(Result{Epoch: le.epoch})
	}
}

var errForsaken = errors.New("its heartbeat had ended, with the context given to KeepAlive or after a failed release, and nothing else renewed it in time")

// beat is the time between heartbeats.
func (le *Lease) beat() time.Duration { return le.ttl / 3 }

// keepFlag is what a renewal writes about the lease's being kept.
func (le *Lease) keepFlag() int64 {
	le.mu.Lock()
	defer le.mu.Unlock()
	if le.kept.marked {
		return 1
	}
	return 0
}

// deleteExtension is the part of a release that concerns extensions.
func (le *Lease) deleteExtension(ctx context.Context, tx *sql.Tx) error {
	le.mu.Lock()
	extended := le.kept.extended
	le.mu.Unlock()
	if !extended {
		return nil
	}
	q, err := le.locker.in(tx, "release", le.key)
	if err != nil {
		return err
	}
	if err := q.DeleteExtension(ctx, le.id); err != nil {
		return le.locker.failed(tx, "release", le.key, err)
	}
	return nil
}
