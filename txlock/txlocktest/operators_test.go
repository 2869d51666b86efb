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

// A program that revokes what is held for too long, tested without a database.
func ExampleExpectRevoke() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	txlocktest.ExpectInspect(mock, "report:daily", txlocktest.Found(txlock.Info{
		Owner:         "worker-9",
		Epoch:         4,
		Status:        txlock.StatusActive,
		Remaining:     20 * time.Second,
		SinceAcquired: 3 * time.Hour,
	}))
	txlocktest.ExpectRevoke(mock, "report:daily", txlocktest.Done())

	ctx := context.Background()
	info, err := locker.Inspect(ctx, "report:daily")
	if err != nil {
		fmt.Println(err)
		return
	}
	if info.Held() && info.SinceAcquired > time.Hour {
		fmt.Println("revoking", info.Key, "of", info.Owner)
		fmt.Println(locker.Revoke(ctx, info.Key))
	}
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// revoking report:daily of worker-9
	// <nil>
	// <nil>
}

// A nightly job that retires what has expired, and purges.
func ExampleExpectPurge() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	expired := txlock.ListOptions{Prefix: "job:", Expired: true}
	txlocktest.ExpectList(mock, expired, txlocktest.Listed(txlock.Info{Key: "job:1", Status: txlock.StatusActive}))
	txlocktest.ExpectRetire(mock, "job:1", txlocktest.Done())
	txlocktest.ExpectPurge(mock, txlock.PurgeOptions{}, txlocktest.Purged(1))

	ctx := context.Background()
	for info, err := range locker.All(ctx, expired) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := locker.Retire(ctx, info.Key); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(locker.Purge(ctx, txlock.PurgeOptions{}))
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// 1 <nil>
	// <nil>
}

// failures are what every operation can come to.
var failures = map[string]struct {
	outcome txlocktest.Failure
	want    error
}{
	"aborted":         {txlocktest.Aborted(), txlock.ErrTxAborted},
	"busy":            {txlocktest.Busy(), txlock.ErrBusy},
	"connection gone": {txlocktest.ConnectionGone(), txlock.ErrTxAborted},
	"not migrated":    {txlocktest.NotMigrated(), txlock.ErrNotMigrated},
	"other":           {txlocktest.Fails(errOther), errOther},
}

