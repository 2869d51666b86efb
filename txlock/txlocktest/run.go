package txlocktest

import "github.com/DATA-DOG/go-sqlmock"

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
func ExpectRun(mock sqlmock.Sqlmock, key string, outcome AcquireOutcome, body func(), opts ...Option) {
	if configure(opts).noWait {
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
