package txlocktest_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

const key = "k"

// bench is a mocked database with a Locker on it.
type setup struct {
	*testing.T
	mock   sqlmock.Sqlmock
	db     *sql.DB
	locker *txlock.Locker
}

func newSetup(t *testing.T, prepared bool, opts ...txlock.Option) *setup {
	t.Helper()
	db, mock, err := sqlmock.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	locker, err := txlock.New(db, append(opts, txlock.WithSingleWriter())...)
	if errors.Is(err, txlock.ErrInvalidArgument) { // with WithMultiWriter
		locker, err = txlock.New(db, opts...)
	}
	if err != nil {
		t.Fatal(err)
	}
	if prepared {
		txlocktest.ExpectPrepare(mock)
		if err := locker.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return &setup{T: t, mock: mock, db: db, locker: locker}
}

// met fails the test unless all that was expected has happened.
func (b *setup) met() {
	b.Helper()
	if err := b.mock.ExpectationsWereMet(); err != nil {
		b.Error(err)
	}
}

func (b *setup) begin() *sql.Tx {
	b.Helper()
	b.mock.ExpectBegin()
	tx, err := b.db.BeginTx(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return tx
}

func (b *setup) lease() *txlock.Lease {
	b.Helper()
	txlocktest.ExpectTryAcquire(b.mock, key, txlocktest.Granted(7))
	lease, err := b.locker.TryAcquire(b.Context(), key)
	if err != nil {
		b.Fatal(err)
	}
	return lease
}

func bothModes(t *testing.T, test func(t *testing.T, prepared bool)) {
	t.Run("plain", func(t *testing.T) { test(t, false) })
	t.Run("prepared", func(t *testing.T) { test(t, true) })
}

var errOther = errors.New("disk on fire")

func TestAcquireOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		outcome txlocktest.AcquireOutcome
		want    error
	}{
		"granted":         {txlocktest.Granted(7), nil},
		"held":            {txlocktest.Held(time.Second), txlock.ErrHeld},
		"aborted":         {txlocktest.Aborted(), txlock.ErrTxAborted},
		"busy":            {txlocktest.Busy(), txlock.ErrBusy},
		"connection gone": {txlocktest.ConnectionGone(), txlock.ErrTxAborted},
		"not migrated":    {txlocktest.NotMigrated(), txlock.ErrNotMigrated},
		"other":           {txlocktest.Fails(errOther), errOther},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, prepared bool) {
				check := func(t *testing.T, b *setup, err error) {
					t.Helper()
					if !errors.Is(err, c.want) {
						t.Errorf("got %v, want %v", err, c.want)
					}
					b.met()
				}
				t.Run("AcquireTx", func(t *testing.T) {
					b := newSetup(t, prepared)
					tx := b.begin()
					txlocktest.ExpectAcquireTx(b.mock, key, c.outcome)
					lease, err := b.locker.AcquireTx(t.Context(), tx, key)
					check(t, b, err)
					if c.want == nil && lease.Epoch() != 7 {
						t.Errorf("epoch %d, want 7", lease.Epoch())
					}
				})
				t.Run("LockTx", func(t *testing.T) {
					b := newSetup(t, prepared)
					tx := b.begin()
					txlocktest.ExpectLockTx(b.mock, key, c.outcome)
					check(t, b, b.locker.LockTx(t.Context(), tx, key))
				})
				t.Run("TryAcquire", func(t *testing.T) {
					b := newSetup(t, prepared, txlock.WithMaxAttempts(1))
					txlocktest.ExpectTryAcquire(b.mock, key, c.outcome)
					_, err := b.locker.TryAcquire(t.Context(), key)
					check(t, b, err)
				})
				t.Run("Do", func(t *testing.T) {
					b := newSetup(t, prepared, txlock.WithMaxAttempts(1))
					txlocktest.ExpectDo(b.mock, key, c.outcome, func() {
						b.mock.ExpectExec("UPDATE").WillReturnResult(sqlmock.NewResult(0, 1))
					})
					err := b.locker.Do(t.Context(), key, func(ctx context.Context, tx *sql.Tx) error {
						_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = 1")
						return err
					})
					check(t, b, err)
				})
			})
		})
	}
}

func TestLeaseOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		outcome txlocktest.LeaseOutcome
		want    error
	}{
		"ok":              {txlocktest.OK(), nil},
		"lost":            {txlocktest.Lost(), txlock.ErrLost},
		"aborted":         {txlocktest.Aborted(), txlock.ErrTxAborted},
		"busy":            {txlocktest.Busy(), txlock.ErrBusy},
		"connection gone": {txlocktest.ConnectionGone(), txlock.ErrTxAborted},
		"not migrated":    {txlocktest.NotMigrated(), txlock.ErrNotMigrated},
		"other":           {txlocktest.Fails(errOther), errOther},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, prepared bool) {
				for op, run := range map[string]func(b *setup, le *txlock.Lease) error{
					"RenewTx": func(b *setup, le *txlock.Lease) error {
						tx := b.begin()
						txlocktest.ExpectRenewTx(b.mock, key, c.outcome)
						return le.RenewTx(b.Context(), tx)
					},
					"VerifyTx": func(b *setup, le *txlock.Lease) error {
						tx := b.begin()
						txlocktest.ExpectVerifyTx(b.mock, key, c.outcome)
						return le.VerifyTx(b.Context(), tx)
					},
					"ReleaseTx": func(b *setup, le *txlock.Lease) error {
						tx := b.begin()
						txlocktest.ExpectReleaseTx(b.mock, key, c.outcome)
						return le.ReleaseTx(b.Context(), tx)
					},
					"Renew": func(b *setup, le *txlock.Lease) error {
						txlocktest.ExpectRenew(b.mock, key, c.outcome)
						return le.Renew(b.Context())
					},
					"Release": func(b *setup, le *txlock.Lease) error {
						txlocktest.ExpectRelease(b.mock, key, c.outcome)
						return le.Release(b.Context())
					},
					"InTx": func(b *setup, le *txlock.Lease) error {
						txlocktest.ExpectInTx(b.mock, key, c.outcome, nil)
						return le.InTx(b.Context(), func(context.Context, *sql.Tx) error { return nil })
					},
				} {
					t.Run(op, func(t *testing.T) {
						b := newSetup(t, prepared, txlock.WithMaxAttempts(1))
						if err := run(b, b.lease()); !errors.Is(err, c.want) {
							t.Errorf("got %v, want %v", err, c.want)
						}
						b.met()
					})
				}
				t.Run("VerifyTx on a multi-writer cluster", func(t *testing.T) {
					b := newSetup(t, prepared, txlock.WithMultiWriter())
					le, tx := b.lease(), b.begin()
					txlocktest.ExpectVerifyTx(b.mock, key, c.outcome, txlocktest.MultiWriter())
					if err := le.VerifyTx(t.Context(), tx); !errors.Is(err, c.want) {
						t.Errorf("got %v, want %v", err, c.want)
					}
					b.met()
				})
			})
		})
	}
}

func TestFailureOfTheCodeUnderTest(t *testing.T) {
	b := newSetup(t, false)
	b.mock.ExpectBegin()
	txlocktest.ExpectLockTx(b.mock, key, txlocktest.Granted(1))
	b.mock.ExpectExec("UPDATE accounts").WillReturnError(txlocktest.Aborted().Err())
	b.mock.ExpectRollback()
	txlocktest.ExpectDo(b.mock, key, txlocktest.Granted(1), func() {
		b.mock.ExpectExec("UPDATE accounts").WillReturnResult(sqlmock.NewResult(0, 1))
	})
	if err := b.locker.Do(t.Context(), key, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = 1")
		return err
	}); err != nil {
		t.Error(err)
	}
	b.met()
}

func TestCommitOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		failure txlocktest.Failure
		want    error
	}{
		"aborted":         {txlocktest.Aborted(), txlock.ErrTxAborted},
		"connection gone": {txlocktest.ConnectionGone(), txlock.ErrCommitUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSetup(t, false, txlock.WithMaxAttempts(1))
			b.mock.ExpectBegin()
			txlocktest.ExpectAcquireTx(b.mock, key, txlocktest.Granted(7))
			txlocktest.ExpectCommit(b.mock, c.failure)
			if _, err := b.locker.TryAcquire(t.Context(), key); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			b.met()
		})
	}
}

// What is done must be what was expected: another key, or a lease in place of a
// lock, fails the test that uses this package.
func TestMismatchIsSeen(t *testing.T) {
	for name, expect := range map[string]func(mock sqlmock.Sqlmock){
		"other key":             func(mock sqlmock.Sqlmock) { txlocktest.ExpectLockTx(mock, "other", txlocktest.Granted(1)) },
		"key that starts alike": func(mock sqlmock.Sqlmock) { txlocktest.ExpectLockTx(mock, key+" ", txlocktest.Granted(1)) },
		"lease for lock":        func(mock sqlmock.Sqlmock) { txlocktest.ExpectAcquireTx(mock, key, txlocktest.Granted(1)) },
		"release for lock":      func(mock sqlmock.Sqlmock) { txlocktest.ExpectReleaseTx(mock, key, txlocktest.OK()) },
		"nothing":               func(sqlmock.Sqlmock) {},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, prepared bool) {
				b := newSetup(t, prepared)
				tx := b.begin()
				expect(b.mock)
				if err := b.locker.LockTx(t.Context(), tx, key); err == nil {
					t.Error("the mock took what was not expected")
				}
			})
		})
	}
}

func TestGrantedNeedsAnEpoch(t *testing.T) {
	b := newSetup(t, false)
	tx := b.begin()
	txlocktest.ExpectLockTx(b.mock, key, txlocktest.Granted(0))
	if err := b.locker.LockTx(t.Context(), tx, key); err == nil || !strings.Contains(err.Error(), "txlocktest: Granted(0)") {
		t.Errorf("got %v", err)
	}
}

func TestHeldForLessThanAMicrosecond(t *testing.T) {
	b := newSetup(t, false)
	tx := b.begin()
	txlocktest.ExpectLockTx(b.mock, key, txlocktest.Held(0))
	var held *txlock.HeldError
	if err := b.locker.LockTx(t.Context(), tx, key); !errors.As(err, &held) || held.RetryAfter != time.Microsecond {
		t.Errorf("got %v", err)
	}
}

func TestQueryMatcherLeavesTheRestToTheOther(t *testing.T) {
	matcher := txlocktest.QueryMatcher(sqlmock.QueryMatcherEqual)
	if err := matcher.Match("^UPDATE", "UPDATE accounts"); err == nil {
		t.Error("a test's own expectation was taken for a pattern")
	}
	if err := matcher.Match("^-- name: AcquireLock :", "-- name: ReleaseLock :execrows UPDATE"); err == nil {
		t.Error("one statement was taken for another")
	}
}

func TestQueryMatcherBesideAnother(t *testing.T) {
	db, mock, err := sqlmock.New(sqlmock.QueryMatcherOption(txlocktest.QueryMatcher(sqlmock.QueryMatcherEqual)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	locker, err := txlock.New(db, txlock.WithSingleWriter())
	if err != nil {
		t.Fatal(err)
	}
	txlocktest.ExpectPrepare(mock)
	txlocktest.ExpectDo(mock, key, txlocktest.Granted(1), func() {
		mock.ExpectExec("UPDATE a SET b = (b + 1)").WillReturnResult(sqlmock.NewResult(0, 1))
	})
	if err := locker.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = locker.Do(t.Context(), key, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE a SET b = (b + 1)")
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := mock.ExpectationsWereMet(); err != nil {
		t.Error(err)
	}
}
