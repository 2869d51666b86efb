package txlocktest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

// Leases of two keys at once, in a transaction that the code under test begins.
func ExampleExpectAcquireManyTx() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	mock.ExpectBegin()
	txlocktest.ExpectAcquireManyTx(mock, []string{"account:7", "account:8"}, txlocktest.Granted(3))
	mock.ExpectCommit()

	ctx := context.Background()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	leases, err := locker.AcquireManyTx(ctx, tx, []string{"account:8", "account:7"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(leases[0].Key(), leases[0].Epoch(), tx.Commit())
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// account:8 3 <nil>
	// <nil>
}

func TestAcquireManyOutcomes(t *testing.T) {
	keys := make([]string, 2100)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%04d", len(keys)-i)
	}
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
		for _, n := range []int{1, 3, 1000, 2100} {
			for _, noWait := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/noWait=%t", name, n, noWait), func(t *testing.T) {
					b := newSetup(t, false)
					tx := b.begin()
					var opts []txlock.AcquireOption
					var expects []txlocktest.Option
					if noWait {
						opts, expects = append(opts, txlock.NoWait()), append(expects, txlocktest.NoWait())
					}
					txlocktest.ExpectAcquireManyTx(b.mock, keys[:n], c.outcome, expects...)
					leases, err := b.locker.AcquireManyTx(t.Context(), tx, keys[:n], opts...)
					if !errors.Is(err, c.want) {
						t.Fatalf("got %v, want %v", err, c.want)
					}
					var held *txlock.HeldError
					if errors.As(err, &held) && (held.Key != keys[0] || held.RetryAfter != time.Second) {
						t.Errorf("got %v", err)
					}
					for i, lease := range leases {
						if lease.Key() != keys[i] || lease.Epoch() != 7 {
							t.Fatalf("%q has epoch %d", lease.Key(), lease.Epoch())
						}
					}
					b.met()
				})
			}
		}
	}
}

func TestAcquireManyMismatchIsSeen(t *testing.T) {
	for name, keys := range map[string][]string{
		"none": nil, "fewer": {"ab"}, "more": {"ab", "c", "d"}, "others": {"ab", "d"}, "cut elsewhere": {"a", "bc"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSetup(t, false)
			tx := b.begin()
			txlocktest.ExpectAcquireManyTx(b.mock, keys, txlocktest.Granted(1))
			if _, err := b.locker.AcquireManyTx(t.Context(), tx, []string{"ab", "c"}); err == nil {
				t.Error("the mock took what was not expected")
			}
		})
	}
}
