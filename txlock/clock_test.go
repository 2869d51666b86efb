package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
	"github.com/gox-helix/gox-helix/txlock"
)

// ways are the three statements by which a lease begins or goes on, each as a
// lease of that TTL that it has just set.
var ways = map[string]func(l *live, db *sql.DB, ttl time.Duration) *txlock.Lease{
	"fresh key": func(l *live, db *sql.DB, ttl time.Duration) *txlock.Lease {
		l.exec(`DELETE FROM helix_locks WHERE lock_key = ?`, l.key)
		return l.try(l.locker(db, txlock.WithTTL(ttl)))
	},
	"key that is there": func(l *live, db *sql.DB, ttl time.Duration) *txlock.Lease {
		l.must(l.try(l.locker(db)).Release(l.Context()))
		return l.try(l.locker(db), txlock.TTL(ttl))
	},
	"known key": func(l *live, db *sql.DB, ttl time.Duration) *txlock.Lease {
		return l.try(l.knowing(db), txlock.TTL(ttl))
	},
	"renewal": func(l *live, db *sql.DB, ttl time.Duration) *txlock.Lease {
		lease := l.try(l.locker(db, txlock.WithTTL(ttl)))
		l.expire()
		l.must(lease.Renew(l.Context()))
		return lease
	},
}

// knowing is a further Locker that knows the key's row to be there.
func (l *live) knowing(db *sql.DB) *txlock.Locker {
	l.Helper()
	locker := l.locker(db)
	for range 3 {
		l.must(locker.Do(l.Context(), l.key, func(context.Context, *sql.Tx) error { return nil }))
	}
	return locker
}

// Promise 4: the clock is the server's, in UTC whatever the session's time zone,
// and a lease lasts for its TTL to the microsecond.
func TestTheClockIsTheServers(t *testing.T) {
	const ttl = 90*time.Minute + 123457*time.Microsecond
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				db := l.open("time_zone", "'-09:30'")
				lease := way(l, db, ttl)
				var lasts, age, fraction int64
				l.must(l.db.QueryRowContext(l.Context(), `
					SELECT TIMESTAMPDIFF(MICROSECOND, updated_at, expires_at), TIMESTAMPDIFF(SECOND, updated_at, UTC_TIMESTAMP()), MICROSECOND(updated_at)
					FROM helix_locks WHERE lock_key = ?`, l.key).Scan(&lasts, &age, &fraction))
				if lasts != ttl.Microseconds() {
					l.Errorf("lasts %dµs, want %d", lasts, ttl.Microseconds())
				}
				if age < 0 || age > 600 {
					l.Errorf("is %d s old already", age)
				}
				if fraction == 0 { // one time in a million
					l.Error("has no microseconds")
				}
				for who, locker := range map[string]*txlock.Locker{"unaware": l.locker(db), "knowing": nil} {
					if locker == nil {
						l.must(lease.Release(l.Context()))
						locker = l.knowing(db)
						l.try(l.locker(db), txlock.TTL(ttl))
					}
					_, err := locker.TryAcquire(l.Context(), l.key)
					var held *txlock.HeldError
					if !errors.As(err, &held) || held.RetryAfter > ttl || held.RetryAfter < ttl-10*time.Minute {
						l.Errorf("%s: got %v", who, err)
					}
				}
			})
		})
	}
}

// At a time that stands still: a lease is over at its expiry and not a
// microsecond before, and a refusal says how long exactly.
func TestExpiryToTheMicrosecond(t *testing.T) {
	for name, known := range map[string]bool{"unaware": false, "knowing": true} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				knowing := l.knowing(l.db)
				for expires, want := range map[string]time.Duration{
					"2023-11-14 22:13:20.000000": 0, // 1700000000 in UTC
					"2023-11-14 22:13:20.000001": time.Microsecond,
					"2023-11-14 23:13:20.999999": time.Hour + 999999*time.Microsecond,
				} {
					locker := knowing
					if !known {
						locker = l.locker(l.db)
					}
					l.exec(`UPDATE helix_locks SET status = 1, owner_id = 'another', expires_at = ? WHERE lock_key = ?`, expires, l.key)
					tx := l.begin()
					_, err := tx.ExecContext(ctx, `SET timestamp = 1700000000`)
					l.must(err)
					_, err = locker.AcquireTx(ctx, tx, l.key)
					var held *txlock.HeldError
					switch {
					case want == 0:
						l.must(err)
					case !errors.As(err, &held) || held.RetryAfter != want:
						l.Errorf("%s: got %v, want %v", expires, err, want)
					}
					_, err = tx.ExecContext(ctx, `SET timestamp = DEFAULT`)
					l.must(err)
					l.must(tx.Rollback())
				}
			})
		})
	}
}

// When time stands still, a renewal changes nothing but when the row was touched,
// and neither it nor a release must be taken for one that found no row.
func TestRenewalAtOneInstant(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		tx := l.begin()
		_, err := tx.ExecContext(ctx, `SET timestamp = 1700000000`)
		l.must(err)
		lease, err := l.AcquireTx(ctx, tx, l.key)
		l.must(err)
		for range 3 {
			l.must(lease.RenewTx(ctx, tx))
		}
		l.must(lease.ReleaseTx(ctx, tx))
		if err := lease.ReleaseTx(ctx, tx); !errors.Is(err, txlock.ErrLost) {
			l.Errorf("released again: %v", err)
		}
		_, err = tx.ExecContext(ctx, `SET timestamp = DEFAULT`)
		l.must(err)
	})
}

// A lock, and a release, leave the key free: also where an expired lease was.
func TestFreeAfterwards(t *testing.T) {
	for name, known := range map[string]bool{"unaware": false, "knowing": true} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				free := func(what string) {
					l.Helper()
					if r := l.row(); r.status != lockdb.StatusInactive {
						l.Errorf("%s leaves status %d", what, r.status)
					}
					l.must(l.try(l.locker(l.db)).Release(l.Context()))
				}
				locker := l.knowing(l.db)
				if !known {
					locker = l.locker(l.db)
				}
				lease := l.try(l.locker(l.db))
				l.expire()
				l.must(locker.Do(l.Context(), l.key, func(context.Context, *sql.Tx) error { return nil }))
				free("a lock in place of an expired lease")
				l.wants(lease.Renew(l.Context()), txlock.ErrLost)
				l.must(l.try(locker).Release(l.Context()))
				free("a release")
			})
		})
	}
}
