package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// operations are all that can be done in a caller's transaction, in an order in
// which each succeeds on a free key. multi is for what multi-writer clusters need.
func (l *live) operations(tx *sql.Tx, multi *txlock.Locker) []operation {
	ctx := l.Context()
	var lease, written *txlock.Lease
	return []operation{
		{"AcquireTx, multi-writer", func() (err error) {
			written, err = multi.AcquireTx(ctx, tx, l.key+"/multi")
			return err
		}},
		{"VerifyTx, multi-writer", func() error { return written.VerifyTx(ctx, tx) }},
		{"ReleaseTx, multi-writer", func() error { return written.ReleaseTx(ctx, tx) }},
		{"AcquireTx", func() (err error) { lease, err = l.AcquireTx(ctx, tx, l.key, txlock.TTL(long)); return err }},
		{"RenewTx", func() error { return lease.RenewTx(ctx, tx) }},
		{"VerifyTx", func() error { return lease.VerifyTx(ctx, tx) }},
		{"ReleaseTx", func() error { return lease.ReleaseTx(ctx, tx) }},
		{"LockTx", func() error { return l.LockTx(ctx, tx, l.key) }},
	}
}

type operation struct {
	name string
	run  func() error
}

// The DSN is the caller's: everything works with every combination of what it
// can say, prepared or not, and leases made under one are understood under all.
func TestDSNMatrix(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		newYork = time.FixedZone("EST", -5*3600) // a machine without time zones
	}
	type dsn struct {
		name      string
		configure func(*mysql.Config)
	}
	dsns := []dsn{{"", func(*mysql.Config) {}}}
	cross := func(more ...dsn) {
		var product []dsn
		for _, a := range dsns {
			for _, b := range more {
				product = append(product, dsn{a.name + " " + b.name, func(c *mysql.Config) { a.configure(c); b.configure(c) }})
			}
		}
		dsns = product
	}
	param := func(name, value string) dsn {
		return dsn{name + "=" + value, func(c *mysql.Config) {
			if c.Params == nil {
				c.Params = make(map[string]string)
			}
			c.Params[name] = value
		}}
	}
	cross(dsn{"", func(*mysql.Config) {}}, dsn{"clientFoundRows", func(c *mysql.Config) { c.ClientFoundRows = true }})
	cross(dsn{"", func(*mysql.Config) {}}, dsn{"parseTime", func(c *mysql.Config) { c.ParseTime = true }})
	cross(dsn{"loc=UTC", func(c *mysql.Config) { c.Loc = time.UTC }}, dsn{"loc=New_York", func(c *mysql.Config) { c.Loc = newYork }})
	cross(dsn{"", func(*mysql.Config) {}}, dsn{"interpolateParams", func(c *mysql.Config) { c.InterpolateParams = true }})
	cross(dsn{"charset=", func(*mysql.Config) {}}, dsn{"charset=latin1", func(c *mysql.Config) { _ = c.Apply(mysql.Charset("latin1", "latin1_bin")) }}, dsn{"charset=utf8mb4", func(c *mysql.Config) { _ = c.Apply(mysql.Charset("utf8mb4", "utf8mb4_unicode_ci")) }})
	cross(param("time_zone", "'+00:00'"), param("time_zone", "'-09:30'"), param("time_zone", "'+13:00'"))

	onServers(t, func(l *live) {
		for _, d := range dsns {
			l.lifeUnder(d.name, d.configure)
		}
		for _, mode := range []string{"''", "'ANSI'", "'TRADITIONAL'", "'NO_BACKSLASH_ESCAPES'", "'PAD_CHAR_TO_FULL_LENGTH,NO_UNSIGNED_SUBTRACTION'", "'HIGH_NOT_PRECEDENCE,IGNORE_SPACE,PIPES_AS_CONCAT'"} {
			l.lifeUnder("sql_mode="+mode, param("sql_mode", mode).configure)
		}
		for _, limit := range []string{"0", "1"} {
			l.lifeUnder("sql_select_limit="+limit, param("sql_select_limit", limit).configure)
		}
		if l.server.Engine == testserver.MariaDB {
			for _, mode := range []string{"'SIMULTANEOUS_ASSIGNMENT'", "'ORACLE'"} {
				l.lifeUnder("sql_mode="+mode, param("sql_mode", mode).configure)
			}
		}
		// Sessions that read literals in one character set and compare in another.
		l.key += "é\xff日"
		for _, collation := range []string{"latin1_swedish_ci", "utf8mb3_general_ci", "ascii_bin", "ucs2_general_ci", "utf16_general_ci", "utf32_general_ci", "sjis_japanese_ci", "gbk_chinese_ci"} {
			l.lifeUnder("collation_connection="+collation, param("collation_connection", collation).configure)
		}
	})
}

