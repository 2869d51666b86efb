package txlocktest

import (
	"errors"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
)

// AcquireOption tells how the acquisition is called.
type AcquireOption func(*acquisition)

type acquisition struct{ noWait bool }

// NoWait says that the acquisition is given txlock.NoWait. What is expected is then
// a look at the key's row first, on another connection, which finds it; [Busy] lets
// another transaction have it locked, which leaves the transaction usable.
//
// After Locker.Prepare that other connection prepares the look anew, which a mock
// would have to be told by the test itself: leave Prepare out where a transaction of
// the code under test acquires with NoWait.
func NoWait() AcquireOption {
	return func(a *acquisition) { a.noWait = true }
}

func acquiring(opts []AcquireOption) (a acquisition) {
	for _, opt := range opts {
		opt(&a)
	}
	return a
}

// expectRow expects what an acquisition asks before it, or its transaction, begins.
func (a acquisition) expectRow(mock sqlmock.Sqlmock, key string) {
	if a.noWait {
		ExpectInspect(mock, key, Found(txlock.Info{}))
	}
}

// expect expects the statement that acquires. It answers as for a row that was
// inserted, so that no Locker remembers the key: what is expected of the next
// acquisition does not hang on this one.
func (a acquisition) expect(mock sqlmock.Sqlmock, key string, status int64, outcome AcquireOutcome) {
	r := outcome.acquisition()
	r.matched = 1
	if !a.noWait {
		acquireStatement(key, status).expectExec(mock, r)
		return
	}
	if isBusy(r.err) {
		r = reply{} // no row was free to be locked
	}
	acquireNoWaitStatement(key, status).expectExec(mock, r)
}

// isBusy reports whether err is that of [Busy].
func isBusy(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == lockWaitTimeout
}

const lockWaitTimeout = 1205
