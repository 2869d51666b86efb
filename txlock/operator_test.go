package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// inspect is Inspect of the test's key.
func (l *live) inspect() *txlock.Info {
	l.Helper()
	info, err := l.Inspect(l.Context(), l.key)
	l.must(err)
	return info
}

func TestInspect(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		_, err := l.Inspect(ctx, l.key)
		l.wants(err, txlock.ErrNotFound)
		var missing *txlock.NotFoundError
		if !errors.As(err, &missing) || missing.Key != l.key {
			l.Errorf("got %v", err)
		}

		lease := l.try(l.Locker, txlock.TTL(long))
		i := l.inspect()
		if i.Key != l.key || i.Owner != l.Owner() || i.Epoch != lease.Epoch() || i.Status != txlock.StatusActive || !i.Held() {
			l.Errorf("under a lease: %+v", i)
		}
		if i.Remaining > long || i.Remaining < long-10*time.Minute {
			l.Errorf("%v of an hour remain", i.Remaining)
		}
		l.exec(`UPDATE helix_locks SET acquired_at = acquired_at - INTERVAL 1 MINUTE, created_at = created_at - INTERVAL 3 HOUR, updated_at = updated_at - INTERVAL 5 SECOND WHERE lock_key = ?`, l.key)
		i = l.inspect()
		for what, c := range map[string]struct{ got, want time.Duration }{
			"acquired": {i.SinceAcquired, time.Minute},
			"created":  {i.SinceCreated, 3 * time.Hour},
			"updated":  {i.SinceUpdated, 5 * time.Second},
		} {
			if c.got < c.want || c.got > c.want+time.Minute-10*time.Second {
				l.Errorf("%s %v ago, want %v", what, c.got, c.want)
			}
		}

		l.expire()
		if i = l.inspect(); i.Held() || i.Status != txlock.StatusActive || i.Remaining > -59*time.Minute {
			l.Errorf("expired: %+v", i)
		}
		l.must(lease.Renew(ctx))
		l.must(lease.Release(ctx))
		if i = l.inspect(); i.Held() || i.Status != txlock.StatusInactive || i.Remaining != 0 {
			l.Errorf("released: %+v", i)
		}
		l.must(l.Retire(ctx, l.key))
		if i = l.inspect(); i.Held() || i.Status != txlock.StatusDeletable {
			l.Errorf("retired: %+v", i)
		}
	})
}

// What looks is never kept waiting, and keeps nobody waiting, also where plain
// reads of the session would lock.
func TestReadersDoNotWait(t *testing.T) {
	onServers(t, func(l *live) {
		l.try(l.Locker)
		db := l.open("transaction_isolation", "'SERIALIZABLE'")
		if l.server.Engine == "mariadb" {
			db = l.open("tx_isolation", "'SERIALIZABLE'")
		}
		db.SetMaxOpenConns(1)
		reader := l.locker(db)
		tx := l.begin()
		_, err := tx.ExecContext(l.Context(), `UPDATE helix_locks SET epoch = epoch + 100 WHERE lock_key = ?`, l.key)
		l.must(err)
		ctx, cancel := context.WithTimeout(l.Context(), 20*time.Second)
		defer cancel()
		info, err := reader.Inspect(ctx, l.key)
		l.must(err)
		infos, err := reader.List(ctx, txlock.ListOptions{Prefix: l.key})
		l.must(err)
		if info.Epoch != 1 || len(infos) != 1 || infos[0].Epoch != 1 {
			l.Errorf("read %+v and %+v", info, infos)
		}
	})
}

// keysOf are the keys' ends behind the test's own.
func (l *live) keysOf(infos []txlock.Info, err error) []string {
	l.Helper()
	l.must(err)
	var keys []string
	for _, i := range infos {
		keys = append(keys, strings.TrimPrefix(i.Key, l.key))
	}
	return keys
}

