package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/lockdb"
	"github.com/gox-helix/gox-helix/txlock"
)

// keys are so many of the test's own, not in the order of their bytes.
func (l *live) keys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s/%04d", l.key, i)
	}
	rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys
}

// many acquires keys in a transaction of its own.
func (l *live) many(locker *txlock.Locker, keys []string, opts ...txlock.AcquireOption) []*txlock.Lease {
	l.Helper()
	tx := l.begin()
	leases, err := locker.AcquireManyTx(l.Context(), tx, keys, opts...)
	l.must(err)
	l.must(tx.Commit())
	return leases
}

// under counts the rows, as committed, of the test's keys that are in this status.
func (l *live) under(status int) (n int) {
	l.Helper()
	l.must(l.db.QueryRowContext(l.Context(), `SELECT COUNT(*) FROM helix_locks WHERE lock_key LIKE CONCAT(?, '%') AND status = ?`, l.key, status).Scan(&n))
	return n
}

func TestAcquireMany(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		keys := l.keys(2500)
		before := time.Now()
		leases := l.many(l.Locker, keys, txlock.TTL(long))
		ids := make(map[int64]bool)
		for i, lease := range leases {
			if lease.Key() != keys[i] || lease.Epoch() != 1 || lease.Owner() != l.Owner() {
				l.Fatalf("number %d: key %q, epoch %d, owner %q; want key %q", i, lease.Key(), lease.Epoch(), lease.Owner(), keys[i])
			}
			if d := lease.Deadline(); d.Before(before.Add(long*9/10)) || d.After(time.Now().Add(long*9/10)) {
				l.Fatalf("deadline %v", d)
			}
		}
		if n := l.under(lockdb.StatusActive); n != len(keys) {
			l.Fatalf("%d of %d leases are there", n, len(keys))
		}
		rows, err := l.db.QueryContext(ctx, `SELECT lease_id FROM helix_locks WHERE lock_key LIKE CONCAT(?, '%')`, l.key)
		l.must(err)
		defer func() { l.must(rows.Close()) }()
		for rows.Next() {
			var id int64
			l.must(rows.Scan(&id))
			ids[id] = true
		}
		l.must(rows.Err())
		if len(ids) != len(keys) {
			l.Errorf("%d leases have %d ids", len(keys), len(ids))
		}

		// Each is a lease like any other.
		rival := l.locker(l.db)
		for _, lease := range []*txlock.Lease{leases[0], leases[1234], leases[2499]} {
			l.key = lease.Key()
			_, err := rival.TryAcquire(ctx, l.key)
			var held *txlock.HeldError
			if !errors.As(err, &held) || held.RetryAfter > long || held.RetryAfter < long-time.Minute {
				l.Fatalf("got %v", err)
			}
			l.expire()
			l.must(lease.Renew(ctx))
			_, err = rival.TryAcquire(ctx, l.key)
			l.wants(err, txlock.ErrHeld)
			l.must(lease.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }))
			l.must(lease.KeepAlive(ctx))
			l.wants(lease.Context().Err(), nil)
			l.must(lease.Release(ctx))
			if e := l.try(rival).Epoch(); e != 2 {
				l.Errorf("epoch %d after 1", e)
			}
			l.wants(lease.Renew(ctx), txlock.ErrLost)
		}
	})
}

// However many keys: three statements for each thousand, fresh, known or both.
func TestAcquireManyTakesFewStatements(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		count := func(what string, want int, keys []string, opts ...txlock.AcquireOption) {
			l.Helper()
			tx := l.begin()
			before := l.counters(tx)
			_, err := l.AcquireManyTx(ctx, tx, keys, append(opts, txlock.Reclaim())...)
			l.must(err)
			after := l.counters(tx)
			if n := after["Questions"] - before["Questions"] - 1; n != want { // SHOW STATUS counts itself
				l.Errorf("%s: %d keys took %d statements, want %d", what, len(keys), n, want)
			}
			for _, name := range []string{"Com_commit", "Com_rollback", "Com_begin", "Com_set_option"} {
				if after[name] != before[name] {
					l.Errorf("%s: %s", what, name)
				}
			}
			l.must(tx.Commit())
		}
		keys := l.keys(3500)
		count("one fresh", 3, keys[:1])
		count("a thousand, one known", 3, keys[:1000])
		count("a thousand known", 3, keys[:1000])
		count("mixed", 3, keys[500:1500])
		count("one more than a thousand", 6, keys[500:1501])
		count("fresh and known", 9, keys[:2500])
		count("known, no wait", 2, keys[:1000], txlock.NoWait())
		count("fresh, no wait", 2, keys[2500:], txlock.NoWait()) // on this connection
	})
}

