package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

// The deadline counts from the moment before the statement that succeeded, not
// from its answer, and not from an attempt that the server aborted.
func TestDeadlineCountsFromTheStatementThatSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMocked(t, txlock.WithTTL(time.Hour))
		const window, answer = 54 * time.Minute, 3 * time.Second
		m.mock.ExpectBegin()
		m.mock.ExpectExec("-- name: AcquireLease ").WillDelayFor(answer).WillReturnResult(sqlmock.NewResult(1, 1))
		m.mock.ExpectCommit()
		sent := time.Now()
		lease, err := m.TryAcquire(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if d := lease.Deadline().Sub(sent); d != window {
			t.Errorf("acquired until %v after the statement was sent, want %v", d, window)
		}

		txlocktest.ExpectRenew(m.mock, "k", txlocktest.Aborted()) // and again, after a pause
		m.mock.ExpectBegin()
		m.mock.ExpectExec("-- name: RenewLease ").WillDelayFor(answer).WillReturnResult(sqlmock.NewResult(0, 1))
		m.mock.ExpectCommit()
		time.Sleep(time.Minute)
		if err := lease.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		sent = time.Now().Add(-answer)
		if d := lease.Deadline().Sub(sent); d != window {
			t.Errorf("renewed until %v after the last statement was sent, want %v", d, window)
		}
	})
}

// What a statement waited for the row comes out of the lease: after more than half
// the TTL it is sent once more, and no third time.
func TestRenewedOnceMoreAfterALongWait(t *testing.T) {
	const ttl = time.Second
	for name, c := range map[string]struct {
		waited time.Duration
		again  bool
	}{"half the TTL": {ttl / 2, false}, "more than half": {ttl/2 + 1, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMocked(t, txlock.WithTTL(ttl))
				tx := m.begin()
				expect := func(statement string) {
					m.mock.ExpectExec("-- name: " + statement + " ").WillDelayFor(c.waited).WillReturnResult(sqlmock.NewResult(1, 1))
				}
				expect("AcquireLease")
				if c.again { // and this one takes as long
					expect("RenewLease")
					expect("RenewLease")
				}
				lease, err := m.AcquireTx(t.Context(), tx, "k")
				if err != nil {
					t.Fatal(err)
				}
				sent := time.Now().Add(-c.waited)
				if d := lease.Deadline().Sub(sent); d != ttl-ttl/10 {
					t.Errorf("the deadline is %v after the last statement was sent", d)
				}
				expect("RenewLease")
				if c.again {
					expect("RenewLease")
				}
				if err := lease.RenewTx(t.Context(), tx); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Only the caller knows whether its transaction commits.
func TestRenewTxLeavesTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMocked(t)
		lease := m.lease("k", 1)
		deadline := lease.Deadline()
		time.Sleep(time.Second)
		tx := m.begin()
		txlocktest.ExpectRenewTx(m.mock, "k", txlocktest.OK())
		m.mock.ExpectCommit()
		if err := errors.Join(lease.RenewTx(t.Context(), tx), tx.Commit()); err != nil {
			t.Fatal(err)
		}
		if d := lease.Deadline(); !d.Equal(deadline) {
			t.Errorf("moved by %v", d.Sub(deadline))
		}
	})
}

// The victims of a conflict pause before they come back: ever longer, up to half
// a second, however many attempts they have.
func TestPauseBetweenAttempts(t *testing.T) {
	const attempts, longest = 100, 500 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		m := newMocked(t, txlock.WithMaxAttempts(attempts))
		begun := make([]time.Time, 0, attempts)
		for range attempts {
			m.mock.ExpectBegin()
			txlocktest.ExpectLockTx(m.mock, "k", txlocktest.Granted(1))
			m.mock.ExpectRollback()
		}
		err := m.Do(t.Context(), "k", func(context.Context, *sql.Tx) error {
			begun = append(begun, time.Now())
			return errDeadlock
		})
		if !errors.Is(err, txlock.ErrTxAborted) || len(begun) != attempts {
			t.Fatalf("got %v after %d attempts", err, len(begun))
		}
		window, total := 5*time.Millisecond, begun[attempts-1].Sub(begun[0])
		for i := range attempts - 1 {
			if pause := begun[i+1].Sub(begun[i]); pause >= window {
				t.Errorf("paused for %v after attempt %d, want less than %v", pause, i+1, window)
			}
			window = min(2*window, longest)
		}
		if mean := total / attempts; mean < longest/4 { // of a half, on average
			t.Errorf("paused for %v on average", mean)
		}
	})
}
