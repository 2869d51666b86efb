package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
	"github.com/gox-helix/gox-helix/txlock"
)

// extendable writes the row of a lease of the key that is kept alive, and has
// expired by its row; it returns the lease's id.
func (l *live) extendable(epoch int64) int64 {
	l.Helper()
	id := 1 + rand.Int64N(1<<62)
	l.exec(`REPLACE INTO helix_locks (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
		VALUES (?, 'holder', ?, ?, 1, UTC_TIMESTAMP() - INTERVAL 1 MINUTE, UTC_TIMESTAMP(), UTC_TIMESTAMP(), UTC_TIMESTAMP())`, l.key, epoch, -id)
	return id
}

func (l *live) extension(id int64, expires string) {
	l.Helper()
	l.exec(`INSERT INTO helix_lock_extensions (lease_id, expires_at) VALUES (?, UTC_TIMESTAMP() + INTERVAL `+expires+`)`, id)
}

// taker acquires the key in one of the ways there are, and returns its epoch if it
// is told that.
type taker func(ctx context.Context, tx *sql.Tx, key string) error

// takers returns them for a key that has a row.
func (l *live) takers() map[string]taker {
	l.Helper()
	nothing := func(context.Context, *sql.Tx) error { return nil }
	knowing := l.locker(l.db)
	for range 2 {
		l.must(knowing.Do(l.Context(), l.key, nothing))
	}
	fresh := func() *txlock.Locker { return l.locker(l.db) }
	acquire := func(locker func() *txlock.Locker, opts ...txlock.AcquireOption) taker {
		return func(ctx context.Context, tx *sql.Tx, key string) error {
			_, err := locker().AcquireTx(ctx, tx, key, opts...)
			return err
		}
	}
	many := func(opts ...txlock.AcquireOption) taker {
		return func(ctx context.Context, tx *sql.Tx, key string) error {
			_, err := fresh().AcquireManyTx(ctx, tx, []string{key + "/a", key, key + "/z"}, opts...)
			return err
		}
	}
	known := func() *txlock.Locker { return knowing }
	return map[string]taker{
		"AcquireTx":              acquire(fresh),
		"AcquireTx, known":       acquire(known),
		"AcquireTx, no wait":     acquire(fresh, txlock.NoWait()),
		"AcquireManyTx":          many(),
		"AcquireManyTx, no wait": many(txlock.NoWait()),
		"LockTx":                 func(ctx context.Context, tx *sql.Tx, key string) error { return fresh().LockTx(ctx, tx, key) },
		"LockTx, known":          func(ctx context.Context, tx *sql.Tx, key string) error { return knowing.LockTx(ctx, tx, key) },
		"LockTx, known, no wait": func(ctx context.Context, tx *sql.Tx, key string) error {
			return knowing.LockTx(ctx, tx, key, txlock.NoWait())
		},
	}
}

// A lease that has expired by its row, and may have been extended, is held as long
// as its extension lasts, and else free.
func TestExtendedLease(t *testing.T) {
	for name, c := range map[string]struct {
		extend func(l *live, id int64)
		held   bool
	}{
		"not extended":               {func(*live, int64) {}, false},
		"extension has expired":      {func(l *live, id int64) { l.extension(id, "-1 SECOND") }, false},
		"another's extension":        {func(l *live, id int64) { l.extension(id+1, "1 HOUR"); l.extension(-id, "1 HOUR") }, false},
		"extended":                   {func(l *live, id int64) { l.extension(id, "1 HOUR") }, true},
		"extended, and not kept any": {func(l *live, id int64) { l.extension(id, "1 HOUR"); l.unmark() }, false},
	} {
		for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
			t.Run(name+"/"+strings.ReplaceAll(level.String(), " ", ""), func(t *testing.T) {
				onServers(t, func(l *live) {
					for how, take := range l.takers() {
						for round := range 2 { // the second time with what the first has left
							id := l.extendable(5)
							c.extend(l, id)
							before := l.row()
							tx := l.begin(&sql.TxOptions{Isolation: level})
							err := take(l.Context(), tx, l.key)
							if c.held {
								var held *txlock.HeldError
								if !errors.As(err, &held) || held.Key != l.key || held.RetryAfter > time.Hour || held.RetryAfter < 55*time.Minute {
									l.Fatalf("%s: got %v", how, err)
								}
								l.bump(tx)
								l.must(tx.Commit())
								if r := l.row(); r != before {
									l.Fatalf("%s: changed: %+v, was %+v", how, r, before)
								}
								l.exec(`UPDATE helix_lock_extensions SET expires_at = UTC_TIMESTAMP() WHERE lease_id = ?`, id)
								tx = l.begin(&sql.TxOptions{Isolation: level})
								err = take(l.Context(), tx, l.key)
							}
							if err != nil {
								l.Fatalf("%s, round %d: %v", how, round, err)
							}
							l.must(tx.Commit())
							if r := l.row(); r.epoch != 6 || r.owner == "holder" || r.lease == -id {
								l.Fatalf("%s: not taken over: %+v", how, r)
							}
							l.exec(`UPDATE helix_locks SET status = 0 WHERE lock_key LIKE CONCAT(?, '%')`, l.key)
						}
					}
				})
			})
		}
	}
}

