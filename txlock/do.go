package txlock

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Do runs one business transaction under the lock of key: it begins a
// transaction, locks key in it as [Locker.LockTx] does, calls fn and commits. fn
// reads and writes through tx, and neither commits it nor rolls it back; what it
// does elsewhere is not protected. When fn returns an error, or panics, the
// transaction is rolled back, and Do returns that error, or panics on.
//
// When the server aborts the transaction (deadlock, conflict, lost connection
// before COMMIT), all of it is run again, fn included, after a random pause and
// up to [WithMaxAttempts] times; then the error matches [ErrTxAborted]. fn must
// return the errors of its statements, wrapped or not: after one that it
// swallows, the server may have rolled back what came before, and what comes
// after would be outside of any transaction ([ErrAbortIgnored], where the library
// can tell). Nor must fn send what commits by itself, such as DDL, TRUNCATE or
// LOCK TABLES: that ends the lock with the transaction.
//
// Within fn, a further Do or TryAcquire of the same key waits for this one, and so
// until the lock wait times out; in a pool of one connection every such call waits
// until ctx ends. Use the forms that take tx.
//
// fn learns the epoch of its lock from [EpochFromContext], to write it into its
// rows or hand it on as a fencing token.
//
// It fails with [ErrHeld] at once if a lease of key is active, with [ErrBusy] if
// the lock did not come free in the server's innodb_lock_wait_timeout, with
// [ErrCommitUnknown] if the connection was lost while COMMIT was under way, which
// is never run again, and otherwise as [Locker.LockTx] does. After every error
// but ErrCommitUnknown and ErrAbortIgnored nothing was committed.
//
// It adds one statement to the transaction, as LockTx does, and no commit.
func (l *Locker) Do(ctx context.Context, key string, fn func(ctx context.Context, tx *sql.Tx) error, opts ...AcquireOption) (err error) {
	a, err := l.lockOptions(key, opts)
	if err != nil {
		return err
	}
	if fn == nil {
		return invalidNil("function", "give Do what is to be run under the lock")
	}
	ctx, seen := l.observe(ctx, Operation{Name: OpDo, Key: key, Keys: 1})
	var epoch int64
	attempts := 0
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: epoch, Attempts: attempts}) }()
	return l.run(ctx, l.ensureFirst(job{op: "do", key: key, txOptions: l.txOptions}, &a), func(tx *sql.Tx) (_ int64, err error) {
		attempts++
		if epoch, err = l.lock(ctx, tx, key, a); err != nil {
			return 0, err
		}
		return epoch, fn(context.WithValue(ctx, epochKey{}, epoch), tx)
	})
}

type epochKey struct{}

// EpochFromContext returns the epoch of the lock or lease under which [Locker.Do] or
// [Lease.InTx] runs the function that was given ctx, and whether there is one.
func EpochFromContext(ctx context.Context) (int64, bool) {
	epoch, ok := ctx.Value(epochKey{}).(int64)
	return epoch, ok
}

// InTx runs one business transaction fenced by the lease: it begins a
// transaction, verifies the lease in it as [Lease.VerifyTx] does, calls fn and
// commits. If the lease is lost it returns [ErrLost] and fn is not called.
// Everything else is as with [Locker.Do]: fn's duties, rollback, running again
// when the server aborts, the errors, the cost.
func (le *Lease) InTx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) (err error) {
	if fn == nil {
		return invalidNil("function", "give InTx what is to be run under the fence")
	}
	l := le.locker
	ctx, seen := l.observe(ctx, Operation{Name: OpInTx, Key: le.key, Keys: 1})
	attempts := 0
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: le.epoch, Attempts: attempts}) }()
	var renewed time.Time
	err = l.run(ctx, job{op: "fence", key: le.key, txOptions: l.txOptions}, func(tx *sql.Tx) (_ int64, err error) {
		attempts++
		if renewed, err = le.fence(ctx, tx); err != nil {
			le.learn(err)
			return le.epoch, err
		}
		return le.epoch, fn(context.WithValue(ctx, epochKey{}, le.epoch), tx)
	})
	switch {
	case err != nil && !errors.Is(err, ErrCommitUnknown):
		le.stillHeld() // what fn may have released is held again
	case err == nil && !renewed.IsZero():
		le.extend(renewed)
	}
	return err
}

// fence verifies the lease in a transaction of InTx. One that renews it as well
// returns from when on.
func (le *Lease) fence(ctx context.Context, tx *sql.Tx) (renewed time.Time, err error) {
	if le.fenceRenews() {
		return le.renew(ctx, tx)
	}
	return time.Time{}, le.VerifyTx(ctx, tx)
}

// fenceRenews reports whether a fence renews the lease as well: that of a kept
// lease on a multi-writer cluster does, where a fence writes anyhow.
func (le *Lease) fenceRenews() bool {
	le.mu.Lock()
	defer le.mu.Unlock()
	return le.locker.multiWriter && le.kept.on
}