// lifeUnder runs the life of a lease, and of a lock, on a pool of that kind.
func (l *live) lifeUnder(name string, configure func(*mysql.Config)) {
	l.Helper()
	db := l.server.Open(l.T, configure)
	defer func() { l.must(db.Close()) }()
	for _, prepared := range []bool{false, true} {
		if prepared && l.readsNoLists(name) {
			continue // Prepare says so: see TestSessionsThatReadNoLists
		}
		ctx := l.Context()
		holder, rival := l.locker(db), l.locker(db, txlock.WithMultiWriter())
		if prepared {
			l.must(holder.Prepare(ctx))
			l.must(rival.Prepare(ctx))
		}
		check := func(what string, err, want error) {
			l.Helper()
			if !errors.Is(err, want) {
				l.Fatalf("%s, prepared %t: %s: got %v, want %v", name, prepared, what, err, want)
			}
		}
		before := l.epoch()
		lease, err := holder.TryAcquire(ctx, l.key, txlock.TTL(long))
		check("acquire", err, nil)
		if lease.Epoch() != before+1 {
			l.Fatalf("%s: epoch %d after %d", name, lease.Epoch(), before)
		}
		for who, locker := range map[string]*txlock.Locker{"the same sessions": rival, "sessions with the default DSN": l.Locker} {
			_, err = locker.TryAcquire(ctx, l.key)
			check("held for "+who, err, txlock.ErrHeld)
			var held *txlock.HeldError
			if errors.As(err, &held) && (held.RetryAfter > long || held.RetryAfter < long-10*time.Minute) {
				l.Fatalf("%s: %s are told to come back in %v", name, who, held.RetryAfter)
			}
		}
		check("renew", lease.Renew(ctx), nil)
		check("verify", lease.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }), nil)
		check("release", lease.Release(ctx), nil)
		check("late renewal", lease.Renew(ctx), txlock.ErrLost)
		check("late fence", lease.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }), txlock.ErrLost)
		check("late release", lease.Release(ctx), txlock.ErrLost)
		check("lock", rival.Do(ctx, l.key, func(context.Context, *sql.Tx) error { return nil }), nil)
		lease, err = holder.TryAcquire(ctx, l.key)
		check("acquire after lock", err, nil)
		l.expire()
		next, err := rival.TryAcquire(ctx, l.key)
		check("takeover", err, nil)
		check("fence after takeover", lease.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }), txlock.ErrLost)
		check("written fence", next.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }), nil)
		check("release after takeover", next.Release(ctx), nil)
		check("late written fence", next.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }), txlock.ErrLost)
	}
}

// readsNoLists reports whether sessions of that kind cannot read a list of keys.
func (l *live) readsNoLists(name string) bool {
	return l.server.Engine == testserver.MariaDB && (strings.Contains(name, "ucs2_") || strings.Contains(name, "utf16_") || strings.Contains(name, "utf32_"))
}

