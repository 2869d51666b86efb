package txlock

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// IsRetryable reports whether err says that the server rolled a transaction
// back, so that running all of it again from its start, after Rollback, is safe
// and likely to succeed: [ErrTxAborted], or what MySQL, MariaDB, Galera and
// Group Replication answer to the victim of a deadlock or a conflict, also from
// statements of the caller and from its Commit.
//
// It is false for [ErrHeld] and [ErrBusy], which want some time to pass first,
// and for [ErrCommitUnknown] and a bare lost connection, where the transaction
// may have been committed.
func IsRetryable(err error) bool {
	if errors.Is(err, ErrCommitUnknown) || errors.Is(err, ErrAbortIgnored) {
		return false
	}
	return errors.Is(err, ErrTxAborted) || isConflict(err)
}

// Numbers of the server's errors: the same in MySQL and MariaDB unless said.
const (
	erCheckRead            = 1020 // MariaDB, innodb_snapshot_isolation: the row changed since the snapshot
	erNoDatabase           = 1046
	erBadDatabase          = 1049
	erShutdown             = 1053
	erBadField             = 1054
	erDuplicateEntry       = 1062
	erTableAccessDenied    = 1142
	erColumnAccessDenied   = 1143
	erNoSuchTable          = 1146
	erSafeUpdates          = 1175 // MariaDB
	erErrorDuringCommit    = 1180
	erLockWaitTimeout      = 1205
	erLockTableFull        = 1206 // too many row locks: rolls back as a deadlock does
	erLockDeadlock         = 1213
	erOptionPrevents       = 1290 // --read-only, --super-read-only
	erBinlogUnsafe         = 1665 // binlog_format=STATEMENT does not go with READ COMMITTED
	erReadOnlyTransaction  = 1792
	erReadOnlyMode         = 1836
	erConnectionKilled     = 1927 // MariaDB
	erServerGone           = 2006 // from a proxy, for its own connection to the server
	erServerLost           = 2013 // likewise
	erRunHook              = 3100 // Group Replication refused before the commit
	erRollbackDuringCommit = 3101 // Group Replication: certification failed
	erSessionWasKilled     = 3169 // MySQL
	erLockNoWait           = 3572 // MySQL
	erJSONPath             = 4042 // MariaDB
	erQueryInterrupted     = 1317 // KILL QUERY; Vitess, of a transaction that it has ended
	erStatementTimeout     = 1969 // MariaDB, max_statement_time
	erQueryTimeout         = 3024 // MySQL, max_execution_time; Vitess, likewise
	erInteractionTimeout   = 4031 // MySQL
)

// isConflict reports that the server rolled back the whole transaction in favor
// of another one.
func isConflict(err error) bool {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Number {
	case erLockDeadlock, erCheckRead, erLockTableFull, erRunHook, erRollbackDuringCommit:
		return true
	case erErrorDuringCommit: // Galera: "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT"
		return strings.HasPrefix(e.Message, "Got error 149 ")
	}
	return false
}

// isConnectionLost reports that the connection has ended, and with it whatever
// transaction was open on it.
func isConnectionLost(err error) bool {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		switch e.Number {
		case erShutdown, erServerGone, erServerLost, erConnectionKilled, erSessionWasKilled, erInteractionTimeout:
			return true
		}
		return false
	}
	var netErr net.Error
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &netErr) && !isContextEnd(err)
}

// isEnded reports a statement that was ended before its time, and that may have taken its
// transaction along: on Vitess it has.
func isEnded(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && (e.Number == erQueryInterrupted || e.Number == erQueryTimeout)
}

func isDuplicate(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == erDuplicateEntry
}

func isReadOnlyTransaction(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == erReadOnlyTransaction
}

func isContextEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// statementError explains the failure of one of our own statements about key,
// inside a transaction.
func statementError(op, key string, err error) error {
	var e *mysql.MySQLError
	number := uint16(0)
	if errors.As(err, &e) {
		number = e.Number
	}
	switch {
	case errors.Is(err, ErrMultiWriter):
		return fmt.Errorf("txlock: %s %q: %w", op, key, err)
	case errors.Is(err, errNoFloor):
		return noFloorError(op, key)
	case isContextEnd(err):
		return fmt.Errorf("txlock: %s %q: context ended, roll the transaction back: %w", op, key, err)
	case isConflict(err), isConnectionLost(err), isEnded(err):
		return fmt.Errorf("txlock: %s %q: %w: roll back and run it again from its start: %w", op, key, ErrTxAborted, err)
	case number == erLockWaitTimeout, number == erLockNoWait, number == erStatementTimeout:
		return &BusyError{Key: key, Err: err}
	case number == erNoSuchTable, number == erBadField:
		return fmt.Errorf("txlock: %s %q: %w: %s: %w", op, key, ErrNotMigrated, migrateHint, err)
	case errors.Is(err, sql.ErrTxDone):
		return fmt.Errorf("txlock: %s %q: the transaction has ended: begin a new one: %w", op, key, err)
	case strings.Contains(err.Error(), "statement from different database used"): // database/sql exports no name for it
		return fmt.Errorf("txlock: %s %q: after Prepare, transactions must come from the *sql.DB that New was given: %w", op, key, err)
	}
	hint := hints[number]
	if hint == privileges && op == "purge" {
		hint = purgePrivileges
	}
	if hint != "" {
		return fmt.Errorf("txlock: %s %q: %s: %w", op, key, hint, err)
	}
	return fmt.Errorf("txlock: %s %q failed, so its transaction is to be rolled back: %w", op, key, err)
}

// hints say what to do about errors that the program cannot do anything about.
var hints = map[uint16]string{
	erOptionPrevents:      "the server takes no writes: connect to the primary",
	erReadOnlyMode:        "the server takes no writes: connect to the primary",
	erReadOnlyTransaction: "the transaction is read-only: begin one that may write",
	erBinlogUnsafe:        "the server logs statements, which does not go with READ COMMITTED: set binlog_format to ROW or MIXED",
	erSafeUpdates:         "sql_safe_updates is on, which on MariaDB forbids statements for many keys: leave it out of the DSN",
	erJSONPath:            "MariaDB reads no lists of keys where collation_connection is one of UCS-2, UTF-16 or UTF-32: leave it out of the DSN",
	erNoDatabase:          "name the database in the DSN",
	erBadDatabase:         "name a database that is there in the DSN, and create its tables",
	erTableAccessDenied:   privileges,
	erColumnAccessDenied:  privileges,
}

// What to grant to a database user that is refused.
const (
	privileges      = "grant the database user SELECT, INSERT and UPDATE on helix_locks, and SELECT on helix_lock_floor"
	purgePrivileges = "to purge, grant the database user SELECT, INSERT, UPDATE and DELETE on helix_locks, and SELECT, INSERT and UPDATE on helix_lock_floor"
)

// prepareError explains the failure of preparing the statements.
func prepareError(err error) error {
	var e *mysql.MySQLError
	if errors.As(err, &e) && (e.Number == erNoSuchTable || e.Number == erBadField) {
		return fmt.Errorf("txlock: prepare: %w: %s: %w", ErrNotMigrated, migrateHint, err)
	}
	if e != nil && hints[e.Number] != "" {
		return fmt.Errorf("txlock: prepare: %s: %w", hints[e.Number], err)
	}
	return fmt.Errorf("txlock: prepare: %w", err)
}

// migrateHint names the command that creates what is missing.
const migrateHint = `create its tables with migrations.Up, or: goose -dir "$(go list -m -f '{{.Dir}}' github.com/gox-helix/gox-helix)/migrations/sql" -table helix_goose_db_version mysql "$DSN" up`
