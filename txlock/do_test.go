package txlock_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

var (
	errBusiness  = errors.New("account is closed")
	errDeadlock  = &mysql.MySQLError{Number: 1213, Message: "Deadlock found"}
	errCheckRead = &mysql.MySQLError{Number: 1020, Message: "Record has changed since last read in table 'a'"}
)

// update is a business transaction of one statement.
func update(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = 1"); err != nil {
		return fmt.Errorf("update accounts: %w", err)
	}
	return nil
}

func (m *mocked) expectUpdate() {
	m.mock.ExpectExec("UPDATE accounts").WillReturnResult(sqlmock.NewResult(0, 1))
}

// awaitRollback waits for the goroutine in which database/sql rolls back a
// transaction whose context has ended.
func (m *mocked) awaitRollback() {
	for m.mock.ExpectationsWereMet() != nil && m.Context().Err() == nil {
		runtime.Gosched()
	}
}

// whole are the two forms that run a business transaction, each with what one
// attempt of it expects up to the business statements.
var whole = map[string]struct {
	expect func(m *mocked)
	run    func(m *mocked, ctx context.Context, fn func(context.Context, *sql.Tx) error) error
}{
	"Do": {
		func(m *mocked) {
			m.mock.ExpectBegin()
			txlocktest.ExpectLockTx(m.mock, "k", txlocktest.Granted(5), txlocktest.NewEpoch())
		},
		func(m *mocked, ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
			return m.Do(ctx, "k", fn, txlock.NewEpoch())
		},
	},
	"InTx": {
		func(m *mocked) {
			m.mock.ExpectBegin()
			txlocktest.ExpectVerifyTx(m.mock, "k", txlocktest.OK())
		},
		func(m *mocked, ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
			return m.lease5.InTx(ctx, fn)
		},
	},
}

func eachWhole(t *testing.T, test func(m *mocked, expect func(), run func(ctx context.Context, fn func(context.Context, *sql.Tx) error) error)) {
	for name, form := range whole {
		t.Run(name, func(t *testing.T) {
			m := newMocked(t, txlock.WithOwner("me"), txlock.WithMaxAttempts(3))
			m.lease5 = m.lease("k", 5)
			test(m,
				func() { form.expect(m) },
				func(ctx context.Context, fn func(context.Context, *sql.Tx) error) error { return form.run(m, ctx, fn) })
		})
	}
}

type runner = func(ctx context.Context, fn func(context.Context, *sql.Tx) error) error

func TestWholeReturnsTheBusinessError(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectRollback()
		if err := run(m.Context(), func(context.Context, *sql.Tx) error { return errBusiness }); err != errBusiness {
			m.Errorf("got %v, want the function's own error", err)
		}
	})
}

func TestWholeRollsBackOnPanic(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectRollback()
		defer func() {
			if r := recover(); r != "boom" {
				m.Errorf("recovered %v, want the function's own panic", r)
			}
		}()
		_ = run(m.Context(), func(context.Context, *sql.Tx) error { panic("boom") })
		m.Error("the panic was swallowed")
	})
}

func TestWholeRollsBackOnGoexit(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectRollback()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = run(context.Background(), func(context.Context, *sql.Tx) error { runtime.Goexit(); return nil })
		}()
		<-done
	})
}

func TestWholeRunsAgainWhenAborted(t *testing.T) {
	for name, abort := range map[string]error{
		"deadlock":           errDeadlock,
		"snapshot isolation": errCheckRead,
		"certification":      &mysql.MySQLError{Number: 3101, Message: "Plugin instructed the server to rollback the current transaction."},
		"deposed primary":    &mysql.MySQLError{Number: 3100, Message: "Error on observer while running replication hook 'before_commit'."},
		"Galera, 149":        &mysql.MySQLError{Number: 1180, Message: "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT"},
	} {
		t.Run(name, func(t *testing.T) {
			eachWhole(t, func(m *mocked, expect func(), run runner) {
				expect() // in a statement of the caller
				m.mock.ExpectExec("UPDATE accounts").WillReturnError(abort)
				m.mock.ExpectRollback()
				expect() // at COMMIT
				m.expectUpdate()
				m.mock.ExpectCommit().WillReturnError(abort)
				expect()
				m.expectUpdate()
				m.mock.ExpectCommit()
				if err := run(m.Context(), update); err != nil {
					m.Error(err)
				}
			})
		})
	}
}