// On MariaDB such sessions are refused, with what to do, by everything that is about many
// keys; a heartbeat is such, and ends the trust.
func TestSessionsThatReadNoLists(t *testing.T) {
	onServers(t, func(l *live) {
		db := l.open("collation_connection", "utf16_general_ci")
		locker, ctx := l.locker(db), l.Context()
		if !l.readsNoLists("utf16_") {
			l.must(locker.Prepare(ctx))
			return
		}
		l.must(l.Do(ctx, l.key+"/idle", nothing))
		tx := l.beginOn(db)
		_, many := locker.AcquireManyTx(ctx, tx, []string{l.key, l.key + "2"})
		l.must(tx.Rollback())
		_, purge := locker.Purge(ctx, txlock.PurgeOptions{Idle: time.Nanosecond})
		lease := l.try(locker, txlock.TTL(beatTTL))
		l.must(lease.KeepAlive(ctx))
		<-lease.Context().Done()
		for what, err := range map[string]error{"Prepare": locker.Prepare(ctx), "AcquireManyTx": many, "Purge": purge, "KeepAlive": context.Cause(lease.Context())} {
			if err == nil || !strings.Contains(err.Error(), "leave it out of the DSN") {
				l.Errorf("%s: got %v", what, err)
			}
		}
	})
}

// Keys and owners are bytes: those that a collation, padding or a character set
// would take for one are two.
func TestKeysAreBytes(t *testing.T) {
	suffixes := []string{"", " ", "  ", "\x00", "foo", "Foo", "FOO", "foo ", "fóo", "foó", "fo\u0301o", "ß", "ss", "\xff", "\xff\xfe", "\xc3\x28", "\xed\xa0\x80", "'", "\\", "%", "_", "日本", "🔒", "\r\n"}
	configures := map[string]func(*mysql.Config){
		"default": func(*mysql.Config) {},
		"interpolated": func(c *mysql.Config) {
			c.InterpolateParams = true
		},
		"latin1": func(c *mysql.Config) { _ = c.Apply(mysql.Charset("latin1", "latin1_swedish_ci")) },
	}
	for name, configure := range configures {
		t.Run(name, func(t *testing.T) {
			servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
				l := newLive(t, s, configure)
				held := make(map[string]*txlock.Lease)
				for _, suffix := range suffixes {
					owner := l.locker(l.db, txlock.WithOwner("owner of "+suffix))
					lease, err := owner.TryAcquire(t.Context(), l.key+suffix)
					if err != nil {
						t.Fatalf("%q is taken for another key: %v", suffix, err)
					}
					held[suffix] = lease
				}
				for suffix, lease := range held {
					var owner []byte
					l.must(l.db.QueryRowContext(t.Context(), `SELECT owner_id FROM helix_locks WHERE lock_key = ?`, []byte(l.key+suffix)).Scan(&owner))
					if string(owner) != "owner of "+suffix {
						t.Errorf("owner %q of %q", owner, suffix)
					}
					if _, err := l.TryAcquire(t.Context(), l.key+suffix); !errors.Is(err, txlock.ErrHeld) {
						t.Errorf("%q: got %v", suffix, err)
					}
					l.must(lease.Renew(t.Context()))
					l.must(lease.Release(t.Context()))
				}
			})
		})
	}
}