// Prefixes and pages are of bytes.
func TestListByBytes(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		l.key = "" // the database is this test's own
		full := strings.Repeat("\xff", 255)
		keys := []string{"\x00", "\x00\x00", "A", "a", "a ", "a\x00", "a\xff", "a\xff\xff", "a\xffb", "b", "é", "\xfe", "\xfe\xff", "\xff", "\xff\x00", "\xff\xff", full[:254], full, "a" + full[1:]}
		for _, key := range keys {
			l.exec(`INSERT INTO helix_locks VALUES (?, 'o', 1, 1, 0, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))`, []byte(key))
		}
		slices.Sort(keys)
		for _, prefix := range append([]string{"", "zz"}, keys...) {
			var want []string
			for _, key := range keys {
				if strings.HasPrefix(key, prefix) {
					want = append(want, key)
				}
			}
			if got := l.keysOf(l.List(l.Context(), txlock.ListOptions{Prefix: prefix})); !slices.Equal(got, want) {
				l.Errorf("prefix %q: got %q, want %q", prefix, got, want)
			}
			var paged []string
			for info, err := range l.All(l.Context(), txlock.ListOptions{Prefix: prefix, Limit: 1}) {
				l.must(err)
				paged = append(paged, info.Key)
			}
			if !slices.Equal(paged, want) {
				l.Errorf("prefix %q in pages: got %q, want %q", prefix, paged, want)
			}
		}
		if got := l.keysOf(l.List(l.Context(), txlock.ListOptions{Prefix: "a", After: "A"})); len(got) != 7 {
			l.Errorf("after a key before the prefix: got %q", got)
		}
		if got := l.keysOf(l.List(l.Context(), txlock.ListOptions{Prefix: "a", After: "b"})); len(got) != 0 {
			l.Errorf("after a key behind the prefix: got %q", got)
		}
		if got := l.keysOf(l.List(l.Context(), txlock.ListOptions{After: "a\x00\x00"})); got[0] != "a " {
			l.Errorf("after a key that is not there: got %q", got)
		}
	})
}

func TestListFilters(t *testing.T) {
	onServers(t, func(l *live) {
		ctx, base := l.Context(), l.key
		for _, key := range []string{"/1 held", "/2 expired", "/3 released", "/4 retired"} {
			l.key = base + key
			lease := l.try(l.Locker, txlock.TTL(long))
			switch key[1] {
			case '2':
				l.expire()
			case '3':
				l.must(lease.Release(ctx))
			case '4':
				l.must(lease.Release(ctx))
				l.must(l.Retire(ctx, l.key))
			}
		}
		l.key = base
		for want, opts := range map[string]txlock.ListOptions{
			"1234": {},
			"12":   {Statuses: []txlock.Status{txlock.StatusActive}},
			"3":    {Statuses: []txlock.Status{txlock.StatusInactive}},
			"34":   {Statuses: []txlock.Status{txlock.StatusInactive, txlock.StatusDeletable}},
			"2":    {Expired: true},
			"23":   {After: base + "/1 held", Limit: 2},
			"4":    {Statuses: []txlock.Status{txlock.StatusDeletable}, Limit: 1},
		} {
			opts.Prefix = base + "/"
			got := ""
			for _, key := range l.keysOf(l.List(ctx, opts)) {
				got += key[1:2]
			}
			if got != want {
				l.Errorf("%+v: got %s, want %s", opts, got, want)
			}
		}
	})
}

// fill makes n free rows, with keys of eight digits from 0 on, by the server.
func (l *live) fill(n int) {
	l.Helper()
	const digits = `(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)`
	for from := 0; from < n; from += 100_000 {
		l.exec(`INSERT INTO helix_locks SELECT LPAD(k, 8, '0'), 'o', 1, 1, 0, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)
			FROM (SELECT ? + a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d AS k FROM `+digits+` a, `+digits+` b, `+digits+` c, `+digits+` d, `+digits+` e) AS n WHERE k < ?`, from, n)
	}
}

// However many keys there are, a statement reads one page.
func TestAllReadsInPages(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		l.exec(`DELETE FROM helix_locks`)
		const rows, page = 20_000, 500
		l.fill(rows)
		statements := 0
		db := sql.OpenDB(countingConnector{config: l.server.Config(), database: l.text(l.db, `SELECT DATABASE()`), read: func(query string, read int) {
			if strings.HasPrefix(query, "-- name: ListKeys") {
				statements++
				if read > page {
					l.Errorf("a statement read %d rows", read)
				}
			}
		}})
		defer func() { l.must(db.Close()) }()
		db.SetMaxOpenConns(1)
		locker := l.locker(db)
		n, last := 0, ""
		for info, err := range locker.All(l.Context(), txlock.ListOptions{Limit: page}) {
			l.must(err)
			if info.Key <= last {
				l.Fatalf("%q after %q", info.Key, last)
			}
			if n == rows/2 { // the pool's one connection is free
				_, err := locker.Inspect(l.Context(), info.Key)
				l.must(err)
			}
			n, last = n+1, info.Key
		}
		if n != rows || statements != rows/page+2 { // one of them is Inspect's
			l.Errorf("%d keys in %d statements", n, statements)
		}
		for _, err := range locker.All(l.Context(), txlock.ListOptions{Limit: page}) {
			l.must(err)
			break
		}
		if statements != rows/page+3 {
			l.Errorf("an iteration that stopped at once read on")
		}
		ctx, cancel := context.WithCancel(l.Context())
		defer cancel()
		n = 0
		for _, err := range locker.All(ctx, txlock.ListOptions{Limit: page}) {
			if n++; n == 1 {
				cancel()
			}
			if n > page {
				l.wants(err, context.Canceled)
			}
		}
		if n != page+1 {
			l.Errorf("%d steps after the end of the context", n)
		}
	})
}

