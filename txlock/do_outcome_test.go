package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

// A function that has rolled its transaction back and says why: that is all there
// is to say.
func TestWholeTakesAFunctionThatRollsBack(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectRollback()
		err := run(m.Context(), func(_ context.Context, tx *sql.Tx) error {
			if err := tx.Rollback(); err != nil {
				m.Error(err)
			}
			return errBusiness
		})
		if err != errBusiness {
			m.Errorf("got %v, want the function's own error", err)
		}
	})
}

// A connection that is lost while rolling back has rolled back: the function's
// error says it all.
func TestWholeReturnsTheBusinessErrorOnALostConnection(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectRollback().WillReturnError(mysql.ErrInvalidConn)
		if err := run(m.Context(), func(context.Context, *sql.Tx) error { return errBusiness }); err != errBusiness {
			m.Errorf("got %v, want the function's own error", err)
		}
	})
}

// The function ran a transaction of its own, whose COMMIT may have happened, when
// the server went: to run it all again could do that twice.
func TestWholeDoesNotRetryAnotherTransactionsUnknownCommit(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectRollback().WillReturnError(mysql.ErrInvalidConn)
		unknown := &txlock.CommitUnknownError{Key: "other", Epoch: 1, Err: mysql.ErrInvalidConn}
		if err := run(m.Context(), func(context.Context, *sql.Tx) error { return unknown }); !errors.Is(err, txlock.ErrCommitUnknown) {
			m.Errorf("got %v", err)
		}
	})
}

// The function went on after an abort, and then the connection was lost: what it
// wrote in between may stand, so this is no abort.
func TestWholeTellsOfAnIgnoredAbortOnALostConnection(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		txlocktest.ExpectLockTx(m.mock, "optional", txlocktest.Aborted())
		m.mock.ExpectExec("UPDATE accounts").WillReturnError(mysql.ErrInvalidConn)
		m.mock.ExpectRollback().WillReturnError(mysql.ErrInvalidConn)
		err := run(m.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_ = m.LockTx(ctx, tx, "optional")
			return update(ctx, tx)
		})
		if !errors.Is(err, txlock.ErrAbortIgnored) || errors.Is(err, txlock.ErrTxAborted) {
			m.Errorf("got %v", err)
		}
	})
}
