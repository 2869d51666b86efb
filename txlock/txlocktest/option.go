package txlocktest

import (
	"context"
	"errors"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/lockdb"
	"github.com/gox-helix/gox-helix/txlock"
)

// Option tells how the Locker under test was made, and how it is called.
type Option func(*setup)

type setup struct{ noWait, newEpoch, shared, multiWriter, firstUse bool }

// NoWait says that the acquisition is given txlock.NoWait. What is expected is then
// a look at the key's row first, on another connection, which finds it; [Busy] lets
// another transaction have it locked, which leaves the transaction usable.
//
// After Locker.Prepare that other connection prepares the look anew, which a mock
// would have to be told by the test itself: leave Prepare out where a transaction of
// the code under test acquires with NoWait.
func NoWait() Option {
	return func(s *setup) { s.noWait = true }
}

// NewEpoch says that the lock is given txlock.NewEpoch.
func NewEpoch() Option {
	return func(s *setup) { s.newEpoch = true }
}

// Shared says that the lock is given txlock.Shared. A look at the key's row is expected
// first, as with [NoWait].
func Shared() Option {
	return func(s *setup) { s.shared = true }
}

// MultiWriter says that the Locker was made with txlock.WithMultiWriter.
func MultiWriter() Option {
	return func(s *setup) { s.multiWriter = true }
}

// FirstUse says that this is the first lock or fence of a Locker that was made without
// txlock.WithSingleWriter and txlock.WithMultiWriter: it looks whether its server is one
// of several that take writes, and finds that it is not. Tests that give the Locker
// txlock.WithSingleWriter need not care which use is the first.
func FirstUse() Option {
	return func(s *setup) { s.firstUse = true }
}

func configure(opts []Option) (s setup) {
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

// expectRow expects what an acquisition asks before it, or its transaction, begins.
func (s setup) expectRow(mock sqlmock.Sqlmock, key string) {
	if s.noWait || s.shared {
		ExpectInspect(mock, key, Found(txlock.Info{}))
	}
}

// expectAcquire expects the statement that acquires. It answers as for a row that was
// inserted, so that no Locker remembers the key: what is expected of the next
// acquisition does not hang on this one.
func (s setup) expectAcquire(mock sqlmock.Sqlmock, key string, status int64, outcome AcquireOutcome) {
	r := outcome.acquisition()
	r.matched = 1
	if !s.noWait {
		acquireStatement(key, status).expectExec(mock, r)
		return
	}
	if isBusy(r.err) {
		r = reply{} // no row was free to be locked
	}
	acquireNoWaitStatement(key, status).expectExec(mock, r)
}

// expectLock expects the statements of a lock. As expectAcquire, they answer so that no
// Locker remembers the key.
func (s setup) expectLock(mock sqlmock.Sqlmock, key string, outcome AcquireOutcome) {
	if s.newEpoch || s.multiWriter {
		s.expectAcquire(mock, key, lockdb.StatusInactive, outcome)
		return
	}
	s.expectLook(mock)
	r := outcome.acquisition()
	status := int64(lockdb.StatusDeletable)
	if r.insertID < 0 {
		status = lockdb.StatusActive
	}
	switch {
	case s.shared:
		rows := sqlmock.NewRows([]string{"status", "remaining_micros", "read_only"}).AddRow(status, -r.insertID, 0)
		shareStatement(key).query(mock).WillReturnRows(rows).WillReturnError(r.err)
		return
	case s.noWait:
		rows := sqlmock.NewRows([]string{"status"})
		if isBusy(r.err) {
			r = reply{}
		} else {
			rows.AddRow(status)
		}
		lockNoWaitStatement(key).query(mock).WillReturnRows(rows).WillReturnError(r.err)
	case r.err != nil:
		ensureStatement(key).expectExec(mock, r)
	default:
		ensureStatement(key).expectExec(mock, reply{insertID: status + 1})
	}
	if r.insertID < 0 {
		acquireKnownStatement(key, lockdb.StatusInactive).expectExec(mock, reply{insertID: r.insertID})
	}
}

// expectLook expects the look at the server, where this is the first use.
func (s setup) expectLook(mock sqlmock.Sqlmock) {
	if s.firstUse && !s.multiWriter {
		mock.ExpectQuery(named(func(q *lockdb.Queries) error {
			_, err := q.ClusterVariables(context.Background())
			return err
		})).WillReturnRows(sqlmock.NewRows([]string{"Variable_name", "Value"}))
	}
}

// isBusy reports whether err is that of [Busy].
func isBusy(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == lockWaitTimeout
}

const lockWaitTimeout = 1205