// Promise 3: nothing of the caller's session is changed, and the transaction is
// the one it was. LAST_INSERT_ID() is documented to follow an acquisition, as it
// follows any insert; the others leave it alone.
func TestTheCallersSessionIsUntouched(t *testing.T) {
	// Not state, but clocks, counters and what the last statement left behind.
	volatile := []string{"timestamp", "error_count", "warning_count", "rand_seed1", "rand_seed2", "last_gtid", "gtid_binlog_pos", "gtid_current_pos", "gtid_seq_no", "in_transaction", "statement_id", "pseudo_thread_id"}
	onServers(t, func(l *live) {
		l.exec(`CREATE TABLE IF NOT EXISTS ids (id BIGINT PRIMARY KEY AUTO_INCREMENT)`)
		tx := l.begin(&sql.TxOptions{Isolation: sql.LevelReadCommitted})
		_, err := tx.ExecContext(l.Context(), `INSERT INTO ids VALUES (NULL)`)
		l.must(err)
		l.bump(tx)
		before := l.variables(tx)
		for _, op := range l.operations(tx, l.locker(l.db, txlock.WithMultiWriter())) {
			l.must(op.run())
			if n := l.text(tx, `SELECT @@warning_count`); n != "0" {
				l.Errorf("%s leaves %s warnings", op.name, n)
			}
			after := l.variables(tx)
			for name := range maps.Keys(after) {
				acquires := strings.HasPrefix(op.name, "AcquireTx") || op.name == "LockTx"
				if slices.Contains(volatile, name) || acquires && (name == "last_insert_id" || name == "identity") {
					continue
				}
				if after[name] != before[name] {
					l.Errorf("%s changed %s from %q to %q", op.name, name, before[name], after[name])
				}
			}
			before = after
		}
		if got := l.isolation(tx); got != "READ COMMITTED" {
			l.Errorf("the transaction is now at %s", got)
		}
		l.must(tx.Rollback())
		if n := l.counter(l.db); n != 0 || l.row().found {
			l.Error("something was committed on the way")
		}
	})
}

func (l *live) variables(q *sql.Tx) map[string]string {
	l.Helper()
	return l.pairs(q, `SHOW SESSION VARIABLES`)
}

func (l *live) pairs(q *sql.Tx, query string) map[string]string {
	l.Helper()
	rows, err := q.QueryContext(l.Context(), query)
	l.must(err)
	defer func() { l.must(rows.Close()) }()
	m := make(map[string]string)
	for rows.Next() {
		var name, value string
		l.must(rows.Scan(&name, &value))
		m[name] = value
	}
	l.must(rows.Err())
	return m
}

// refusals are all that can be refused in a caller's transaction: what it returns
// is for one that begins after it.
func (l *live) refusals(prepare bool) func(tx *sql.Tx) []operation {
	l.Helper()
	ctx := l.Context()
	unaware, knowing := l.locker(l.db, txlock.WithSingleWriter()), l.locker(l.db, txlock.WithSingleWriter())
	if prepare {
		l.must(unaware.Prepare(ctx))
		l.must(knowing.Prepare(ctx))
	}
	stale := l.try(l.Locker)
	l.must(stale.Release(ctx))
	for range 3 {
		l.must(knowing.Do(ctx, l.key, func(context.Context, *sql.Tx) error { return nil }))
	}
	l.try(l.Locker, txlock.TTL(long))
	is := func(err, target error) error {
		if !errors.Is(err, target) {
			return fmt.Errorf("got %w, want %w", err, target)
		}
		return nil
	}
	acquire := func(locker *txlock.Locker, tx *sql.Tx) func() error {
		return func() error {
			_, err := locker.AcquireTx(ctx, tx, l.key)
			return is(err, txlock.ErrHeld)
		}
	}
	return func(tx *sql.Tx) []operation {
		return []operation{
			{"AcquireTx, held", acquire(unaware, tx)},
			{"AcquireTx, known and held", acquire(knowing, tx)},
			{"LockTx, held", func() error { return is(unaware.LockTx(ctx, tx, l.key), txlock.ErrHeld) }},
			{"LockTx, known and held", func() error { return is(knowing.LockTx(ctx, tx, l.key), txlock.ErrHeld) }},
			{"RenewTx, lost", func() error { return is(stale.RenewTx(ctx, tx), txlock.ErrLost) }},
			{"VerifyTx, lost", func() error { return is(stale.VerifyTx(ctx, tx), txlock.ErrLost) }},
			{"ReleaseTx, lost", func() error { return is(stale.ReleaseTx(ctx, tx), txlock.ErrLost) }},
		}
	}
}

