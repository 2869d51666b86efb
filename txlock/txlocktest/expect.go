package txlocktest

import (
	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/lockdb"
)

// ExpectAcquireTx expects Locker.AcquireTx of key.
func ExpectAcquireTx(mock sqlmock.Sqlmock, key string, outcome AcquireOutcome, opts ...Option) {
	s := configure(opts)
	s.expectRow(mock, key)
	s.expectAcquire(mock, key, lockdb.StatusActive, outcome)
}

// ExpectLockTx expects Locker.LockTx of key.
func ExpectLockTx(mock sqlmock.Sqlmock, key string, outcome AcquireOutcome, opts ...Option) {
	s := configure(opts)
	s.expectRow(mock, key)
	s.expectLock(mock, key, outcome)
}

// ExpectRenewTx expects Lease.RenewTx of a lease of key.
func ExpectRenewTx(mock sqlmock.Sqlmock, key string, outcome LeaseOutcome) {
	renewStatement(key).expectExec(mock, outcome.ofLease())
}

// ExpectVerifyTx expects Lease.VerifyTx of a lease of key.
func ExpectVerifyTx(mock sqlmock.Sqlmock, key string, outcome LeaseOutcome, opts ...Option) {
	s := configure(opts)
	s.expectLook(mock)
	if s.multiWriter {
		renewStatement(key).expectExec(mock, outcome.ofLease())
		return
	}
	verifyStatement(key).expectQuery(mock, outcome.ofLease())
}

// ExpectReleaseTx expects Lease.ReleaseTx of a lease of key.
func ExpectReleaseTx(mock sqlmock.Sqlmock, key string, outcome LeaseOutcome) {
	releaseStatement(key).expectExec(mock, outcome.ofLease())
}

// ExpectTryAcquire expects one attempt of Locker.TryAcquire of key: its
// transaction is committed if the key is granted, else rolled back.
func ExpectTryAcquire(mock sqlmock.Sqlmock, key string, outcome AcquireOutcome, opts ...Option) {
	s := configure(opts)
	s.expectRow(mock, key)
	mock.ExpectBegin()
	s.expectAcquire(mock, key, lockdb.StatusActive, outcome)
	expectEnd(mock, isGranted(outcome))
}

// ExpectRenew expects one attempt of Lease.Renew of a lease of key.
func ExpectRenew(mock sqlmock.Sqlmock, key string, outcome LeaseOutcome) {
	mock.ExpectBegin()
	ExpectRenewTx(mock, key, outcome)
	expectEnd(mock, isOK(outcome))
}

// ExpectRelease expects one attempt of Lease.Release of a lease of key.
func ExpectRelease(mock sqlmock.Sqlmock, key string, outcome LeaseOutcome) {
	mock.ExpectBegin()
	ExpectReleaseTx(mock, key, outcome)
	expectEnd(mock, isOK(outcome))
}

// ExpectDo expects one attempt of Locker.Do of key. If the key is granted, body
// is called to expect the business statements (nil for none), and then COMMIT is
// expected; otherwise Rollback. For a business transaction that fails, or a
// COMMIT that does, write out what ExpectDo is short for:
//
//	mock.ExpectBegin()
//	txlocktest.ExpectLockTx(mock, key, txlocktest.Granted(1))
//	mock.ExpectExec("UPDATE accounts").WillReturnError(errBusiness)
//	mock.ExpectRollback()
func ExpectDo(mock sqlmock.Sqlmock, key string, outcome AcquireOutcome, body func(), opts ...Option) {
	s := configure(opts)
	s.expectRow(mock, key)
	mock.ExpectBegin()
	s.expectLock(mock, key, outcome)
	expectBody(mock, isGranted(outcome), body)
}

// ExpectInTx expects one attempt of Lease.InTx of a lease of key: as [ExpectDo],
// with the fence in place of the lock.
func ExpectInTx(mock sqlmock.Sqlmock, key string, outcome LeaseOutcome, body func(), opts ...Option) {
	mock.ExpectBegin()
	ExpectVerifyTx(mock, key, outcome, opts...)
	expectBody(mock, isOK(outcome), body)
}

// ExpectCommit expects a COMMIT that fails: [Aborted] by a conflict, as clusters
// do, or with the [ConnectionGone] before its answer. Any other failure leaves its
// outcome unknown, too.
func ExpectCommit(mock sqlmock.Sqlmock, failure Failure) {
	mock.ExpectCommit().WillReturnError(failure.err)
}

func expectBody(mock sqlmock.Sqlmock, entered bool, body func()) {
	if entered && body != nil {
		body()
	}
	expectEnd(mock, entered)
}

func expectEnd(mock sqlmock.Sqlmock, commit bool) {
	if commit {
		mock.ExpectCommit()
	} else {
		mock.ExpectRollback()
	}
}

func isGranted(outcome AcquireOutcome) bool {
	_, ok := outcome.(granted)
	return ok
}

func isOK(outcome LeaseOutcome) bool { return outcome == OK() }
