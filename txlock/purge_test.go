package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/lockdb"
	"github.com/gox-helix/gox-helix/txlock"
)

// traffic is lock traffic on few keys beside purges without end. Each lock and each
// lease notes its epoch in its own transaction, while nobody else can have the key.
type traffic struct {
	*live
	isolation  sql.IsolationLevel
	purge      func(ctx context.Context) (int64, error)
	operations atomic.Int64 // committed
	aborted    atomic.Int64
	repeated   atomic.Int64 // epochs that the log has already
	purged     atomic.Int64
}

const (
	trafficWorkers = 16
	trafficPurgers = 3
	trafficKeys    = 300
)

// run works until so many operations are committed, or stop says so.
func (tr *traffic) run(operations int64, stop func() bool) {
	tr.Helper()
	tr.exec(`CREATE TABLE log (id BIGINT AUTO_INCREMENT PRIMARY KEY, k VARBINARY(255) NOT NULL, epoch BIGINT NOT NULL, UNIQUE KEY (k, epoch))`)
	tr.db.SetMaxIdleConns(trafficWorkers + trafficPurgers)
	var workers, purgers sync.WaitGroup
	ctx, cancel := context.WithCancel(tr.Context())
	defer cancel()
	for range trafficPurgers {
		purgers.Go(func() {
			for ctx.Err() == nil {
				n, err := tr.purge(tr.Context()) // to its end
				tr.purged.Add(n)
				if err != nil {
					tr.Errorf("purge: %v", err)
					return
				}
			}
		})
	}
	for range trafficWorkers {
		locker := tr.locker(tr.db, txlock.WithTxOptions(sql.TxOptions{Isolation: tr.isolation}))
		workers.Go(func() {
			for tr.operations.Load() < operations && !stop() && !tr.Failed() {
				key := fmt.Sprintf("%s/%d", tr.key, rand.IntN(trafficKeys))
				var err error
				if rand.IntN(2) == 0 {
					err = tr.lock(locker, key)
				} else {
					err = tr.lease(locker, key)
				}
				var e *mysql.MySQLError
				switch {
				case err == nil:
					tr.operations.Add(1)
				case errors.As(err, &e) && e.Number == 1062:
					tr.repeated.Add(1)
				case txlock.IsRetryable(err):
					tr.aborted.Add(1)
				case !errors.Is(err, txlock.ErrHeld):
					tr.Errorf("%s: %v", key, err)
				}
			}
		})
	}
	workers.Wait()
	cancel()
	purgers.Wait()
}

