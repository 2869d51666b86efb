package txlock_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
)

// What a caller's own statement or COMMIT is told in favor of another transaction.
func TestConflictsOfTheCallerAreRetryable(t *testing.T) {
	for _, err := range []error{
		errDeadlock,
		errCheckRead,
		&mysql.MySQLError{Number: 3100, Message: "Error on observer while running replication hook 'before_commit'."},
		&mysql.MySQLError{Number: 3101, Message: "Plugin instructed the server to rollback the current transaction."},
		&mysql.MySQLError{Number: 1180, Message: "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT"},
		fmt.Errorf("update accounts: %w", errDeadlock),
		txlock.ErrTxAborted,
	} {
		if !txlock.IsRetryable(err) {
			t.Errorf("%v was not called retryable", err)
		}
	}
}

// What may have been committed, or may stand, is not run again, whatever else is
// said of it; nor is what only looks like a conflict.
func TestWhatMayStandIsNotRetryable(t *testing.T) {
	for _, err := range []error{
		errors.Join(errDeadlock, &txlock.CommitUnknownError{Key: "k", Err: mysql.ErrInvalidConn}),
		errors.Join(errDeadlock, txlock.ErrAbortIgnored),
		&mysql.MySQLError{Number: 1180, Message: "Got error 1149 - 'unknown' during COMMIT"},
		&mysql.MySQLError{Number: 1180, Message: "Got error 28 - 'No space left on device 149' during COMMIT"},
	} {
		if txlock.IsRetryable(err) {
			t.Errorf("%v was called retryable", err)
		}
	}
}
