package txlock

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
)

// Lease is one holding of a key, from its acquisition until it is released, lost
// or taken over. The server alone knows whether it still stands. One that was
// acquired in a transaction that then rolled back never was: everything done with
// it fails with [ErrLost]. It is safe for use by many goroutines.
type Lease struct {
	locker *Locker
	key    string
	epoch  int64
	id     int64 // tells it from a lease whose rollback gave it this epoch
	ttl    time.Duration
	values context.Context // what Context inherits

	mu       sync.Mutex
	deadline time.Time
	trust    trust
	kept     kept
}

func newLease(ctx context.Context, l *Locker, key string, ttl time.Duration) *Lease {
	return &Lease{locker: l, key: key, id: 1 + rand.Int64N(math.MaxInt64), ttl: ttl, values: context.WithoutCancel(ctx)}
}

// inherit derives Lease.Context from the caller's ctx, not the finished operation's.
func (le *Lease) inherit(ctx context.Context) {
	if le != nil {
		le.values = context.WithoutCancel(ctx)
	}
}

// Key returns what is held.
func (le *Lease) Key() string { return le.key }

// Owner returns who holds it.
func (le *Lease) Owner() string { return le.locker.owner }

// Epoch returns the fencing token: greater than that of every earlier
// acquisition of the key.
func (le *Lease) Epoch() int64 { return le.epoch }

func (le *Lease) epochOrZero() int64 {
	if le == nil {
		return 0
	}
	return le.epoch
}

// Deadline returns the instant, on this process's monotonic clock, up to which
// nobody else can have taken the lease over by expiry: nine tenths of the TTL
// after the last acquisition, or the last renewal that is known to be committed, was sent.
// The rest is a margin for
// clocks that run at different speeds. It is advice about when to stop work that
// is not fenced; what is fenced needs no clock. [Lease.RenewTx] does not move
// it, since only the caller knows whether its transaction committed.
func (le *Lease) Deadline() time.Time {
	le.mu.Lock()
	defer le.mu.Unlock()
	return le.deadline
}

// window is how long a lease is trusted after it was acquired or renewed.
func (le *Lease) window() time.Duration { return le.ttl - le.ttl/10 }

// extend moves the deadline for an acquisition or renewal that was sent at asked.
func (le *Lease) extend(asked time.Time) {
	deadline := asked.Add(le.window())
	le.mu.Lock()
	defer le.mu.Unlock()
	if deadline.After(le.deadline) {
		le.deadline, le.kept.failure, le.kept.skipped = deadline, nil, false
	}
}

// RenewTx sets the lease's expiry to its TTL from the server's now, if tx
// commits. If tx is rolled back, the expiry is what it was. It succeeds even after
// the expiry, as long as nobody else has acquired the key.
//
// It fences tx as VerifyTx does, with an exclusive lock: see [Lease.ReleaseTx] for the
// order of the two. Within [Lease.InTx] it is refused.
//
// It fails with [ErrLost] if the lease is no longer the key's newest or was
// released; nothing is changed then, but the row stays locked until tx ends, so
// roll back soon. Further errors are those of [Locker.AcquireTx]. It is one
// statement, or two if the first had to wait for the row for more than half the
// TTL.
func (le *Lease) RenewTx(ctx context.Context, tx *sql.Tx) (err error) {
	if err := le.refuseUpgrade(ctx); err != nil {
		return err
	}
	ctx, seen := le.locker.observe(ctx, Operation{Name: OpRenew, Key: le.key, Keys: 1, TTL: le.ttl})
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: le.epoch, Attempts: 1}) }()
	_, err = le.renew(ctx, tx)
	le.observeLoss(err)
	return err
}

// renew returns when the statement that renewed was sent. The server counts the
// TTL from the statement's start, also when it then waited for the row; so if that
// took long it is sent once more, now that the row is ours.
func (le *Lease) renew(ctx context.Context, tx *sql.Tx) (asked time.Time, err error) {
	q, err := le.locker.queriesFor(tx, "renew", le.key)
	if err != nil {
		return asked, err
	}
	asked, n, err := le.sendRenew(ctx, q)
	return asked, le.answer(tx, "renew", n, err)
}

// sendRenew also returns how many rows were matched.
func (le *Lease) sendRenew(ctx context.Context, q *lockdb.Queries) (asked time.Time, n int64, err error) {
	for range 2 {
		asked = time.Now()
		n, err = q.RenewLease(ctx, lockdb.RenewLeaseParams{
			TtlMicros: le.ttl.Microseconds(),
			KeyHex:    lockdb.Hex(le.key),
			Epoch:     le.epoch,
			LeaseID:   le.id,
		})
		if err != nil || n == 0 || !le.waited(asked) {
			break
		}
	}
	return asked, n, err
}

// waited reports whether a statement that was sent at asked took so long that the
// expiry it set is near, or past.
func (le *Lease) waited(asked time.Time) bool { return time.Since(asked) > le.ttl/2 }

