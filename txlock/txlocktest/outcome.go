package txlocktest

import (
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

// AcquireOutcome is what becomes of an acquisition: [Granted], [Held] or a
// [Failure].
type AcquireOutcome interface {
	acquisition() reply
}

// LeaseOutcome is what becomes of a lease's renewal, fence or release: [OK],
// [Lost] or a [Failure].
type LeaseOutcome interface {
	ofLease() reply
}

// reply is how the server answers one statement.
type reply struct {
	insertID int64 // LAST_INSERT_ID in the OK packet
	matched  int64 // rows that a lease's own statement finds
	err      error
}

type granted int64

func (g granted) acquisition() reply { return reply{insertID: int64(g)} }

// Granted lets an acquisition win with this epoch, above zero. (A lock has one only with
// [NewEpoch]; otherwise any will do.)
func Granted(epoch int64) AcquireOutcome {
	if epoch < 1 {
		return Fails(fmt.Errorf("txlocktest: Granted(%d): an epoch is above zero", epoch))
	}
	return granted(epoch)
}

type held time.Duration

func (h held) acquisition() reply {
	return reply{insertID: -time.Duration(h).Microseconds()}
}

// Held refuses an acquisition with txlock.ErrHeld, because another lease is
// active for so much longer (to the microsecond; at least one).
func Held(remaining time.Duration) AcquireOutcome {
	return held(max(remaining, time.Microsecond))
}

type matched int64

func (m matched) ofLease() reply { return reply{matched: int64(m)} }

// OK finds the lease standing: it is renewed, verified or released.
func OK() LeaseOutcome { return matched(1) }

// Lost finds the lease lost: txlock.ErrLost.
func Lost() LeaseOutcome { return matched(0) }

// Failure is an error from the server or the driver instead of an answer. It can
// become of every operation, of a COMMIT (see [ExpectCommit]), and by [Failure.Err]
// of a statement of the code under test.
type Failure struct{ err error }

// Err is the error as the driver returns it, for a statement of the code under test:
//
//	mock.ExpectExec("UPDATE accounts").WillReturnError(txlocktest.Aborted().Err())
func (f Failure) Err() error { return f.err }

func (f Failure) acquisition() reply { return reply{err: f.err} }
func (f Failure) ofLease() reply     { return reply{err: f.err} }

// Aborted lets the server roll the whole transaction back, as the victim of a
// deadlock: txlock.ErrTxAborted. The forms with a transaction of their own roll
// back and run it again.
func Aborted() Failure {
	return Fails(&mysql.MySQLError{Number: 1213, Message: "Deadlock found when trying to get lock; try restarting transaction"})
}

// Busy lets the server give up waiting for another transaction's row lock:
// txlock.ErrBusy.
func Busy() Failure {
	return Fails(&mysql.MySQLError{Number: lockWaitTimeout, Message: "Lock wait timeout exceeded; try restarting transaction"})
}

// ConnectionGone loses the connection. During a statement the transaction is
// thereby aborted (txlock.ErrTxAborted, and run again as with [Aborted]), during
// COMMIT its outcome is unknown (txlock.ErrCommitUnknown, never run again).
func ConnectionGone() Failure { return Fails(mysql.ErrInvalidConn) }

// NotMigrated lets the tables be missing: txlock.ErrNotMigrated.
func NotMigrated() Failure {
	return Fails(&mysql.MySQLError{Number: 1146, Message: "Table 'test.helix_locks' doesn't exist"})
}

// Fails answers with any other error of the driver.
func Fails(err error) Failure { return Failure{err: err} }
