package load

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/txlock"
)

// errRollback makes a transaction roll back on purpose.
var errRollback = errors.New("rolled back by the client")

// outcome is what an error of the library, or of [worker.transact], says.
func outcome(err error) history.Outcome {
	switch {
	case err == nil:
		return history.OK
	case errors.Is(err, errRollback):
		return history.RolledBack
	case errors.Is(err, txlock.ErrCommitUnknown), errors.Is(err, errUnknown), errors.Is(err, txlock.ErrAbortIgnored):
		return history.Unknown
	case errors.Is(err, txlock.ErrHeld):
		return history.Held
	case errors.Is(err, txlock.ErrLost):
		return history.Lost
	case errors.Is(err, txlock.ErrNotFound):
		return history.NotFound
	case errors.Is(err, txlock.ErrBusy):
		return history.Busy
	case txlock.IsRetryable(err):
		return history.Aborted
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return history.Ended
	}
	return history.Failed
}

// errorFor is what the error of a transaction about several keys says of one: where another
// is held, that it was rolled back.
func errorFor(key string, err error) error {
	var held *txlock.HeldError
	if errors.As(err, &held) && held.Key != key {
		return errRollback
	}
	return err
}

// errUnknown is for a COMMIT of the client's own, or a statement in autocommit, whose
// answer did not come.
var errUnknown = errors.New("the outcome of COMMIT is unknown")

// erLockWaitTimeout is the number of the server's error.
const erLockWaitTimeout = 1205

// autocommitted is what the error of a statement in autocommit says: nothing was done
// if the server refused it for another transaction's sake; else it may have been.
func autocommitted(err error) error {
	var e *mysql.MySQLError
	if err == nil || txlock.IsRetryable(err) || errors.As(err, &e) && e.Number == erLockWaitTimeout {
		return err
	}
	return fmt.Errorf("%w: %w", errUnknown, err)
}

// transact runs body in a transaction of the client's own, and commits it.
func (w *worker) transact(ctx context.Context, body func(tx *sql.Tx) error) error {
	return w.transactOn(ctx, w.db, nil, body)
}

func (w *worker) transactOn(ctx context.Context, db *sql.DB, options *sql.TxOptions, body func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	if err := body(tx); err != nil {
		_ = tx.Rollback() // err says more
		return err
	}
	err = tx.Commit()
	switch {
	case err == nil:
		return nil
	case txlock.IsRetryable(err), errors.Is(err, driver.ErrBadConn): // a conflict, or nothing was sent
		return errors.Join(txlock.ErrTxAborted, err)
	case errors.Is(err, sql.ErrTxDone), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errors.Join(ctx.Err(), err) // rolled back when the context ended
	}
	return errors.Join(errUnknown, err)
}