// Promise 5, by the server's own counters: one statement an operation, of which
// none commits; and one command, unless the driver has to prepare it each time.
func TestOneStatementAnOperation(t *testing.T) {
	for name, mode := range map[string]struct {
		interpolate, prepare bool
	}{
		"plain":        {false, false},
		"interpolated": {true, false},
		"prepared":     {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
				l := newLive(t, s, func(c *mysql.Config) { c.InterpolateParams = mode.interpolate })
				multi := l.locker(l.db, txlock.WithMultiWriter())
				l.Locker = l.locker(l.db, txlock.WithSingleWriter())
				if mode.prepare {
					l.must(l.Prepare(t.Context()))
					l.must(multi.Prepare(t.Context()))
				}
				l.db.SetMaxOpenConns(1)
				for round := range 4 { // a fresh key, one that is there, one that the Locker knows; all that is refused
					operations := func(tx *sql.Tx) []operation { return l.operations(tx, multi) }
					if round == 3 {
						operations = l.refusals(mode.prepare)
					}
					tx := l.begin()
					for _, op := range operations(tx) {
						before := l.counters(tx)
						l.must(op.run())
						after := l.counters(tx)
						diff := func(name string) int { return after[name] - before[name] }
						want := 1
						if strings.HasPrefix(op.name, "LockTx") && strings.HasSuffix(op.name, "held") {
							want = 2 // the second one asks of the lease
						}
						if n := diff("Questions") - 1; n != want { // SHOW STATUS counts itself
							t.Errorf("round %d: %s is %d statements", round, op.name, n)
						}
						prepares := 0
						if !mode.interpolate && !mode.prepare {
							prepares = want
						}
						if n := diff("Com_stmt_prepare"); n != prepares {
							t.Errorf("round %d: %s was prepared %d times", round, op.name, n)
						}
						if n := diff("Com_commit") + diff("Com_rollback") + diff("Com_begin") + diff("Com_set_option"); n != 0 {
							t.Errorf("round %d: %s began or ended a transaction, or set a variable", round, op.name)
						}
					}
					l.must(tx.Commit())
				}
			})
		})
	}
}

func (l *live) counters(tx *sql.Tx) map[string]int {
	l.Helper()
	m := make(map[string]int)
	for name, value := range l.pairs(tx, `SHOW SESSION STATUS`) {
		if n, err := strconv.Atoi(value); err == nil {
			m[name] = n
		}
	}
	return m
}

// On a pool of one connection nothing waits for a second one.
func TestPoolOfOne(t *testing.T) {
	for _, prepare := range []bool{false, true} {
		t.Run(fmt.Sprintf("prepared=%t", prepare), func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				db := l.server.Open(l.T)
				db.SetMaxOpenConns(1)
				locker := l.locker(db)
				if prepare {
					l.must(locker.Prepare(ctx))
				}
				lease, err := locker.TryAcquire(ctx, l.key)
				l.must(err)
				l.must(lease.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error { return lease.VerifyTx(ctx, tx) }))
				l.must(lease.Renew(ctx))
				l.must(lease.Release(ctx))
				l.must(locker.Do(ctx, l.key, func(ctx context.Context, tx *sql.Tx) error {
					return locker.LockTx(ctx, tx, l.key+"/second")
				}))
			})
		})
	}
}

// The exceptions of promise 5 for a lock: of a remembered key that was leased.
func TestStatementsOfALockThatWasLeased(t *testing.T) {
	onServers(t, func(l *live) {
		for range 3 { // known by then
			l.must(l.Do(l.Context(), l.key, func(context.Context, *sql.Tx) error { return nil }))
		}
		for name, c := range map[string]struct {
			status, leaseID, want int
		}{
			"free":    {0, 0, 1},
			"expired": {1, 5, 2},
		} {
			l.exec(`UPDATE helix_locks SET status = ?, lease_id = ?, owner_id = 'another', expires_at = '2000-01-01' WHERE lock_key = ?`, c.status, c.leaseID, l.key)
			tx := l.begin()
			before := l.counters(tx)
			l.must(l.LockTx(l.Context(), tx, l.key))
			if n := l.counters(tx)["Questions"] - before["Questions"] - 1; n != c.want { // SHOW STATUS counts itself
				l.Errorf("%s: %d statements, want %d", name, n, c.want)
			}
			l.must(tx.Commit())
		}
	})
}