func TestOperatorFailures(t *testing.T) {
	for name, c := range failures {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, prepared bool) {
				for op, run := range map[string]func(b *setup) error{
					"Inspect": func(b *setup) error {
						txlocktest.ExpectInspect(b.mock, key, c.outcome)
						_, err := b.locker.Inspect(b.Context(), key)
						return err
					},
					"List": func(b *setup) error {
						txlocktest.ExpectList(b.mock, txlock.ListOptions{}, c.outcome)
						_, err := b.locker.List(b.Context(), txlock.ListOptions{})
						return err
					},
					"Revoke": func(b *setup) error {
						txlocktest.ExpectRevoke(b.mock, key, c.outcome)
						return b.locker.Revoke(b.Context(), key)
					},
					"Retire": func(b *setup) error {
						txlocktest.ExpectRetire(b.mock, key, c.outcome)
						return b.locker.Retire(b.Context(), key)
					},
					"Purge": func(b *setup) error {
						txlocktest.ExpectPurge(b.mock, txlock.PurgeOptions{}, c.outcome)
						_, err := b.locker.Purge(b.Context(), txlock.PurgeOptions{})
						return err
					},
				} {
					t.Run(op, func(t *testing.T) {
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

func TestOperatorOutcomes(t *testing.T) {
	b := newSetup(t, false)
	ctx := t.Context()

	info := txlock.Info{Key: key, Owner: "o", Epoch: 7, Status: txlock.StatusActive, Remaining: 1, SinceAcquired: time.Second, SinceCreated: time.Hour, SinceUpdated: time.Minute}
	info.Remaining = 3 * time.Millisecond
	txlocktest.ExpectInspect(b.mock, key, txlocktest.Found(info))
	if got, err := b.locker.Inspect(ctx, key); err != nil || *got != info {
		t.Errorf("got %+v, %v", got, err)
	}
	txlocktest.ExpectInspect(b.mock, key, txlocktest.NotFound())
	if _, err := b.locker.Inspect(ctx, key); !errors.Is(err, txlock.ErrNotFound) {
		t.Errorf("got %v", err)
	}

	txlocktest.ExpectRevoke(b.mock, key, txlocktest.Done())
	txlocktest.ExpectRevoke(b.mock, key, txlocktest.NotFound())
	for range 2 {
		if err := b.locker.Revoke(ctx, key); err != nil {
			t.Error(err)
		}
	}

	txlocktest.ExpectRetire(b.mock, key, txlocktest.Done())
	txlocktest.ExpectRetire(b.mock, key, txlocktest.NotFound())
	for range 2 {
		if err := b.locker.Retire(ctx, key); err != nil {
			t.Error(err)
		}
	}
	txlocktest.ExpectRetire(b.mock, key, txlocktest.StillHeld(time.Minute))
	var held *txlock.HeldError
	if err := b.locker.Retire(ctx, key); !errors.As(err, &held) || held.RetryAfter != time.Minute {
		t.Errorf("got %v", err)
	}

	for _, size := range []int{0, 1, 7, 1000} {
		for _, rows := range []int{0, 1, 99, 100, 101, 1000, 1001} {
			if size == 1 && rows > 100 {
				continue
			}
			opts := txlock.PurgeOptions{BatchSize: size}
			txlocktest.ExpectPurge(b.mock, opts, txlocktest.Purged(rows))
			if n, err := b.locker.Purge(ctx, opts); err != nil || n != int64(rows) {
				t.Fatalf("%d rows in batches of %d: got %d, %v", rows, size, n, err)
			}
		}
	}
	txlocktest.ExpectPurge(b.mock, txlock.PurgeOptions{}, txlocktest.Purged(-1))
	if _, err := b.locker.Purge(ctx, txlock.PurgeOptions{}); err == nil {
		t.Error("fewer rows than none were purged")
	}
	b.met()
}

// Pages follow each other by the last key.
func TestListOutcomes(t *testing.T) {
	b := newSetup(t, false)
	opts := txlock.ListOptions{Prefix: "p", Limit: 2}
	next := opts
	next.After = "p2"
	txlocktest.ExpectList(b.mock, opts, txlocktest.Listed(txlock.Info{Key: "p1"}, txlock.Info{Key: "p2"}))
	txlocktest.ExpectList(b.mock, next, txlocktest.Listed())
	got := ""
	for info, err := range b.locker.All(t.Context(), opts) {
		if err != nil {
			t.Fatal(err)
		}
		got += info.Key
	}
	if got != "p1p2" {
		t.Errorf("got %s", got)
	}
	b.met()
}

// A list with other options than were expected fails the test that uses this
// package, and so does another operation, or key.
func TestOperatorMismatchIsSeen(t *testing.T) {
	for name, opts := range map[string]txlock.ListOptions{
		"prefix":   {Prefix: "q", Limit: 2},
		"after":    {Prefix: "p", Limit: 2, After: "p1"},
		"limit":    {Prefix: "p"},
		"expired":  {Prefix: "p", Limit: 2, Expired: true},
		"statuses": {Prefix: "p", Limit: 2, Statuses: []txlock.Status{txlock.StatusActive}},
		"invalid":  {Limit: -1},
	} {
		b := newSetup(t, false)
		txlocktest.ExpectList(b.mock, opts, txlocktest.Listed())
		if _, err := b.locker.List(t.Context(), txlock.ListOptions{Prefix: "p", Limit: 2}); err == nil {
			t.Errorf("%s: the mock took what was not expected", name)
		}
	}
	b := newSetup(t, false)
	txlocktest.ExpectRevoke(b.mock, "other", txlocktest.Done())
	if err := b.locker.Revoke(t.Context(), key); err == nil {
		t.Error("another key was revoked")
	}
	b = newSetup(t, false)
	txlocktest.ExpectRevoke(b.mock, key, txlocktest.Done())
	if err := b.locker.Retire(t.Context(), key); err == nil {
		t.Error("a key was retired that was to be revoked")
	}
	b = newSetup(t, false)
	txlocktest.ExpectInspect(b.mock, "other", txlocktest.NotFound())
	if _, err := b.locker.Inspect(t.Context(), key); err == nil || errors.Is(err, txlock.ErrNotFound) {
		t.Error("another key was inspected")
	}
}