// Revoking ends a lease for good; whoever waits for the key here gets it at once.
func TestRevoke(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		l.must(l.Revoke(ctx, l.key))
		if l.row().found {
			l.Fatal("revoking made a row")
		}
		for name, prepare := range map[string]func() *txlock.Lease{
			"held":    func() *txlock.Lease { return l.try(l.Locker, txlock.TTL(long)) },
			"expired": func() *txlock.Lease { le := l.try(l.Locker); l.expire(); return le },
			"kept": func() *txlock.Lease {
				le := l.try(l.Locker, txlock.TTL(long))
				l.must(le.KeepAlive(ctx))
				return le
			},
		} {
			lease := prepare()
			l.must(l.locker(l.db).Revoke(ctx, l.key))
			if r := l.row(); r.epoch != lease.Epoch()+1 || r.status != 0 {
				l.Errorf("%s: %+v after lease %d", name, r, lease.Epoch())
			}
			l.wants(lease.Renew(ctx), txlock.ErrLost)
			l.wants(lease.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }), txlock.ErrLost)
			l.wants(lease.Release(ctx), txlock.ErrLost)
		}

		l.try(l.Locker, txlock.TTL(long))
		asked := make(chan struct{}, 1)
		db := sql.OpenDB(countingConnector{config: l.server.Config(), database: l.text(l.db, `SELECT DATABASE()`), read: func(query string, _ int) {
			if strings.HasPrefix(query, "-- name: ListKeys") {
				select {
				case asked <- struct{}{}:
				default:
				}
			}
		}})
		defer func() { l.must(db.Close()) }()
		patient := l.locker(db, txlock.WithPollInterval(time.Hour))
		before := l.epoch()
		acquired := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := patient.Acquire(ctx, l.key)
			acquired <- err
		}()
		// It asks less and less often, first after five milliseconds or more.
		for range 5 {
			<-asked
		}
		l.must(patient.Revoke(ctx, l.key))
		l.must(<-acquired)
		if e := l.epoch(); e != before+2 {
			l.Errorf("epoch %d after %d", e, before)
		}
	})
}

// A fenced transaction that came first is waited for.
// On a cluster of several writers a key that seems to have no row may have one on
// another server: the row that is made here meets it at COMMIT.
func TestMultiWriterRevokesAndRetiresAFreshKey(t *testing.T) {
	onServers(t, func(l *live) {
		multi := l.locker(l.db, txlock.WithMultiWriter())
		l.must(multi.Revoke(l.Context(), l.key))
		if r := l.row(); r.epoch != 1 || r.status != 0 {
			l.Errorf("revoked: %+v", r)
		}
		l.key += "'"
		l.must(multi.Retire(l.Context(), l.key))
		if r := l.row(); r.epoch != 0 || r.status != 2 {
			l.Errorf("retired: %+v", r)
		}
	})
}

func TestRevokeWaitsForFencedTransactions(t *testing.T) {
	onServers(t, func(l *live) {
		lease := l.try(l.Locker)
		tx := l.begin()
		l.must(lease.VerifyTx(l.Context(), tx))
		l.must(l.waits(func() error { return l.Revoke(l.Context(), l.key) }, func() {
			l.bump(tx)
			l.must(tx.Commit())
		}))
		l.wants(lease.Renew(l.Context()), txlock.ErrLost)

		impatient := l.locker(l.open("innodb_lock_wait_timeout", "1"))
		lease = l.try(l.Locker)
		tx = l.begin()
		l.must(lease.VerifyTx(l.Context(), tx))
		l.wants(impatient.Revoke(l.Context(), l.key), txlock.ErrBusy)
		l.must(tx.Commit())
		l.must(lease.Renew(l.Context()))
	})
}

