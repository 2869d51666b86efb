package txlocktest

import "github.com/DATA-DOG/go-sqlmock"

// ExpectKeepAlive expects the renewal with which Lease.KeepAlive of a lease of key
// begins, unless that was acquired with txlock.Kept: then nothing is to be expected.
// The heartbeat that follows sends nothing before a third of the TTL is
// over, ten seconds unless it is set: a test should be over by then.
func ExpectKeepAlive(mock sqlmock.Sqlmock, key string, outcome LeaseOutcome) {
	ExpectRenew(mock, key, outcome)
}

// ExpectRun expects Locker.Run of key: what [ExpectAcquire] does, or with [NoWait]
// what [ExpectTryAcquire] does, and if the key is granted, what body expects (nil for
// nothing), and the release. For a job
// whose lease is lost, or is not released, write out what ExpectRun is short for (with
// NoWait, [ExpectTryAcquire] in place of [ExpectAcquire]). A job that learns of the
// loss in InTx is followed by no release: its last expectation is [ExpectInTx] with
// [Lost].
//
//	txlocktest.ExpectAcquire(mock, key, txlocktest.Granted(1))
//	txlocktest.ExpectRelease(mock, key, txlocktest.Lost())
func ExpectRun(mock sqlmock.Sqlmock, key string, outcome AcquireOutcome, body func(), opts ...AcquireOption) {
	if acquiring(opts).noWait {
		ExpectTryAcquire(mock, key, outcome, opts...)
	} else {
		ExpectAcquire(mock, key, outcome)
	}
	if !isGranted(outcome) {
		return
	}
	if body != nil {
		body()
	}
	ExpectRelease(mock, key, OK())
}