func (tr *traffic) note(ctx context.Context, tx *sql.Tx, key string, epoch int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO log (k, epoch) VALUES (?, ?)`, []byte(key), epoch)
	return err
}

// lock is a business transaction under Do; it is not retried, so as to be counted.
func (tr *traffic) lock(locker *txlock.Locker, key string) error {
	first := true
	return locker.Do(tr.Context(), key, func(ctx context.Context, tx *sql.Tx) error {
		if !first {
			tr.aborted.Add(1)
		}
		first = false
		epoch, _ := txlock.EpochFromContext(ctx)
		return tr.note(ctx, tx, key, epoch)
	}, txlock.NewEpoch())
}

// lease acquires in a business transaction, and releases after it.
func (tr *traffic) lease(locker *txlock.Locker, key string) error {
	ctx := tr.Context()
	tx, err := tr.db.BeginTx(ctx, &sql.TxOptions{Isolation: tr.isolation})
	if err != nil {
		return err
	}
	lease, err := locker.AcquireTx(ctx, tx, key)
	if err == nil {
		err = tr.note(ctx, tx, key, lease.Epoch())
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return lease.Release(ctx)
}

// violations counts the epochs that are not above the one before them.
func (tr *traffic) violations() int64 {
	tr.Helper()
	var n int64
	tr.must(tr.db.QueryRowContext(tr.Context(), `SELECT COUNT(*) FROM (SELECT epoch, LAG(epoch) OVER (PARTITION BY k ORDER BY id) AS previous FROM log) AS l WHERE epoch <= previous`).Scan(&n))
	return n + tr.repeated.Load()
}

var trafficIsolations = []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead}

// Promise 1 beside purges: however often a key's row is deleted and made anew, its
// epochs rise.
func TestEpochsRiseBesidePurges(t *testing.T) {
	const operations, purged, aborted = 2000, 1000, 40
	for _, isolation := range trafficIsolations {
		t.Run(strings.ReplaceAll(isolation.String(), " ", ""), func(t *testing.T) {
			onServers(t, func(l *live) {
				tr := &traffic{live: l.alone(), isolation: isolation}
				tr.purge = func(ctx context.Context) (int64, error) {
					return tr.Purge(ctx, txlock.PurgeOptions{Idle: time.Microsecond, BatchSize: 100})
				}
				began := time.Now()
				tr.run(operations, func() bool { return tr.repeated.Load() > 0 })
				l.Logf("%d operations, %d rows purged, %d aborts in %v", tr.operations.Load(), tr.purged.Load(), tr.aborted.Load(), time.Since(began))
				if n := tr.violations(); n > 0 {
					l.Errorf("%d epochs do not rise", n)
				}
				if n := tr.purged.Load(); n < purged {
					l.Errorf("%d rows purged, want %d", n, purged)
				}
				if n := tr.aborted.Load(); n > aborted {
					l.Errorf("%d transactions aborted, want at most %d", n, aborted)
				}
			})
		})
	}
}

// The same traffic finds a purge out that forgets the floor.
func TestTrafficFindsAPurgeThatForgetsTheFloor(t *testing.T) {
	for _, isolation := range trafficIsolations {
		t.Run(strings.ReplaceAll(isolation.String(), " ", ""), func(t *testing.T) {
			onServers(t, func(l *live) {
				tr := &traffic{live: l.alone(), isolation: isolation}
				tr.purge = tr.purgeWithoutFloor
				tr.run(10_000, func() bool { return tr.repeated.Load() > 0 })
				if tr.violations() == 0 {
					l.Errorf("all epochs rise in %d operations beside %d rows purged", tr.operations.Load(), tr.purged.Load())
				}
			})
		})
	}
}

// purgeWithoutFloor is a purge of one page, but for RaiseFloors.
func (tr *traffic) purgeWithoutFloor(ctx context.Context) (int64, error) {
	rows, err := lockdb.New(tr.db).PurgeCandidates(ctx, lockdb.PurgeCandidatesParams{Limit: 100})
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	tx, err := tr.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	q := lockdb.New(tx)
	var shards []int16
	var entries, locked []lockdb.Entry
	for _, row := range rows {
		shards = append(shards, int16(row.Shard))
		entries = append(entries, lockdb.Entry{Key: string(row.LockKey)})
	}
	if _, err := q.LockFloors(ctx, shards); err != nil {
		return 0, err
	}
	places, err := q.LockPurgeable(ctx, lockdb.LockPurgeableParams{Batch: lockdb.Batch(entries)})
	if err != nil {
		return 0, err
	}
	for _, place := range places {
		locked = append(locked, entries[place])
	}
	n, err := q.DeleteKeys(ctx, lockdb.Batch(locked))
	if err != nil {
		return 0, err
	}
	return n, tx.Commit()
}

// idle purges all that nobody has.
var idle = txlock.PurgeOptions{Idle: time.Microsecond}

// purges runs a purge that must not wait, and wants this to come of it.
func (l *live) purges(opts txlock.PurgeOptions, want txlock.PurgeProgress) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 20*time.Second)
	defer cancel()
	var last txlock.PurgeProgress
	opts.Progress = func(p txlock.PurgeProgress) { last = p }
	n, err := l.Purge(ctx, opts)
	l.must(err)
	last.LastKey = ""
	if last != want || n != want.Purged {
		l.Errorf("purged %d: %+v, want %+v", n, last, want)
	}
}

// made makes the rows of keys, free.
func (l *live) made(keys ...string) {
	l.Helper()
	for _, key := range keys {
		l.must(l.Do(l.Context(), key, func(context.Context, *sql.Tx) error { return nil }))
	}
}

func TestPurgeTakesWhatIsOver(t *testing.T) {
	onServers(t, func(l *live) {
		l, ctx := l.alone(), l.Context()
		l.made("fresh", "idle", "retired")
		l.must(l.Retire(ctx, "retired"))
		for _, key := range []string{"held", "expired"} {
			l.key = key
			l.try(l.Locker, txlock.TTL(long))
		}
		l.expire()
		l.exec(`UPDATE helix_locks SET updated_at = updated_at - INTERVAL 1 HOUR WHERE lock_key = 'idle'`)

		keys := func() string {
			return l.text(l.db, `SELECT GROUP_CONCAT(CAST(lock_key AS CHAR) ORDER BY lock_key) FROM helix_locks`)
		}
		l.purges(txlock.PurgeOptions{}, txlock.PurgeProgress{Scanned: 5, Purged: 1})
		if got := keys(); got != "expired,fresh,held,idle" {
			l.Errorf("left: %s", got)
		}
		l.purges(txlock.PurgeOptions{Idle: 59 * time.Minute}, txlock.PurgeProgress{Scanned: 4, Purged: 1})
		if got := keys(); got != "expired,fresh,held" {
			l.Errorf("left: %s", got)
		}
		l.purges(txlock.PurgeOptions{Idle: 1}, txlock.PurgeProgress{Scanned: 3, Purged: 1})
		if got := keys(); got != "expired,held" {
			l.Errorf("left: %s", got)
		}
		l.must(l.Retire(ctx, "expired"))
		l.purges(txlock.PurgeOptions{}, txlock.PurgeProgress{Scanned: 2, Purged: 1})
		l.purges(idle, txlock.PurgeProgress{Scanned: 1})
		if got := keys(); got != "held" {
			l.Errorf("left: %s", got)
		}
	})
}

// A floor is raised to the highest epoch of its shard that goes, and never sinks.
func TestPurgeRaisesFloors(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		const shard = 7
		byEpoch := map[string]int{}
		for i := 0; len(byEpoch) < 3; i++ { // keys of one shard
			key := fmt.Sprintf("k%d", i)
			if l.text(l.db, `SELECT CRC32(?) % 256`, key) == fmt.Sprint(shard) {
				byEpoch[key] = []int{5, 41, 12}[len(byEpoch)]
			}
		}
		floor := func() string {
			return l.text(l.db, `SELECT CONCAT(floor_epoch, ' ', (SELECT SUM(floor_epoch) FROM helix_lock_floor)) FROM helix_lock_floor WHERE shard = ?`, shard)
		}
		for _, want := range []string{"41 41", "100 100"} {
			for key, epoch := range byEpoch {
				l.made(key)
				l.exec(`UPDATE helix_locks SET epoch = ? WHERE lock_key = ?`, epoch, []byte(key))
			}
			l.purges(idle, txlock.PurgeProgress{Scanned: 3, Purged: 3})
			if got := floor(); got != want {
				l.Errorf("floors %s, want %s", got, want)
			}
			for key := range byEpoch {
				lease, err := l.TryAcquire(l.Context(), key)
				l.must(err)
				if lease.Epoch() <= 41 {
					l.Errorf("%s: epoch %d after 41", key, lease.Epoch())
				}
			}
			l.exec(`DELETE FROM helix_locks`)
			l.exec(`UPDATE helix_lock_floor SET floor_epoch = 100 WHERE shard = ?`, shard)
		}
	})
}

// What a transaction has locked, the row or the floor, is skipped and left for the
// next purge, be it exclusively or shared.
func TestPurgeNeverWaits(t *testing.T) {
	for name, lock := range map[string]string{
		"a row":           `SELECT * FROM helix_locks WHERE lock_key = 'b' FOR UPDATE`,
		"a row, shared":   `SELECT * FROM helix_locks WHERE lock_key = 'b' LOCK IN SHARE MODE`,
		"a floor":         `SELECT * FROM helix_lock_floor WHERE shard = CRC32('b') % 256 FOR UPDATE`,
		"a floor, shared": `SELECT * FROM helix_lock_floor WHERE shard = CRC32('b') % 256 LOCK IN SHARE MODE`,
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				l = l.alone()
				l.made("a", "b", "c")
				tx := l.begin()
				_, err := tx.ExecContext(l.Context(), lock)
				l.must(err)
				want := txlock.PurgeProgress{Scanned: 3, Purged: 2, Skipped: 1}
				l.purges(idle, want)
				l.must(tx.Rollback())
				l.purges(idle, txlock.PurgeProgress{Scanned: want.Skipped, Purged: want.Skipped})
			})
		})
	}
}

// pausedPurge runs a purge, and calls what is to happen just before it first sends
// a statement of that name.
func (l *live) pausedPurge(before map[string]func()) (int64, error) {
	l.Helper()
	db := sql.OpenDB(countingConnector{config: l.server.Config(), database: l.text(l.db, `SELECT DATABASE()`), before: func(query string) {
		name, _, _ := strings.Cut(strings.TrimPrefix(query, "-- name: "), " ")
		if happens := before[name]; happens != nil {
			delete(before, name)
			happens()
		}
	}})
	defer func() { l.must(db.Close()) }()
	db.SetMaxOpenConns(1)
	return l.locker(db).Purge(l.Context(), idle)
}

// While a batch is being deleted, keys that have a row of their own can be locked,
// and fresh ones of other shards.
func TestPurgeKeepsNobodyWaiting(t *testing.T) {
	onServers(t, func(l *live) {
		l, ctx := l.alone(), l.Context()
		l.made("goes", "gone", "stays", "is held")
		l.key = "is held"
		lease := l.try(l.Locker, txlock.TTL(long))
		l.key = "stays"
		stays := l.try(l.Locker, txlock.TTL(long))
		impatient := l.locker(l.openAlone("innodb_lock_wait_timeout", "1"))
		n, err := l.pausedPurge(map[string]func(){"LockPurgeable": func() {
			l.exec(`DELETE FROM helix_locks WHERE lock_key = 'gone'`)
		}, "DeleteKeys": func() {
			l.must(stays.Release(ctx))
			l.must(lease.Renew(ctx))
			for _, key := range []string{"stays", "\x00between", "goes\x00", "gone\x00", "h", "z"} { // the gaps are free, too
				_, err := impatient.TryAcquire(ctx, key)
				l.must(err)
			}
			_, err := impatient.TryAcquire(ctx, "goes")
			l.wants(err, txlock.ErrBusy)
		}})
		l.must(err)
		if n != 1 {
			l.Errorf("%d rows purged", n)
		}
	})
}

// openAlone is open in the database of the test.
func (l *live) openAlone(variable, value string) *sql.DB {
	l.Helper()
	name := l.text(l.db, `SELECT DATABASE()`)
	return l.server.Open(l.T, func(c *mysql.Config) { c.DBName, c.Params = name, map[string]string{variable: value} })
}

// A key that is acquired, locked or gone since it was seen is not purged.
func TestPurgeLooksAgain(t *testing.T) {
	onServers(t, func(l *live) {
		l, ctx := l.alone(), l.Context()
		for _, statement := range []string{"LockFloors", "LockPurgeable"} {
			l.made("acquired", "gone", "idle", "used")
			n, err := l.pausedPurge(map[string]func(){statement: func() {
				l.key = "acquired"
				l.try(l.Locker, txlock.TTL(long))
				l.exec(`UPDATE helix_locks SET updated_at = UTC_TIMESTAMP(6) + INTERVAL 1 MINUTE WHERE lock_key = 'used'`)
				l.exec(`DELETE FROM helix_locks WHERE lock_key = 'gone'`)
			}})
			l.must(err)
			if got := l.text(l.db, `SELECT GROUP_CONCAT(CAST(lock_key AS CHAR) ORDER BY lock_key) FROM helix_locks`); n != 1 || got != "acquired,used" {
				l.Errorf("%d rows purged, %s are left", n, got)
			}
			l.must(l.Revoke(ctx, "acquired"))
		}
	})
}

// A purge that is stopped says how far it came; another one does the rest.
func TestPurgeInterrupted(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		const rows = 2500
		l.fill(rows)
		ctx, cancel := context.WithCancel(l.Context())
		defer cancel()
		var reports []txlock.PurgeProgress
		n, err := l.Purge(ctx, txlock.PurgeOptions{Idle: time.Microsecond, BatchSize: 300, Progress: func(p txlock.PurgeProgress) {
			reports = append(reports, p)
			cancel()
		}})
		l.wants(err, context.Canceled)
		want := txlock.PurgeProgress{Scanned: 1000, Purged: 1000, LastKey: "00000999"}
		if n != 1000 || len(reports) != 1 || reports[0] != want {
			l.Errorf("purged %d: %+v", n, reports)
		}
		if left := l.text(l.db, `SELECT COUNT(*) FROM helix_locks`); left != "1500" {
			l.Errorf("%s rows are left", left)
		}
		l.purges(idle, txlock.PurgeProgress{Scanned: 1500, Purged: 1500})
		l.purges(idle, txlock.PurgeProgress{})
	})
}

// A batch that the server aborts is run again, and looks again.
func TestPurgeRunsAnAbortedBatchAgain(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		l.db.SetMaxOpenConns(1) // so that there is one other, the purge's
		l.made("a", "b", "c")
		n, err := l.pausedPurge(map[string]func(){"DeleteKeys": func() {
			// Its connection goes, and with it its transaction.
			id := l.text(l.db, `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()`)
			l.exec(`KILL ` + id)
			l.key = "b"
			l.try(l.Locker)
		}})
		l.must(err)
		if got := l.text(l.db, `SELECT GROUP_CONCAT(CAST(lock_key AS CHAR)) FROM helix_locks`); n != 2 || got != "b" {
			l.Errorf("%d rows purged, %s are left", n, got)
		}
	})
}

// A shard without a floor is an error, not a row that is skipped for ever.
func TestPurgeWithoutFloor(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		l.made("a")
		l.exec(`DELETE FROM helix_lock_floor`)
		n, err := l.Purge(l.Context(), idle)
		l.wants(err, txlock.ErrNotMigrated)
		if n != 0 {
			l.Errorf("%d rows purged", n)
		}
	})
}