// One key that is held keeps all others from being acquired. The transaction goes
// on without them.
func TestAcquireManyIsAllOrNone(t *testing.T) {
	for name, c := range map[string]struct {
		keys int
		held []int // by place in the order of bytes; the last one for the longest
		opts []txlock.AcquireOption
	}{
		"the last of 2":                 {2, []int{1}, nil},
		"the 500th of 1000":             {1000, []int{499}, nil},
		"several, the longest first":    {1000, []int{700, 20, 400}, nil},
		"the 1500th of 1600":            {1600, []int{1499}, nil},
		"the 500th of 1000, no wait":    {1000, []int{499}, []txlock.AcquireOption{txlock.NoWait()}},
		"the 500th of 1000, reclaiming": {1000, []int{499}, []txlock.AcquireOption{txlock.Reclaim()}},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				keys := l.keys(c.keys)
				sorted := slices.Sorted(slices.Values(keys))
				rival := l.locker(l.db)
				for i, place := range c.held {
					_, err := rival.TryAcquire(ctx, sorted[place], txlock.TTL(long-time.Duration(i)*10*time.Minute))
					l.must(err)
				}
				tx := l.begin()
				l.bump(tx)
				leases, err := l.AcquireManyTx(ctx, tx, keys, c.opts...)
				var held *txlock.HeldError
				if !errors.As(err, &held) || leases != nil {
					l.Fatalf("got %v, %v", leases, err)
				}
				if held.Key != sorted[c.held[0]] || held.RetryAfter > long || held.RetryAfter < long-time.Minute {
					l.Errorf("told of %q for %v, want %q for an hour", held.Key, held.RetryAfter, sorted[c.held[0]])
				}
				own, err := l.AcquireTx(ctx, tx, l.key) // usable
				l.must(err)
				l.must(tx.Commit())
				if n := l.counter(l.db); n != 1 {
					l.Error("the transaction was not committed")
				}
				l.must(own.Release(ctx))
				if n := l.under(lockdb.StatusActive); n != len(c.held) {
					l.Errorf("%d leases are active, want %d", n, len(c.held))
				}
				l.exec(`UPDATE helix_locks SET expires_at = UTC_TIMESTAMP() - INTERVAL 1 HOUR WHERE lock_key LIKE CONCAT(?, '%')`, l.key)
				for _, lease := range l.many(l.Locker, keys) {
					want := int64(1)
					if slices.Contains(c.held, slices.Index(sorted, lease.Key())) {
						want = 2
					}
					if lease.Epoch() != want {
						l.Fatalf("epoch %d of %q, want %d", lease.Epoch(), lease.Key(), want)
					}
				}
			})
		})
	}
}