// ReleaseTx gives the lease up, if tx commits: the key is free from then on. If
// tx is rolled back, the lease is still held. Its epoch is never used again.
//
// It fences tx as VerifyTx does, with an exclusive lock. So the last transaction
// of a lease, which does some work and gives the lease up, begins with ReleaseTx
// in place of VerifyTx. Within [Lease.InTx] it is refused; after VerifyTx in the same
// transaction it deadlocks with whoever has come to wait in between, and the server aborts
// one of the two.
//
// It fails with [ErrLost] if the lease is no longer the key's newest or was
// released already; a newer lease is never touched. Further errors are those of
// [Locker.AcquireTx]. It is one statement.
func (le *Lease) ReleaseTx(ctx context.Context, tx *sql.Tx) (err error) {
	if err := le.refuseUpgrade(ctx); err != nil {
		return err
	}
	ctx, seen := le.locker.observe(ctx, Operation{Name: OpRelease, Key: le.key, Keys: 1})
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: le.epoch, Attempts: 1}) }()
	if err = le.release(ctx, tx); err != nil {
		le.observeLoss(err)
		return err
	}
	le.mayBeReleased()
	return nil
}

// mayBeReleased keeps a release that is not known to be committed from being taken
// for a loss.
func (le *Lease) mayBeReleased() {
	le.mu.Lock()
	defer le.mu.Unlock()
	le.trust.released = true
}

// release is ReleaseTx, unobserved.
func (le *Lease) release(ctx context.Context, tx *sql.Tx) error {
	q, err := le.locker.queriesFor(tx, "release", le.key)
	if err != nil {
		return err
	}
	n, err := q.ReleaseLease(ctx, lockdb.ReleaseLeaseParams{KeyHex: lockdb.Hex(le.key), Epoch: le.epoch, LeaseID: le.id})
	return le.answer(tx, "release", n, err)
}

// Renew does what [Lease.RenewTx] does, in a short transaction of its own, and
// moves [Lease.Deadline]. A transaction that the server aborts is run again (see
// [WithMaxAttempts]). After [ErrCommitUnknown] it may simply be called again. It
// waits for transactions of this lease that are open, since they have the row
// locked: call it between them; within [Lease.InTx] it is refused. It is three round trips.
func (le *Lease) Renew(ctx context.Context) (err error) {
	if err := le.refuseUpgrade(ctx); err != nil {
		return err
	}
	ctx, seen := le.locker.observe(ctx, Operation{Name: OpRenew, Key: le.key, Keys: 1, TTL: le.ttl})
	attempts := 0
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: le.epoch, Attempts: attempts}) }()
	var asked time.Time
	err = le.run(ctx, "renew", func(tx *sql.Tx) (err error) {
		attempts++
		asked, err = le.renew(ctx, tx)
		return err
	})
	if err == nil {
		le.clearReleased()
		le.extend(asked)
	}
	le.noteLoss(err)
	return err
}

// Release does what [Lease.ReleaseTx] does, in a short transaction of its own.
// A transaction that the server aborts is run again (see [WithMaxAttempts]).
// A second call fails with [ErrLost]; after [ErrCommitUnknown] that says that the
// lease is over, one way or the other. Within [Lease.InTx] it is refused. It is three round
// trips.
func (le *Lease) Release(ctx context.Context) (err error) {
	if err := le.refuseUpgrade(ctx); err != nil {
		return err
	}
	ctx, seen := le.locker.observe(ctx, Operation{Name: OpRelease, Key: le.key, Keys: 1})
	attempts := 0
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: le.epoch, Attempts: attempts}) }()
	err = le.run(ctx, "release", func(tx *sql.Tx) error {
		attempts++
		if err := le.release(ctx, tx); err != nil {
			return err
		}
		le.mayBeReleased() // a heartbeat may see it before COMMIT is answered
		return nil
	})
	switch {
	case err == nil:
		le.end(nil)
		le.locker.waiters.released(le.key)
	case errors.Is(err, ErrCommitUnknown):
		le.mayBeReleased()
		le.end(&LostError{Key: le.key, Owner: le.Owner(), Epoch: le.epoch, Err: err})
	case !errors.Is(err, ErrLost):
		le.clearReleased()
	default:
		le.noteLoss(err)
	}
	return err
}

// run runs body in a short transaction of its own.
func (le *Lease) run(ctx context.Context, op string, body func(tx *sql.Tx) error) error {
	return le.locker.run(ctx, job{op: op, key: le.key}, func(tx *sql.Tx) (int64, error) {
		return le.epoch, body(tx)
	})
}

// answer reads how many rows a statement matched that names this lease.
func (le *Lease) answer(tx *sql.Tx, op string, n int64, err error) error {
	switch {
	case err != nil:
		return le.locker.failed(tx, op, le.key, err)
	case n == 0:
		return le.lost()
	}
	return nil
}

func (le *Lease) lost() error {
	return &LostError{Key: le.key, Owner: le.Owner(), Epoch: le.epoch}
}
