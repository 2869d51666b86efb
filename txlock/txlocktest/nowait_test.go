package txlocktest_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

func TestNoWaitOutcomes(t *testing.T) {
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
				for form, run := range map[string]func(b *setup) error{
					"AcquireTx": func(b *setup) error {
						tx := b.begin()
						txlocktest.ExpectAcquireTx(b.mock, key, c.outcome, txlocktest.NoWait())
						_, err := b.locker.AcquireTx(b.Context(), tx, key, txlock.NoWait())
						return err
					},
					"LockTx": func(b *setup) error {
						tx := b.begin()
						txlocktest.ExpectLockTx(b.mock, key, c.outcome, txlocktest.NoWait())
						return b.locker.LockTx(b.Context(), tx, key, txlock.NoWait())
					},
					"TryAcquire": func(b *setup) error {
						txlocktest.ExpectTryAcquire(b.mock, key, c.outcome, txlocktest.NoWait())
						_, err := b.locker.TryAcquire(b.Context(), key, txlock.NoWait())
						return err
					},
					"Do": func(b *setup) error {
						txlocktest.ExpectDo(b.mock, key, c.outcome, nil, txlocktest.NoWait())
						return b.locker.Do(b.Context(), key, func(context.Context, *sql.Tx) error { return nil }, txlock.NoWait())
					},
				} {
					if prepared && strings.HasSuffix(form, "Tx") {
						continue // see NoWait
					}
					t.Run(form, func(t *testing.T) {
						b := newSetup(t, prepared, txlock.WithMaxAttempts(1))
						if err := run(b); !errors.Is(err, c.want) {
							t.Errorf("got %v, want %v", err, c.want)
						}
						b.met()
					})
				}
			})
		})
	}
}

// A transaction that is refused goes on, and one that the server aborts is run
// again, look and all.
func TestAfterNoWait(t *testing.T) {
	b := newSetup(t, false)
	tx := b.begin()
	txlocktest.ExpectLockTx(b.mock, key, txlocktest.Busy(), txlocktest.NoWait())
	txlocktest.ExpectLockTx(b.mock, "other", txlocktest.Granted(1))
	if err := b.locker.LockTx(t.Context(), tx, key, txlock.NoWait()); !errors.Is(err, txlock.ErrBusy) {
		t.Error(err)
	}
	if err := b.locker.LockTx(t.Context(), tx, "other"); err != nil {
		t.Error(err)
	}
	txlocktest.ExpectTryAcquire(b.mock, key, txlocktest.Aborted(), txlocktest.NoWait())
	txlocktest.ExpectTryAcquire(b.mock, key, txlocktest.Granted(1), txlocktest.NoWait())
	if _, err := b.locker.TryAcquire(t.Context(), key, txlock.NoWait()); err != nil {
		t.Error(err)
	}
	b.met()
}
