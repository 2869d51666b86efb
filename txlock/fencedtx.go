package txlock

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
)

// fencedTx is a transaction that has verified the lease.
type fencedTx struct {
	conn    *fencedConn
	base    driver.Tx
	fence   *fence
	aborted error // after what the server has rolled it back, or may have
}

// saw notes an error after which the server may have rolled back.
func (t *fencedTx) saw(err error) {
	if t.aborted == nil && err != nil && (isConflict(err) || isConnectionLost(err) || isEnded(err) || isLockWaitTimeout(err)) {
		t.aborted = err
	}
}

// refuses is the error for a statement that is not sent any more. What rolls back
// to a savepoint is, after a lock wait has timed out: it succeeds only where the
// transaction is still there.
func (t *fencedTx) refuses(s sqlStatement) error {
	if t.aborted == nil || isLockWaitTimeout(t.aborted) && s.rollsBackToSavepoint() {
		return nil
	}
	return t.abortedError()
}

func (t *fencedTx) abortedError() error {
	le := t.conn.connector.lease
	return fmt.Errorf("txlock: fence %q: %w, or may have been, and nothing more is sent: roll back and run it again from its start: %w", le.key, ErrTxAborted, t.aborted)
}

// succeeded notes what proves that the transaction is still there.
func (t *fencedTx) succeeded(s sqlStatement) {
	if t.aborted != nil && s.rollsBackToSavepoint() {
		t.aborted = nil
	}
}

// Commit commits, or rolls back what the server has aborted.
func (t *fencedTx) Commit() error {
	c, le := t.conn, t.conn.connector.lease
	if t.aborted != nil {
		return c.job().bodyError(t.abortedError(), t.Rollback())
	}
	c.tx = nil
	err := t.base.Commit()
	if err != nil && !isConflict(err) {
		c.dirty = true
	}
	t.fence.end(err == nil)
	return c.job().commitError(context.Background(), err, le.Owner(), le.epoch)
}

// Rollback rolls back.
func (t *fencedTx) Rollback() error {
	t.conn.tx = nil
	t.fence.end(false)
	err := t.base.Rollback()
	if err != nil {
		t.conn.dirty = true
	}
	return err
}

func (s sqlStatement) rollsBackToSavepoint() bool {
	return s.kind == sqlSavepoint && s.verb == "ROLLBACK"
}

// isLockWaitTimeout reports the error after which the server has rolled back the
// statement, or all of the transaction where innodb_rollback_on_timeout is set.
func isLockWaitTimeout(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == erLockWaitTimeout
}