// driver.ErrBadConn is the driver's word that nothing was sent.
func TestWholeIsAbortedWhenCommitWasNotSent(t *testing.T) {
	m := newMocked(t, txlock.WithMaxAttempts(1)) // sqlmock has no second connection for another
	m.mock.ExpectBegin()
	txlocktest.ExpectLockTx(m.mock, "k", txlocktest.Granted(5), txlocktest.NewEpoch())
	m.expectUpdate()
	m.mock.ExpectCommit().WillReturnError(driver.ErrBadConn)
	if err := m.Do(t.Context(), "k", update, txlock.NewEpoch()); !errors.Is(err, txlock.ErrTxAborted) || errors.Is(err, txlock.ErrCommitUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestWholeGivesUpAfterMaxAttempts(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		for range 3 {
			expect()
			m.mock.ExpectExec("UPDATE accounts").WillReturnError(errDeadlock)
			m.mock.ExpectRollback()
		}
		err := run(m.Context(), update)
		if !errors.Is(err, txlock.ErrTxAborted) || !errors.Is(err, errDeadlock) || !txlock.IsRetryable(err) || !strings.Contains(err.Error(), "attempt 3 was the last") {
			m.Errorf("got %v", err)
		}
	})
}

func TestWholeStopsRetryingWhenTheContextEnds(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		ctx, cancel := context.WithCancel(m.Context())
		expect()
		m.mock.ExpectRollback()
		err := run(ctx, func(context.Context, *sql.Tx) error {
			cancel()
			return errDeadlock
		})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errDeadlock) || strings.Contains(err.Error(), "rolling back said") {
			m.Errorf("got %v", err)
		}
		m.awaitRollback()
	})
}

// A connection that is lost before COMMIT takes its transaction with it.
func TestWholeRunsAgainWhenItsConnectionIsLost(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectExec("UPDATE accounts").WillReturnError(mysql.ErrInvalidConn)
		m.mock.ExpectRollback().WillReturnError(mysql.ErrInvalidConn)
		expect()
		m.expectUpdate()
		m.mock.ExpectCommit()
		if err := run(m.Context(), update); err != nil {
			m.Error(err)
		}
	})
}

// The function may speak to other servers, where a lost connection can hide a
// COMMIT: as long as our own connection lives, that error is not ours to retry.
func TestWholeDoesNotRetryAnotherConnectionsLoss(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectRollback()
		err := run(m.Context(), func(context.Context, *sql.Tx) error { return mysql.ErrInvalidConn })
		if err != mysql.ErrInvalidConn {
			m.Errorf("got %v", err)
		}
	})
}

func TestWholeNeverRetriesAnUnknownCommit(t *testing.T) {
	for name, lost := range map[string]error{
		"connection lost": mysql.ErrInvalidConn,
		"disk full":       &mysql.MySQLError{Number: 1180, Message: "Got error 28 - 'No space left on device' during COMMIT"},
	} {
		t.Run(name, func(t *testing.T) {
			eachWhole(t, func(m *mocked, expect func(), run runner) {
				expect()
				m.expectUpdate()
				m.mock.ExpectCommit().WillReturnError(lost)
				err := run(m.Context(), update)
				var unknown *txlock.CommitUnknownError
				if !errors.As(err, &unknown) || !errors.Is(err, txlock.ErrCommitUnknown) || !errors.Is(err, lost) {
					m.Fatalf("got %v", err)
				}
				if unknown.Key != "k" || unknown.Owner != "me" || unknown.Epoch != 5 {
					m.Errorf("got %+v", unknown)
				}
				if txlock.IsRetryable(err) {
					m.Error("an unknown COMMIT was called retryable")
				}
			})
		})
	}
}

func TestWholeTellsOfAFunctionThatCommits(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectCommit()
		err := run(m.Context(), func(_ context.Context, tx *sql.Tx) error { return tx.Commit() })
		if !errors.Is(err, sql.ErrTxDone) || errors.Is(err, txlock.ErrCommitUnknown) {
			m.Errorf("got %v", err)
		}
	})
}

func TestWholeIsRolledBackWhenTheContextEnds(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		ctx, cancel := context.WithCancel(m.Context())
		expect()
		m.mock.ExpectRollback()
		err := run(ctx, func(context.Context, *sql.Tx) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) || errors.Is(err, txlock.ErrCommitUnknown) {
			m.Errorf("got %v", err)
		}
		m.awaitRollback()
	})
}

// The driver says so of a COMMIT on a connection that an ended context had closed.
func TestWholeIsRolledBackWhenCommitWasCanceled(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectCommit().WillReturnError(context.Canceled)
		err := run(m.Context(), func(context.Context, *sql.Tx) error { return nil })
		if !errors.Is(err, context.Canceled) || errors.Is(err, txlock.ErrCommitUnknown) || errors.Is(err, txlock.ErrTxAborted) {
			m.Errorf("got %v", err)
		}
	})
}

