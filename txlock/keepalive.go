package txlock

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// kept is what a lease knows of its heartbeat. Its fields are guarded by the
// lease's mutex, but for those of the keeper.
type kept struct {
	on       bool
	skipped  bool  // a heartbeat did not renew it, and nothing has since
	renewing bool  // a fence has taken the turn to renew
	failure  error // why the last heartbeat failed
	seen     observation
	number   int         // of KeepAlives
	stop     func() bool // stops waiting for the end of KeepAlive's context

	next    time.Time // keeper's: when to renew
	beating bool      // keeper's: a renewal is under way
}

// KeepAlive renews the lease in the background, from now until ctx ends or the lease is
// released or lost, or the Locker is closed. Call it after the transaction that acquired
// the lease has committed. It sends nothing itself.
//
// A Locker renews all leases that it keeps together, in one goroutine: each after a third
// of its TTL, a thousand of one TTL in one statement, on at most four connections. A
// heartbeat that fails is tried again until [Lease.Deadline]; then, or as soon as the
// server says that the lease is over, [Lease.Context] is canceled.
//
// A heartbeat never waits: it skips a lease whose row another transaction has locked, such
// as a fenced one of the lease itself. The next fenced transaction that begins
// ([Lease.InTx], [Lease.VerifyTx], one of a [FencedConnector]) then renews the lease, as it
// commits: if it can lock the row at once, or waiting for the fenced transactions that are
// open when two thirds of the time to the deadline have gone. So a lease stands as long as
// each of its fenced transactions is shorter than a third of that time: let the TTL be a
// few times the longest of them. While a fence waits so, later ones wait behind it. A single transaction that outlasts the deadline ends
// Lease.Context, though nobody can take the lease over before that transaction ends.
//
// When ctx ends, the lease is neither released nor lost: it runs out. When
// [Lease.Release] fails, but not with ErrLost, the lease is kept on: release it again.
//
// It fails with [ErrLost] if the lease's context has ended, with [ErrInvalidArgument] if the
// lease is kept alive already, and with [ErrClosed].
func (le *Lease) KeepAlive(ctx context.Context) error {
	le.Context() // the deadline is watched from now on
	le.mu.Lock()
	on := le.kept.on
	le.kept.on = !le.trust.over
	err := le.overError()
	le.mu.Unlock()
	switch {
	case err != nil:
		return err
	case on:
		return &InvalidError{Kind: ErrInvalidArgument, Value: fmt.Sprintf("lease %d of %q", le.epoch, le.key), Reason: "is kept alive already"}
	}

	_, seen := le.locker.observe(le.values, Operation{Name: OpHold, Key: le.key, Keys: 1, TTL: le.ttl})
	le.mu.Lock()
	if err := le.overError(); err != nil { // meanwhile
		le.mu.Unlock()
		seen.end(Result{Err: err, Epoch: le.epoch})
		return err
	}
	due := le.deadline.Add(le.beat() - le.window())
	le.kept.seen = seen
	le.kept.number++
	le.kept.stop = context.AfterFunc(ctx, le.stopHeartbeat)
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

// overError says why a lease cannot be kept any more. The mutex is locked.
func (le *Lease) overError() error {
	switch {
	case !le.trust.over:
		return nil
	case le.trust.cause == nil:
		return le.lost() // released
	}
	return fmt.Errorf("txlock: keep %q alive: its context has ended: %w", le.key, le.trust.cause)
}

// stopHeartbeat leaves the lease to run out.
func (le *Lease) stopHeartbeat() {
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
		le.kept.failure = errHeartbeatStopped
	}
	le.mu.Unlock()
	if mine {
		seen.end(Result{Epoch: le.epoch})
	}
}

var errHeartbeatStopped = errors.New("its heartbeat had ended, with the context given to KeepAlive or after a failed release, and nothing else renewed it in time")

// beat is the time between heartbeats.
func (le *Lease) beat() time.Duration { return le.ttl / 3 }