func TestAcquireManyIsRolledBack(t *testing.T) {
	onServers(t, func(l *live) {
		keys := l.keys(30)
		for i, key := range keys[:10] { // fresh ones and known ones
			lease, err := l.TryAcquire(l.Context(), key)
			l.must(err)
			if i%2 == 0 {
				l.must(lease.Release(l.Context()))
				continue
			}
			l.exec(`UPDATE helix_locks SET expires_at = UTC_TIMESTAMP() - INTERVAL 1 HOUR WHERE lock_key = ?`, key)
		}
		read := func() string {
			return l.text(l.db, `SELECT COALESCE(GROUP_CONCAT(CONCAT_WS(',', HEX(lock_key), owner_id, epoch, lease_id, status, expires_at, acquired_at, updated_at) ORDER BY lock_key), '') FROM helix_locks WHERE lock_key LIKE CONCAT(?, '%')`, l.key)
		}
		before := read()
		tx := l.begin()
		leases, err := l.AcquireManyTx(l.Context(), tx, keys)
		l.must(err)
		l.bump(tx)
		if after := read(); after != before {
			l.Errorf("visible before COMMIT: %s", after)
		}
		l.must(tx.Rollback())
		if after := read(); after != before || l.counter(l.db) != 0 {
			l.Errorf("left behind: %s", after)
		}
		l.many(l.locker(l.db), keys)
		for _, lease := range leases {
			l.wants(lease.Renew(l.Context()), txlock.ErrLost)
		}
	})
}

// Callers with overlapping keys, given in opposite orders, wait for each other and
// never deadlock once the rows exist; what only the leases protect loses no update,
// and every key's epochs rise.
func TestAcquireManyInOppositeOrders(t *testing.T) {
	const callers, rounds = 4, 15
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		t.Run(strings.ReplaceAll(level.String(), " ", ""), func(t *testing.T) {
			onServers(t, func(l *live) {
				keys := slices.Sorted(slices.Values(l.keys(60)))
				for _, lease := range l.many(l.Locker, keys) {
					l.must(lease.Release(l.Context()))
				}
				var mu sync.Mutex
				last := make(map[string]int64)
				var wg sync.WaitGroup
				for i := range callers {
					mine := slices.Clone(keys[5*i : 5*i+40]) // all have 15..39
					if i%2 == 1 {
						slices.Reverse(mine)
					}
					locker := l.locker(l.db)
					wg.Go(func() {
						for round := range rounds {
							if err := l.manyOnce(locker, mine, level, &mu, last, round%3 == 2); err != nil {
								l.Errorf("caller %d: %v", i, err)
								return
							}
						}
					})
				}
				wg.Wait()
				if n := l.counter(l.db); n != callers*rounds*2/3 {
					l.Errorf("%d of %d updates are left", n, callers*rounds*2/3)
				}
			})
		})
	}
}

