package txlocktest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

// A worker waits for a key that another holds, and then gets it.
func ExampleExpectAcquire() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	txlocktest.ExpectAcquire(mock, "report:daily", txlocktest.Held(3*time.Second)) // asks again before that is over
	txlocktest.ExpectAcquire(mock, "report:daily", txlocktest.Granted(8))

	lease, err := locker.Acquire(context.Background(), "report:daily")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lease.Epoch())
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// 8
	// <nil>
}

// A job under a lease.
func ExampleExpectRun() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	txlocktest.ExpectRun(mock, "report:daily", txlocktest.Granted(8), func() {
		txlocktest.ExpectInTx(mock, "report:daily", txlocktest.OK(), nil)
	})

	err := locker.Run(context.Background(), "report:daily", func(ctx context.Context, lease *txlock.Lease) error {
		return lease.InTx(ctx, func(context.Context, *sql.Tx) error { return nil })
	})
	fmt.Println(err)
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// <nil>
	// <nil>
}

func TestWaitingOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		outcome txlocktest.AcquireOutcome
		want    error
		again   bool
	}{
		"granted":         {txlocktest.Granted(7), nil, false},
		"held":            {txlocktest.Held(time.Hour), nil, true},
		"held no longer":  {txlocktest.Held(time.Microsecond), nil, true},
		"busy":            {txlocktest.Busy(), nil, true},
		"aborted":         {txlocktest.Aborted(), nil, true},
		"connection gone": {txlocktest.ConnectionGone(), nil, true},
		"not migrated":    {txlocktest.NotMigrated(), txlock.ErrNotMigrated, false},
		"other":           {txlocktest.Fails(errOther), errOther, false},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, prepared bool) {
				b := newSetup(t, prepared)
				want := int64(7)
				txlocktest.ExpectAcquire(b.mock, key, c.outcome)
				if c.again {
					txlocktest.ExpectAcquire(b.mock, key, txlocktest.Granted(7))
				}
				lease, err := b.locker.Acquire(t.Context(), key)
				if !errors.Is(err, c.want) || c.want == nil && lease.Epoch() != want {
					t.Errorf("got %v, want %v", err, c.want)
				}
				b.met()
			})
		})
	}
}

// What is expected of one acquisition does not hang on those before it.
func TestRunTwice(t *testing.T) {
	for _, noWait := range []bool{false, true} {
		t.Run(fmt.Sprintf("noWait=%t", noWait), func(t *testing.T) {
			b := newSetup(t, false)
			var opts []txlock.AcquireOption
			var expects []txlocktest.Option
			if noWait {
				opts, expects = append(opts, txlock.NoWait()), append(expects, txlocktest.NoWait())
			}
			for epoch := range int64(3) {
				txlocktest.ExpectRun(b.mock, key, txlocktest.Granted(1+epoch), nil, expects...)
				if err := b.locker.Run(t.Context(), key, func(_ context.Context, lease *txlock.Lease) error {
					if lease.Epoch() != 1+epoch {
						t.Errorf("epoch %d", lease.Epoch())
					}
					return nil
				}, opts...); err != nil {
					t.Error(err)
				}
				b.met()
			}
		})
	}
}

func TestRunIsNotGranted(t *testing.T) {
	b := newSetup(t, false)
	for outcome, want := range map[txlocktest.AcquireOutcome]error{
		txlocktest.Held(time.Hour): txlock.ErrHeld,
		txlocktest.Busy():          txlock.ErrBusy,
	} {
		txlocktest.ExpectRun(b.mock, key, outcome, nil, txlocktest.NoWait())
		if err := b.locker.Run(t.Context(), key, func(context.Context, *txlock.Lease) error { return nil }, txlock.NoWait()); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		b.met()
	}
}