// The context has ended and database/sql has rolled back before fn returns: that
// is what is told, and not that fn ended the transaction.
func TestWholeTellsOfTheContextAfterItsRollback(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		ctx, cancel := context.WithCancel(m.Context())
		expect()
		m.mock.ExpectRollback()
		err := run(ctx, func(context.Context, *sql.Tx) error {
			cancel()
			m.awaitRollback()
			return nil
		})
		if !errors.Is(err, context.Canceled) || errors.Is(err, txlock.ErrCommitUnknown) || errors.Is(err, sql.ErrTxDone) {
			m.Errorf("got %v", err)
		}
	})
}

func TestWholeReportsAFailedRollback(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		refused := &mysql.MySQLError{Number: 1105, Message: "unknown error"}
		expect()
		m.mock.ExpectRollback().WillReturnError(refused)
		err := run(m.Context(), func(context.Context, *sql.Tx) error { return errBusiness })
		if !errors.Is(err, errBusiness) || !errors.Is(err, refused) {
			m.Errorf("got %v", err)
		}
	})
}

// The function swallows an abort that the library told it of, and goes on.
func TestWholeRefusesToCommitAnIgnoredAbort(t *testing.T) {
	for name, returned := range map[string]error{"nil": nil, "another error": errBusiness} {
		t.Run(name, func(t *testing.T) {
			eachWhole(t, func(m *mocked, expect func(), run runner) {
				expect()
				txlocktest.ExpectLockTx(m.mock, "optional", txlocktest.Aborted())
				m.expectUpdate()
				m.mock.ExpectRollback()
				err := run(m.Context(), func(ctx context.Context, tx *sql.Tx) error {
					if err := m.LockTx(ctx, tx, "optional"); !errors.Is(err, txlock.ErrTxAborted) {
						m.Errorf("got %v", err)
					}
					if err := update(ctx, tx); err != nil {
						m.Error(err)
					}
					return returned
				})
				if !errors.Is(err, txlock.ErrAbortIgnored) || txlock.IsRetryable(err) || returned != nil && !errors.Is(err, returned) {
					m.Errorf("got %v", err)
				}
			})
		})
	}
}

// An error that also says that some COMMIT is unknown is no reason to run again.
func TestWholeDoesNotRetryWhatIsPartlyUnknown(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectRollback()
		both := errors.Join(&txlock.CommitUnknownError{Key: "other"}, txlock.ErrTxAborted)
		if err := run(m.Context(), func(context.Context, *sql.Tx) error { return both }); !errors.Is(err, txlock.ErrCommitUnknown) {
			m.Errorf("got %v", err)
		}
	})
}

// A pooled connection that has ended shows at BEGIN, when nothing was done yet.
func TestWholeBeginsAgain(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		m.mock.ExpectBegin().WillReturnError(mysql.ErrInvalidConn)
		expect()
		m.mock.ExpectCommit()
		if err := run(m.Context(), func(context.Context, *sql.Tx) error { return nil }); err != nil {
			m.Error(err)
		}
	})
}

func TestEpochFromContext(t *testing.T) {
	eachWhole(t, func(m *mocked, expect func(), run runner) {
		expect()
		m.mock.ExpectCommit()
		if err := run(m.Context(), func(ctx context.Context, _ *sql.Tx) error {
			if epoch, ok := txlock.EpochFromContext(ctx); epoch != 5 || !ok {
				m.Errorf("got %d, %t", epoch, ok)
			}
			return nil
		}); err != nil {
			m.Error(err)
		}
	})
	if _, ok := txlock.EpochFromContext(t.Context()); ok {
		t.Error("an epoch outside of Do")
	}
}

func TestWholeCannotBegin(t *testing.T) {
	eachWhole(t, func(m *mocked, _ func(), run runner) {
		m.mock.ExpectBegin().WillReturnError(&mysql.MySQLError{Number: 1040, Message: "Too many connections"})
		err := run(m.Context(), func(context.Context, *sql.Tx) error { m.Error("called"); return nil })
		if err == nil || !strings.Contains(err.Error(), "Too many connections") {
			m.Errorf("got %v", err)
		}
	})
}

func TestDoIsRefusedAtOnceWhileALeaseIsHeld(t *testing.T) {
	m := newMocked(t)
	txlocktest.ExpectDo(m.mock, "k", txlocktest.Held(3*time.Second), nil)
	err := m.Do(t.Context(), "k", func(context.Context, *sql.Tx) error { t.Error("called"); return nil })
	var held *txlock.HeldError
	if !errors.As(err, &held) || held.Key != "k" || held.RetryAfter != 3*time.Second || txlock.IsRetryable(err) {
		t.Errorf("got %v", err)
	}
}