// manyOnce acquires keys, does some work under them, releases them, and commits or
// rolls back. The work reads and writes what is common to all.
func (l *live) manyOnce(locker *txlock.Locker, keys []string, level sql.IsolationLevel, mu *sync.Mutex, last map[string]int64, rollback bool) error {
	ctx := l.Context()
	tx, err := l.db.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	leases, err := locker.AcquireManyTx(ctx, tx, keys)
	if err != nil {
		return err
	}
	mu.Lock()
	for _, lease := range leases {
		if lease.Epoch() <= last[lease.Key()] {
			l.Errorf("epoch %d of %q after %d", lease.Epoch(), lease.Key(), last[lease.Key()])
		}
		if !rollback {
			last[lease.Key()] = lease.Epoch()
		}
	}
	mu.Unlock()
	var n int64
	if err := tx.QueryRowContext(ctx, `SELECT n FROM counters WHERE name = ?`, l.key).Scan(&n); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE counters SET n = ? WHERE name = ?`, n+1, l.key); err != nil {
		return err
	}
	for _, lease := range leases {
		if err := lease.ReleaseTx(ctx, tx); err != nil {
			return err
		}
	}
	if rollback {
		return tx.Rollback()
	}
	return tx.Commit()
}

// Fresh keys may deadlock where a transaction that inserted them is rolled back;
// then all of it is run again.
func TestAcquireManyFreshKeysAtOnce(t *testing.T) {
	const callers, rounds = 4, 15
	onServers(t, func(l *live) {
		all := l.keys(20 * rounds)
		var mu sync.Mutex
		last := make(map[string]int64)
		aborts := 0
		for round := range rounds {
			keys := all[20*round : 20*round+20]
			var wg sync.WaitGroup
			for i := range callers {
				mine := slices.Clone(keys)
				rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				wg.Go(func() {
					for {
						err := l.manyOnce(l.Locker, mine, sql.LevelRepeatableRead, &mu, last, i == 0)
						if !txlock.IsRetryable(err) {
							if err != nil {
								l.Error(err)
							}
							return
						}
						mu.Lock()
						aborts++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
		}
		l.Logf("%d transactions, %d run again", callers*rounds, aborts)
		if n := l.counter(l.db); n != (callers-1)*rounds {
			l.Errorf("%d of %d updates are left", n, (callers-1)*rounds)
		}
	})
}

// Promise 1: an acquisition of one key waits for one of many that is under way, and
// the other way round; what it then finds is what was committed.
func TestAcquireManyBesideSingleKeys(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*sql.Tx) error
		want error
	}{
		"commit":   {(*sql.Tx).Commit, txlock.ErrHeld},
		"rollback": {(*sql.Tx).Rollback, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				rival := l.locker(l.db)
				for round, keys := 0, append(l.keys(3), l.key); round < 2; round++ { // fresh, and known
					tx := l.begin()
					_, err := l.AcquireManyTx(ctx, tx, keys)
					l.must(err)
					l.wants(l.waits(func() error {
						_, err := rival.TryAcquire(ctx, l.key)
						return err
					}, func() { l.must(c.end(tx)) }), c.want)
					l.exec(`UPDATE helix_locks SET status = 0, lease_id = 0, expires_at = '1970-01-01' WHERE lock_key LIKE CONCAT(?, '%')`, l.key)

					tx = l.begin()
					single, err := l.AcquireTx(ctx, tx, l.key)
					l.must(err)
					other := l.begin()
					var leases []*txlock.Lease
					l.wants(l.waits(func() (err error) {
						leases, err = rival.AcquireManyTx(ctx, other, keys)
						return err
					}, func() { l.must(c.end(tx)) }), c.want)
					l.must(other.Commit())
					if c.want == nil {
						if e := leases[3].Epoch(); e != single.Epoch() { // it was rolled back
							l.Errorf("epoch %d after %d, which was rolled back", e, single.Epoch())
						}
						l.wants(single.Renew(ctx), txlock.ErrLost)
					}
					l.exec(`UPDATE helix_locks SET status = 0, lease_id = 0, expires_at = '1970-01-01' WHERE lock_key LIKE CONCAT(?, '%')`, l.key)
				}
			})
		})
	}
}

// Promise 2: many keys, of which one fences an open transaction, are taken over
// after that; and its next fence fails.
func TestAcquireManyWaitsForFences(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease := l.try(l.Locker)
		l.expire()
		fenced := l.begin()
		l.must(lease.VerifyTx(ctx, fenced))
		rival := l.locker(l.db)
		tx := l.begin()
		l.must(l.waits(func() error {
			_, err := rival.AcquireManyTx(ctx, tx, append(l.keys(3), l.key))
			return err
		}, func() {
			l.bump(fenced)
			l.must(fenced.Commit())
		}))
		l.must(tx.Commit())
		l.wants(lease.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }), txlock.ErrLost)
	})
}

// Nothing but the rows of its keys is locked: neither other rows nor the gaps
// between them, in tables of any size, which is what an optimizer goes by.
func TestAcquireManyLocksItsRowsAlone(t *testing.T) {
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		for _, size := range []int{0, 3, 30, 300} {
			t.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(level.String(), " ", ""), size), func(t *testing.T) {
				onServers(t, func(l *live) {
					l = l.alone()
					ctx := l.Context()
					others := l.locker(l.db)
					neighbor := func(i int) string { return fmt.Sprintf("%s/%04d-", l.key, i) }
					var neighbors []string
					for i := range size {
						neighbors = append(neighbors, neighbor(i))
					}
					if size > 0 {
						for _, lease := range l.many(others, neighbors) {
							l.must(lease.Release(ctx))
						}
						l.exec(`ANALYZE TABLE helix_locks`)
					}
					for _, opts := range [][]txlock.AcquireOption{nil, {txlock.NoWait()}} {
						for round := range 2 { // fresh, and known
							tx := l.begin(&sql.TxOptions{Isolation: level})
							_, err := l.AcquireManyTx(ctx, tx, l.keys(2), append(opts, txlock.Reclaim())...)
							l.must(err)
							for i := range min(size, 5) {
								rival := l.beginOn(l.db)
								_, err := others.AcquireTx(ctx, rival, neighbor(i), txlock.NoWait())
								l.must(err)
								l.must(rival.Rollback())
							}
							impatient := l.open("innodb_lock_wait_timeout", "1")
							for _, fresh := range []string{l.key + "/", l.key + "/0000", l.key + "/0001", l.key + "/0002", l.key + "0"} {
								rival := l.beginOn(impatient)
								l.must(l.locker(impatient).LockTx(ctx, rival, fmt.Sprintf("%s fresh %d %v", fresh, round, opts == nil)))
								l.must(rival.Rollback())
							}
							l.must(tx.Commit())
						}
					}
				})
			})
		}
	}
}

// Keys of any bytes, acquired under any DSN, are what every other session takes
// them for.
func TestAcquireManyKeysAreBytes(t *testing.T) {
	param := func(name, value string) func(*mysql.Config) {
		return func(c *mysql.Config) { c.Params = map[string]string{name: value} }
	}
	configures := map[string]func(*mysql.Config){
		"default":            func(*mysql.Config) {},
		"interpolated":       func(c *mysql.Config) { c.InterpolateParams = true },
		"latin1":             func(c *mysql.Config) { _ = c.Apply(mysql.Charset("latin1", "latin1_swedish_ci")) },
		"clientFoundRows":    func(c *mysql.Config) { c.ClientFoundRows = true },
		"parseTime":          func(c *mysql.Config) { c.ParseTime = true },
		"time zone":          param("time_zone", "'-09:30'"),
		"sql_select_limit 1": param("sql_select_limit", "1"),
		"sql_select_limit 0": param("sql_select_limit", "0"),
	}
	for _, mode := range []string{"", "ANSI", "TRADITIONAL", "NO_BACKSLASH_ESCAPES", "PAD_CHAR_TO_FULL_LENGTH,NO_UNSIGNED_SUBTRACTION", "HIGH_NOT_PRECEDENCE,IGNORE_SPACE,PIPES_AS_CONCAT"} {
		configures["sql_mode "+mode] = param("sql_mode", "'"+mode+"'")
	}
	for _, collation := range []string{"latin1_swedish_ci", "utf8mb3_general_ci", "ascii_bin", "ucs2_general_ci", "utf16_general_ci", "utf32_general_ci", "sjis_japanese_ci", "gbk_chinese_ci"} {
		configures[collation] = param("collation_connection", collation)
	}
	onServers(t, func(l *live) {
		ctx := l.Context()
		var keys []string
		for _, suffix := range []string{"", " ", "  ", "\x00", "\x00\x00", "foo", "Foo", "FOO", "foo ", "fóo", "fo\u0301o", "ß", "ss", "\xff", "\xff\xfe", "\xc3\x28", "\xed\xa0\x80", "'", "\\", "%", "_", "日本", "🔒", "\r\n"} {
			keys = append(keys, l.key+suffix)
		}
		keys = append(keys, l.key+strings.Repeat("\xff", 255-len(l.key)), l.key+strings.Repeat("\x00", 255-len(l.key)))
		for name, configure := range configures {
			if l.readsNoLists(name) {
				continue
			}
			db := l.server.Open(l.T, configure)
			for _, opts := range [][]txlock.AcquireOption{nil, {txlock.NoWait()}} {
				locker := l.locker(db, txlock.WithOwner("owner é\xff of "+name))
				tx := l.beginOn(db)
				leases, err := locker.AcquireManyTx(ctx, tx, keys, append(opts, txlock.TTL(long))...)
				if err != nil {
					l.Fatalf("%s: %v", name, err)
				}
				l.must(tx.Commit())
				for i, lease := range leases {
					_, err := l.TryAcquire(ctx, keys[i])
					var held *txlock.HeldError
					if !errors.As(err, &held) || held.RetryAfter > long || held.RetryAfter < long-time.Minute {
						l.Fatalf("%s: %q: got %v", name, keys[i], err)
					}
					l.must(lease.Release(ctx))
				}
			}
			l.must(db.Close())
			l.exec(`DELETE FROM helix_locks WHERE lock_key LIKE CONCAT(?, '%')`, l.key) // fresh ones again
		}
	})
}

// It decides on the newest rows, however old the transaction's snapshot.
func TestAcquireManyIsolationLevels(t *testing.T) {
	for _, level := range []sql.IsolationLevel{sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		for name, opts := range map[string][]txlock.AcquireOption{"": nil, " no wait": {txlock.NoWait()}} {
			t.Run(strings.ReplaceAll(level.String(), " ", "")+name, func(t *testing.T) {
				onServers(t, func(l *live) {
					ctx := l.Context()
					rival := l.locker(l.db)
					keys := append(l.keys(2), l.key)
					l.must(l.try(l.Locker).Release(ctx))

					// The snapshot says free, the newest row says held.
					tx := l.begin(&sql.TxOptions{Isolation: level})
					l.text(tx, `SELECT COUNT(*) FROM counters`)
					held := l.try(rival, txlock.TTL(long))
					_, err := l.AcquireManyTx(ctx, tx, keys, opts...)
					if l.conflicts(err) {
						return // MariaDB's innodb_snapshot_isolation
					}
					l.wants(err, txlock.ErrHeld)
					l.must(tx.Rollback())

					// The snapshot says held, the newest row says free.
					tx = l.begin(&sql.TxOptions{Isolation: level})
					l.text(tx, `SELECT COUNT(*) FROM counters`)
					l.must(held.Release(ctx))
					before := l.epoch()
					leases, err := l.AcquireManyTx(ctx, tx, keys, opts...)
					l.must(err)
					if e := leases[2].Epoch(); e != before+1 {
						l.Errorf("epoch %d after %d", e, before)
					}
					for _, lease := range leases {
						l.must(lease.VerifyTx(ctx, tx))
						l.must(lease.RenewTx(ctx, tx))
						l.must(lease.ReleaseTx(ctx, tx))
					}
					l.must(tx.Commit())
				})
			})
		}
	}
}

func TestAcquireManyReclaims(t *testing.T) {
	onServers(t, func(l *live) {
		keys := l.keys(3)
		old := l.many(l.Locker, keys)
		tx := l.begin()
		_, err := l.AcquireManyTx(l.Context(), tx, keys)
		l.wants(err, txlock.ErrHeld)
		l.must(tx.Rollback())
		l.many(l.Locker, keys, txlock.Reclaim())
		for _, lease := range old {
			l.wants(lease.Renew(l.Context()), txlock.ErrLost)
		}
	})
}

// A transaction that waits for its rows for longer than the TTL has leases whose
// TTL begins when it has them.
func TestAcquireManyCountsTheTTLFromTheEndOfItsWait(t *testing.T) {
	onServers(t, func(l *live) {
		const ttl = 300 * time.Millisecond
		ctx := l.Context()
		keys := append(l.keys(2), l.key)
		l.must(l.try(l.Locker).Release(ctx))
		blocker, tx := l.begin(), l.begin()
		l.must(l.LockTx(ctx, blocker, l.key))
		var leases []*txlock.Lease
		began := time.Now()
		l.must(l.waits(func() (err error) {
			leases, err = l.AcquireManyTx(ctx, tx, keys, txlock.TTL(ttl))
			return err
		}, func() {
			<-time.After(2*ttl - time.Since(began))
			l.must(blocker.Commit())
		}))
		if d := leases[0].Deadline(); !d.After(began.Add(2 * ttl)) {
			l.Errorf("the deadline is %v after the call", d.Sub(began))
		}
		left := l.text(tx, `SELECT MIN(TIMESTAMPDIFF(MICROSECOND, updated_at, expires_at)) FROM helix_locks WHERE lock_key LIKE CONCAT(?, '%')`, l.key)
		waited := l.text(tx, `SELECT MIN(TIMESTAMPDIFF(MICROSECOND, created_at, acquired_at)) > 200000 FROM helix_locks WHERE lock_key LIKE CONCAT(?, '/%')`, l.key)
		if left != "300000" || waited != "1" {
			l.Errorf("it has %s µs, %s", left, waited)
		}
		l.must(tx.Rollback())
	})
}

func TestAcquireManyNoWait(t *testing.T) {
	for name, lock := range map[string]func(l *live, other *sql.Tx, key string){
		"locked": func(l *live, other *sql.Tx, key string) {
			l.must(l.LockTx(l.Context(), other, key))
		},
		"fenced": func(l *live, other *sql.Tx, key string) {
			lease, err := l.TryAcquire(l.Context(), key)
			l.must(err)
			l.must(lease.VerifyTx(l.Context(), other))
		},
	} {
		for _, fresh := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, fresh %t", name, fresh), func(t *testing.T) {
				onServers(t, func(l *live) {
					ctx := l.Context()
					keys := l.keys(1500)
					sorted := slices.Sorted(slices.Values(keys))
					// Few are fresh: where a page of the index is split beside a locked row,
					// InnoDB locks a gap, and more inserts would wait.
					there := slices.Concat(sorted[:1198], sorted[1203:])
					if !fresh {
						there = keys
					}
					leases := l.many(l.Locker, there)
					release := l.begin()
					for _, lease := range leases {
						l.must(lease.ReleaseTx(ctx, release))
					}
					l.must(release.Commit())
					other := l.begin()
					lock(l, other, sorted[1200])
					tx := l.begin()
					l.bump(tx)
					_, err := l.locker(l.db).AcquireManyTx(ctx, tx, keys, txlock.NoWait())
					var busy *txlock.BusyError
					if !errors.As(err, &busy) || busy.Key != sorted[1200] || txlock.IsRetryable(err) {
						l.Fatalf("got %v", err)
					}
					l.must(l.LockTx(ctx, tx, l.key))
					l.must(tx.Commit())
					l.must(other.Rollback())
					if n := l.counter(l.db); n != 1 {
						l.Error("the transaction was not committed")
					}
				})
			})
		}
	}
}

func TestAcquireManyNoWaitInAPoolOfOne(t *testing.T) {
	onServers(t, func(l *live) {
		db := l.server.Open(l.T)
		db.SetMaxOpenConns(1)
		tx := l.beginOn(db)
		_, err := l.locker(db).AcquireManyTx(l.Context(), tx, l.keys(2), txlock.NoWait())
		l.wants(err, txlock.ErrInvalidArgument)
		if !strings.Contains(err.Error(), "SetMaxOpenConns") {
			l.Error(err)
		}
		_, err = l.locker(db).AcquireManyTx(l.Context(), tx, l.keys(2))
		l.must(err)
		l.must(tx.Commit())
	})
}

func TestAcquireManyRefusesWhatIsInvalid(t *testing.T) {
	m := newMocked(t)
	tx := m.begin()
	for name, c := range map[string]struct {
		tx   *sql.Tx
		keys []string
		opts []txlock.AcquireOption
		want error
		says string
	}{
		"no keys":      {tx, nil, nil, txlock.ErrInvalidArgument, "at least one"},
		"empty key":    {tx, []string{"a", ""}, nil, txlock.ErrInvalidKey, `""`},
		"long key":     {tx, []string{"a", strings.Repeat("x", 256)}, nil, txlock.ErrInvalidKey, `"xxx`},
		"key twice":    {tx, []string{"a", "b", "c", "b"}, nil, txlock.ErrInvalidArgument, `"b": is given twice (numbers 2 and 4)`},
		"TTL":          {tx, []string{"a"}, []txlock.AcquireOption{txlock.TTL(0)}, txlock.ErrInvalidTTL, "0s"},
		"nil option":   {tx, []string{"a"}, []txlock.AcquireOption{nil}, txlock.ErrInvalidArgument, "nil"},
		"no tx":        {nil, []string{"a"}, nil, txlock.ErrInvalidArgument, "begin a transaction"},
		"case matters": {nil, []string{"a", "A", "a "}, nil, txlock.ErrInvalidArgument, "begin a transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			leases, err := m.AcquireManyTx(t.Context(), c.tx, c.keys, c.opts...)
			var invalid *txlock.InvalidError
			if !errors.As(err, &invalid) || !errors.Is(err, c.want) || leases != nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v", leases, err)
			}
		})
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.AcquireManyTx(t.Context(), tx, []string{"a"}); !errors.Is(err, txlock.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// What fails in any of its statements is told as the failures of AcquireTx are.
func TestAcquireManyFails(t *testing.T) {
	ensure := func(m *mocked) *sqlmock.ExpectedExec { return m.mock.ExpectExec("-- name: EnsureKeys :") }
	lock := func(m *mocked) *sqlmock.ExpectedQuery { return m.mock.ExpectQuery("-- name: LockKeys :") }
	take := func(m *mocked) *sqlmock.ExpectedExec { return m.mock.ExpectExec("-- name: AcquireLeases :") }
	rows := func(rows ...[3]int64) *sqlmock.Rows {
		r := sqlmock.NewRows([]string{"i", "owner_id", "epoch", "status", "remaining_micros"})
		for _, row := range rows {
			r.AddRow(row[0], []byte("another"), row[1], 1, row[2])
		}
		return r
	}
	free := rows([3]int64{0, 4, 0}, [3]int64{1, 7, 0})
	done := sqlmock.NewResult(0, 0)
	timeout := &mysql.MySQLError{Number: 1205, Message: "Lock wait timeout exceeded"}
	for name, c := range map[string]struct {
		expect func(m *mocked)
		want   error
		says   string
	}{
		"ensuring":           {func(m *mocked) { ensure(m).WillReturnError(errDeadlock) }, txlock.ErrTxAborted, "one of 2 keys from this one on"},
		"ensuring times out": {func(m *mocked) { ensure(m).WillReturnError(timeout) }, txlock.ErrBusy, `"a"`},
		"locking": {func(m *mocked) {
			ensure(m).WillReturnResult(done)
			lock(m).WillReturnError(errDeadlock)
		}, txlock.ErrTxAborted, `"a"`},
		"locking, in a row": {func(m *mocked) {
			ensure(m).WillReturnResult(done)
			lock(m).WillReturnRows(rows([3]int64{0, 4, 0}, [3]int64{1, 7, 0}).RowError(1, errCheckRead))
		}, txlock.ErrTxAborted, `"a"`},
		"a floor is missing": {func(m *mocked) {
			ensure(m).WillReturnResult(done)
			lock(m).WillReturnRows(rows([3]int64{0, 4, 0}))
		}, txlock.ErrNotMigrated, `"b"`},
		"held": {func(m *mocked) {
			ensure(m).WillReturnResult(done)
			lock(m).WillReturnRows(rows([3]int64{0, 4, 1}, [3]int64{1, 7, 1000000}))
		}, txlock.ErrHeld, `"b" is held by "another", epoch 7, for another 1s`},
		"taking": {func(m *mocked) {
			ensure(m).WillReturnResult(done)
			lock(m).WillReturnRows(free)
			take(m).WillReturnError(errDeadlock)
		}, txlock.ErrTxAborted, `"a"`},
		"taking some": {func(m *mocked) {
			ensure(m).WillReturnResult(done)
			lock(m).WillReturnRows(rows([3]int64{0, 4, 0}, [3]int64{1, 7, 0}))
			take(m).WillReturnResult(sqlmock.NewResult(0, 1))
		}, nil, "1 of 2 rows were written"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMocked(t)
			tx := m.begin()
			c.expect(m)
			leases, err := m.AcquireManyTx(t.Context(), tx, []string{"b", "a"})
			if err == nil || leases != nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "txlock: ") {
				t.Errorf("got %v, %v", leases, err)
			}
			_ = m.LockTx(t.Context(), tx, "k") // sends nothing after an abort
		})
	}
}