func TestRetire(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		l.must(l.Retire(ctx, l.key))
		if l.row().found {
			l.Fatal("retiring made a row")
		}
		lease := l.try(l.Locker, txlock.TTL(long))
		err := l.Retire(ctx, l.key)
		var held *txlock.HeldError
		if !errors.As(err, &held) || held.Key != l.key || held.RetryAfter > long || held.RetryAfter < long-10*time.Minute {
			l.Errorf("held: got %v", err)
		}
		l.must(lease.Renew(ctx))
		l.must(lease.Release(ctx))
		for range 2 {
			l.must(l.Retire(ctx, l.key))
			if r := l.row(); r.status != 2 || r.epoch != lease.Epoch() {
				l.Errorf("retired: %+v", r)
			}
		}
		lease = l.try(l.Locker)
		l.expire()
		l.must(l.Retire(ctx, l.key))
		l.wants(lease.Renew(ctx), txlock.ErrLost)
		if r := l.row(); r.status != 2 {
			l.Errorf("expired and retired: %+v", r)
		}
	})
}

func TestOperatorsUnderEveryDSN(t *testing.T) {
	newYork := time.FixedZone("EST", -5*3600)
	param := func(name, value string) func(*mysql.Config) {
		return func(c *mysql.Config) { c.Params = map[string]string{name: value} }
	}
	for name, configure := range map[string]func(*mysql.Config){
		"default":           func(*mysql.Config) {},
		"clientFoundRows":   func(c *mysql.Config) { c.ClientFoundRows = true },
		"parseTime and loc": func(c *mysql.Config) { c.ParseTime, c.Loc = true, newYork },
		"interpolateParams": func(c *mysql.Config) { c.InterpolateParams = true },
		"time_zone":         param("time_zone", "'-09:30'"),
		"autocommit=0":      param("autocommit", "0"),
		"sql_select_limit":  param("sql_select_limit", "1"),
		"utf16":             param("collation_connection", "utf16_general_ci"),
		"sql_mode":          param("sql_mode", "'NO_UNSIGNED_SUBTRACTION,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE,PIPES_AS_CONCAT,ANSI_QUOTES'"),
		"one connection":    func(*mysql.Config) {},
	} {
		t.Run(name, func(t *testing.T) {
			servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
				l := newLive(t, s).alone()
				if l.readsNoLists(name + "_") {
					return
				}
				database := l.text(l.db, `SELECT DATABASE()`)
				db := s.Open(t, func(c *mysql.Config) { configure(c); c.DBName = database })
				db.SetMaxOpenConns(1)
				locker, ctx := l.locker(db), t.Context()
				if name == "sql_mode" {
					l.must(locker.Prepare(ctx))
				}
				lease := l.try(locker, txlock.TTL(long))
				info, err := locker.Inspect(ctx, l.key)
				l.must(err)
				if info.Remaining > long || info.Remaining < long-10*time.Minute || info.SinceUpdated < 0 || info.SinceUpdated > time.Minute {
					t.Errorf("%+v", info)
				}
				l.wants(locker.Retire(ctx, l.key), txlock.ErrHeld)
				l.must(locker.Revoke(ctx, l.key))
				l.wants(lease.Renew(ctx), txlock.ErrLost)
				l.must(locker.Retire(ctx, l.key))
				l.fill(250)
				infos, err := locker.List(ctx, txlock.ListOptions{Statuses: []txlock.Status{txlock.StatusDeletable}})
				l.must(err)
				if len(infos) != 1 || infos[0].Key != l.key {
					t.Errorf("listed %+v", infos)
				}
				n, err := locker.Purge(ctx, txlock.PurgeOptions{})
				l.must(err)
				if n != 1 || l.row().found {
					t.Errorf("%d rows purged, %+v", n, l.row())
				}
				l.must(err)
				n, err = locker.Purge(ctx, txlock.PurgeOptions{Idle: time.Microsecond})
				l.must(err)
				if left := l.text(l.db, `SELECT COUNT(*) FROM helix_locks`); n != 250 || left != "0" {
					t.Errorf("%d rows purged, %s are left", n, left)
				}
				if e := l.try(locker).Epoch(); e <= info.Epoch+1 {
					t.Errorf("epoch %d after %d", e, info.Epoch+1)
				}
			})
		})
	}
}
