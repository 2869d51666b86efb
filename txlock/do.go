package txlock

import (
	"context"
	"database/sql"
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
// With [NewEpoch], fn learns the epoch of its lock from [EpochFromContext], to write it into
// its rows or hand it on as a fencing token.
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
		w := &within{epoch: epoch}
		return epoch, fn(w.enter(ctx), tx)
	})
}

// InTx runs one business transaction fenced by the lease: it begins a
// transaction, verifies the lease in it as [Lease.VerifyTx] does, calls fn and
// commits. If the lease is lost it returns [ErrLost] and fn is not called.
// Everything else is as with [Locker.Do]: fn's duties, rollback, running again
// when the server aborts, the errors, the cost.
//
// Within fn, what waits for its own transaction is refused with [ErrInvalidArgument]: a
// further InTx or fence of the lease, and to renew or release it.
func (le *Lease) InTx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) (err error) {
	if fn == nil {
		return invalidNil("function", "give InTx what is to be run under the fence")
	}
	if err := le.refuseNested(ctx, nil); err != nil {
		return err
	}
	l := le.locker
	ctx, seen := l.observe(ctx, Operation{Name: OpInTx, Key: le.key, Keys: 1})
	attempts := 0
	var f *fence
	err = ErrPanicked
	defer func() {
		if f != nil {
			f.end(err == nil)
		}
		seen.end(Result{Err: err, Epoch: le.epoch, Attempts: attempts})
	}()
	err = l.run(ctx, job{op: "fence", key: le.key, txOptions: l.txOptions}, func(tx *sql.Tx) (_ int64, err error) {
		attempts++
		f = le.newFence(false)
		defer func() {
			if err != nil {
				f.end(false)
			}
		}()
		if err = f.verify(ctx, tx); err != nil {
			le.noteLoss(err)
			return le.epoch, err
		}
		w := &within{epoch: le.epoch, lease: le, tx: tx}
		defer w.over.Store(true)
		return le.epoch, fn(w.enter(ctx), tx)
	})
	return err
}
