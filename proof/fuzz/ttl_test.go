package fuzz_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// FuzzTTL: a valid time to live is what the row has, to the microsecond, and what the
// deadline is counted from; any other is refused before anything is sent.
func FuzzTTL(f *testing.F) {
	for _, ttl := range []time.Duration{
		math.MinInt64, -hour, -1, 0, 1, time.Microsecond, time.Millisecond - 1, time.Millisecond, time.Millisecond + 999,
		time.Second - 1, 30 * time.Second, 35*time.Minute + 47*time.Second + 483_647*time.Microsecond, // 2^31 microseconds
		366 * 24 * hour, 366*24*hour + 1, 366*24*hour + time.Microsecond, math.MaxInt64,
	} {
		for _, kind := range []uint8{0, 3, 9} {
			f.Add(int64(ttl), kind)
		}
	}
	pools := make(map[string][]session)
	for _, s := range servertest.All(f) {
		pools[string(s.Engine)] = sessions(f, s)
	}
	f.Fuzz(func(t *testing.T, nanos int64, kind uint8) {
		ttl := time.Duration(nanos)
		for _, engine := range sortedKeys(pools) {
			all := pools[engine]
			s := all[int(kind)%len(all)]
			refused := !isTTL(ttl)

			before := s.sent.Load()
			other, err := txlock.New(s.db, txlock.WithTTL(ttl))
			if refused != isInvalid(err, txlock.ErrInvalidTTL) || refused != (err != nil) {
				t.Fatalf("WithTTL(%d): got %v", nanos, err)
			}
			l, err := txlock.New(s.db)
			must(t, err)
			if sent := s.sent.Load() - before; sent != 0 {
				t.Fatalf("New has sent %d statements", sent)
			}
			if refused {
				refusesTTL(t, l, s, ttl)
				continue
			}
			lasts(t, l, s, ttl, kind, txlock.TTL(ttl))
			lasts(t, other, s, ttl, kind+8)
		}
	})
}

// isTTL says what a time to live may be: from a millisecond to a leap year.
func isTTL(ttl time.Duration) bool { return ttl >= 1_000_000 && ttl <= 366*24*3600*1_000_000_000 }

func refusesTTL(t *testing.T, l *txlock.Locker, s session, ttl time.Duration) {
	t.Helper()
	key, opt := "key", txlock.TTL(ttl)
	// Some of them would wait, with a time to live that they take for a good one.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	tx := begin(t, s.db)
	before := s.sent.Load()
	_, one := l.AcquireTx(ctx, tx, key, opt)
	_, many := l.AcquireManyTx(ctx, tx, []string{key}, opt)
	_, try := l.TryAcquire(ctx, key, opt)
	_, wait := l.Acquire(ctx, key, opt)
	run := l.Run(ctx, key, nil, opt)
	for i, err := range []error{one, many, try, wait, run} {
		if !isInvalid(err, txlock.ErrInvalidTTL) {
			t.Fatalf("call %d with TTL(%d): got %v", i, ttl, err)
		}
	}
	// A lock has none, be it a good one.
	for _, opt := range []txlock.AcquireOption{opt, txlock.TTL(hour), txlock.Reclaim()} {
		if err := l.LockTx(ctx, tx, key, opt); !isInvalid(err, txlock.ErrInvalidArgument) {
			t.Fatalf("LockTx: got %v", err)
		}
		if err := l.Do(ctx, key, nil, opt); !isInvalid(err, txlock.ErrInvalidArgument) {
			t.Fatalf("Do: got %v", err)
		}
	}
	if sent := s.sent.Load() - before; sent != 0 {
		t.Fatalf("%s: %d statements were sent with TTL(%d)", s.name, sent, ttl)
	}
	must(t, tx.Rollback())
}

// lasts acquires, and compares the expiry with what was asked for; once more for a
// renewal. All in one transaction, as a short lease is over at once.
func lasts(t *testing.T, l *txlock.Locker, s session, ttl time.Duration, kind uint8, opts ...txlock.AcquireOption) {
	t.Helper()
	ctx, key := t.Context(), "key"
	tx := begin(t, s.db)
	if kind%2 == 0 { // a row that is there
		must(t, l.LockTx(ctx, tx, key))
	}
	before := time.Now()
	var lease *txlock.Lease
	if kind%3 == 0 {
		leases, err := l.AcquireManyTx(ctx, tx, []string{"another", key}, opts...)
		must(t, err)
		lease = leases[1]
	} else {
		var err error
		lease, err = l.AcquireTx(ctx, tx, key, opts...)
		must(t, err)
	}
	after := time.Now()
	if d, trust := lease.Deadline(), ttl-ttl/10; d.Before(before.Add(trust)) || d.After(after.Add(trust)) {
		t.Fatalf("%s: TTL(%d): the deadline is %v after the call began", s.name, ttl, d.Sub(before))
	}
	var micros, again int64
	const lifetime = `SELECT TIMESTAMPDIFF(MICROSECOND, acquired_at, expires_at), TIMESTAMPDIFF(MICROSECOND, updated_at, expires_at) FROM helix_locks WHERE lock_key = ?`
	must(t, tx.QueryRowContext(ctx, lifetime, key).Scan(&micros, &again))
	// Slow is who sends a statement twice: see RenewTx.
	if want := ttl.Microseconds(); after.Sub(before) < ttl/2 && micros != want {
		t.Fatalf("%s: TTL(%d) is %d microseconds in the row", s.name, ttl, micros)
	}
	_, err := tx.ExecContext(ctx, `UPDATE helix_locks SET expires_at = acquired_at, updated_at = acquired_at WHERE lock_key = ?`, key)
	must(t, err)
	must(t, lease.RenewTx(ctx, tx))
	must(t, tx.QueryRowContext(ctx, lifetime, key).Scan(&micros, &again))
	// updated_at is of the same statement, or a microsecond later than the last one.
	if want := ttl.Microseconds(); again != want {
		t.Fatalf("%s: TTL(%d) is %d microseconds in the row after a renewal", s.name, ttl, again)
	}
	must(t, tx.Rollback())
}