// unmark writes that the lease cannot be extended.
func (l *live) unmark() {
	l.Helper()
	l.exec(`UPDATE helix_locks SET lease_id = ABS(lease_id) WHERE lock_key = ?`, l.key)
}

// extend extends a lease as the heartbeat does while the row is locked, and says if
// it stands.
func (l *live) extend(ctx context.Context, tx *sql.Tx, id int64) (bool, error) {
	batch := lockdb.Batch([]lockdb.Entry{{Key: l.key, LeaseID: id}})
	q := lockdb.New(tx)
	if err := q.ExtendLease(ctx, lockdb.ExtendLeaseParams{LeaseID: max(id, -id), TtlMicros: time.Hour.Microseconds()}); err != nil {
		return false, err
	}
	rows, err := q.StandingLeases(ctx, batch)
	return len(rows) == 1, err
}

// Whoever comes first, an extension or a takeover: the other one waits for it, and
// then sees it.
func TestExtensionBeforeTakeover(t *testing.T) {
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		t.Run(strings.ReplaceAll(level.String(), " ", ""), func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				for how, take := range l.takers() {
					for _, fresh := range []bool{true, false} {
						id := l.extendable(5)
						if !fresh {
							l.extension(id, "-1 SECOND")
						}
						extender, tx := l.begin(), l.begin(&sql.TxOptions{Isolation: level})
						stands, err := l.extend(ctx, extender, id)
						l.must(err)
						if !stands {
							l.Fatalf("%s: lost to nobody", how)
						}
						err = l.waits(func() error { return take(ctx, tx, l.key) }, func() { l.must(extender.Commit()) })
						var held *txlock.HeldError
						if !errors.As(err, &held) || held.RetryAfter < 55*time.Minute {
							l.Fatalf("%s: got %v", how, err)
						}
						l.must(tx.Commit())
					}
				}
			})
		})
	}
}

func TestTakeoverBeforeExtension(t *testing.T) {
	for _, commit := range []bool{true, false} {
		for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
			t.Run(fmt.Sprintf("commit=%t/%s", commit, strings.ReplaceAll(level.String(), " ", "")), func(t *testing.T) {
				onServers(t, func(l *live) {
					ctx := l.Context()
					for how, take := range l.takers() {
						for _, fresh := range []bool{true, false} {
							id := l.extendable(5)
							if !fresh {
								l.extension(id, "-1 SECOND")
							}
							tx, extender := l.begin(&sql.TxOptions{Isolation: level}), l.begin()
							l.must(take(ctx, tx, l.key))
							var stands bool
							l.must(l.waits(func() (err error) {
								stands, err = l.extend(ctx, extender, id)
								return err
							}, func() {
								if commit {
									l.must(tx.Commit())
								} else {
									l.must(tx.Rollback())
								}
							}))
							l.must(extender.Commit())
							if stands == commit {
								l.Fatalf("%s: stands: %t", how, stands)
							}
							l.exec(`UPDATE helix_locks SET status = 0 WHERE lock_key LIKE CONCAT(?, '%')`, l.key)
						}
					}
				})
			})
		}
	}
}

// However they meet, never do both succeed.
func TestExtensionAndTakeoverAtOnce(t *testing.T) {
	const rounds = 25
	onServers(t, func(l *live) {
		ctx := l.Context()
		levels := []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
		extended, taken := 0, 0
		for how, take := range l.takers() {
			for round := range rounds {
				id := l.extendable(5)
				if round%2 == 0 {
					l.extension(id, "-1 SECOND")
				}
				var stands, took bool
				var wg sync.WaitGroup
				start := make(chan struct{})
				wg.Go(func() {
					<-start
					stands = l.inOne(nil, func(tx *sql.Tx) (bool, error) { return l.extend(ctx, tx, id) })
				})
				wg.Go(func() {
					<-start
					took = l.inOne(&sql.TxOptions{Isolation: levels[round%3]}, func(tx *sql.Tx) (bool, error) {
						err := take(ctx, tx, l.key)
						if errors.Is(err, txlock.ErrHeld) || errors.Is(err, txlock.ErrBusy) {
							return false, nil
						}
						return err == nil, err
					})
				})
				close(start)
				wg.Wait()
				switch {
				case stands && took:
					l.Fatalf("%s: both succeed", how)
				case stands:
					extended++
				case took:
					taken++
				}
				l.exec(`UPDATE helix_locks SET status = 0 WHERE lock_key LIKE CONCAT(?, '%')`, l.key)
			}
		}
		l.Logf("%d extended, %d taken over", extended, taken)
		if extended+taken == 0 {
			l.Error("nobody ever succeeds")
		}
	})
}

// inOne runs work in a transaction and commits it, again where the server aborts it.
func (l *live) inOne(opts *sql.TxOptions, work func(tx *sql.Tx) (bool, error)) bool {
	for {
		tx, err := l.db.BeginTx(l.Context(), opts)
		if err != nil {
			l.Error(err)
			return false
		}
		ok, err := work(tx)
		if err == nil {
			if err = tx.Commit(); err == nil {
				return ok
			}
		}
		_ = tx.Rollback() // err says more
		if !txlock.IsRetryable(err) {
			l.Error(err)
			return false
		}
	}
}
