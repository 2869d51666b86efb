package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// refusedAtOnce fails the test unless err says that key is busy, and not because
// the server has waited for it and given up.
func (l *live) refusedAtOnce(err error, key string) {
	l.Helper()
	var busy *txlock.BusyError
	if !errors.As(err, &busy) || busy.Key != key || txlock.IsRetryable(err) {
		l.Fatalf("got %v", err)
	}
	var e *mysql.MySQLError
	if errors.As(err, &e) || strings.Contains(err.Error(), "could not be made") {
		l.Fatalf("it has waited: %v", err)
	}
}

// inTx are the forms with NoWait that take the caller's transaction.
func inTx() map[string]func(ctx context.Context, locker *txlock.Locker, tx *sql.Tx, key string) error {
	return map[string]func(ctx context.Context, locker *txlock.Locker, tx *sql.Tx, key string) error{
		"AcquireTx": func(ctx context.Context, locker *txlock.Locker, tx *sql.Tx, key string) error {
			_, err := locker.AcquireTx(ctx, tx, key, txlock.NoWait())
			return err
		},
		"LockTx": func(ctx context.Context, locker *txlock.Locker, tx *sql.Tx, key string) error {
			return locker.LockTx(ctx, tx, key, txlock.NoWait())
		},
		"AcquireManyTx": func(ctx context.Context, locker *txlock.Locker, tx *sql.Tx, key string) error {
			_, err := locker.AcquireManyTx(ctx, tx, []string{key}, txlock.NoWait())
			return err
		},
	}
}

// ownTx are those with a transaction of their own.
func ownTx() map[string]func(ctx context.Context, locker *txlock.Locker, key string) error {
	return map[string]func(ctx context.Context, locker *txlock.Locker, key string) error{
		"TryAcquire": func(ctx context.Context, locker *txlock.Locker, key string) error {
			lease, err := locker.TryAcquire(ctx, key, txlock.NoWait())
			if err != nil {
				return err
			}
			return lease.Release(ctx)
		},
		"Acquire": func(ctx context.Context, locker *txlock.Locker, key string) error {
			lease, err := locker.Acquire(ctx, key, txlock.NoWait())
			if err != nil {
				return err
			}
			return lease.Release(ctx)
		},
		"Do": func(ctx context.Context, locker *txlock.Locker, key string) error {
			return locker.Do(ctx, key, func(context.Context, *sql.Tx) error { return nil }, txlock.NoWait())
		},
		"Run": func(ctx context.Context, locker *txlock.Locker, key string) error {
			return locker.Run(ctx, key, func(context.Context, *txlock.Lease) error { return nil }, txlock.NoWait())
		},
	}
}

// inTheWay are the ways in which another open transaction can have the key's row.
func inTheWay() map[string]func(l *live) *sql.Tx {
	lock := func(l *live) *sql.Tx {
		other := l.begin()
		l.must(l.LockTx(l.Context(), other, l.key))
		return other
	}
	return map[string]func(l *live) *sql.Tx{
		"inserted": lock, // not committed
		"locked": func(l *live) *sql.Tx {
			l.must(l.try(l.Locker).Release(l.Context()))
			return lock(l)
		},
		"fenced": func(l *live) *sql.Tx {
			lease, other := l.try(l.Locker), l.begin()
			l.must(lease.VerifyTx(l.Context(), other))
			return other
		},
	}
}

// smallTables are databases of one test whose helix_locks is one page: where a page is
// split right before a row that is locked in REPEATABLE READ, InnoDB keeps others from
// inserting before that row, too.
type smallTables struct {
	t         *testing.T
	mu        sync.Mutex
	databases map[*servertest.Instance]string
}

func newSmallTables(t *testing.T) *smallTables {
	return &smallTables{t: t, databases: make(map[*servertest.Instance]string)}
}

// on runs test on every engine, with an empty table but for one key behind the test's own.
func (s *smallTables) on(t *testing.T, test func(l *live)) {
	t.Helper()
	servertest.SideBySide(t, func(t *testing.T, server *servertest.Instance) {
		l := newLive(t, server, func(c *mysql.Config) { c.DBName = s.database(t, server) })
		l.exec(`TRUNCATE TABLE helix_locks`)
		l.must(l.Do(l.Context(), "Z", nothing))
		test(l)
	})
}

func (s *smallTables) database(t *testing.T, server *servertest.Instance) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.databases[server] == "" {
		s.databases[server] = server.MigratedDatabase(s.t)
	}
	return s.databases[server]
}

// neighborsAreFree fails the test unless others can insert keys beside the key; or,
// where behind is false, before it.
func (l *live) neighborsAreFree(behind bool) {
	l.Helper()
	impatient := l.open("innodb_lock_wait_timeout", "1")
	rival := l.beginOn(impatient)
	keys := []string{l.key[:len(l.key)-1], l.key[:len(l.key)-1] + "!"}
	if behind {
		keys = append(keys, l.key+"\x00", l.key+"\xff", l.key[:len(l.key)-1]+"~")
	}
	for _, key := range keys {
		l.must(l.locker(impatient).LockTx(l.Context(), rival, key))
	}
	l.must(rival.Rollback())
	l.must(impatient.Close())
}

// NoWait refuses at once what another open transaction has, and leaves the caller's
// as usable as it was.
func TestNoWaitIsRefusedAtOnce(t *testing.T) {
	tables := newSmallTables(t)
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		for how, obstruct := range inTheWay() {
			for name, call := range inTx() {
				t.Run(fmt.Sprintf("%s/%s/%s", strings.ReplaceAll(level.String(), " ", ""), how, name), func(t *testing.T) {
					tables.on(t, func(l *live) {
						ctx := l.Context()
						other := obstruct(l)
						locker := l.locker(l.db)
						tx := l.begin(&sql.TxOptions{Isolation: level})
						l.bump(tx)
						for range 2 {
							l.refusedAtOnce(call(ctx, locker, tx, l.key), l.key)
						}
						// What is skipped leaves a gap locked behind it, but in READ COMMITTED.
						l.neighborsAreFree(level == sql.LevelReadCommitted)
						l.must(call(ctx, locker, tx, "another than "+l.key))
						if how == "inserted" && level == sql.LevelReadCommitted { // and not there any more
							l.must(other.Rollback())
						} else {
							l.must(other.Commit())
						}
						l.exec(`UPDATE helix_locks SET status = 0, lease_id = 0, expires_at = '1970-01-01' WHERE lock_key = ?`, l.key)
						l.must(call(ctx, locker, tx, l.key))
						l.must(tx.Commit())
						if n := l.counter(l.db); n != 1 {
							l.Errorf("%d business writes are left", n)
						}
					})
				})
			}
		}
	}
}

func TestNoWaitInATransactionOfItsOwn(t *testing.T) {
	for how, obstruct := range inTheWay() {
		for name, call := range ownTx() {
			t.Run(how+"/"+name, func(t *testing.T) {
				onServers(t, func(l *live) {
					other := obstruct(l)
					locker := l.locker(l.db)
					l.refusedAtOnce(call(l.Context(), locker, l.key), l.key)
					l.must(other.Rollback())
					l.exec(`UPDATE helix_locks SET status = 0, lease_id = 0, expires_at = '1970-01-01' WHERE lock_key = ?`, l.key)
					for range 3 { // known by then
						l.must(call(l.Context(), locker, l.key))
					}
					other = obstruct(l)
					l.refusedAtOnce(call(l.Context(), locker, l.key), l.key)
					l.must(other.Rollback())
				})
			})
		}
	}
}

// A fresh key is had without waiting, too, and nobody is kept from its neighbors.
func TestNoWaitOnAFreshKey(t *testing.T) {
	tables := newSmallTables(t)
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		for name, call := range inTx() {
			t.Run(strings.ReplaceAll(level.String(), " ", "")+"/"+name, func(t *testing.T) {
				tables.on(t, func(l *live) {
					tx := l.begin(&sql.TxOptions{Isolation: level})
					l.text(tx, `SELECT COUNT(*) FROM helix_locks`) // an older snapshot
					if level == sql.LevelSerializable {
						l.must(tx.Rollback()) // which has locked what it read
						tx = l.begin(&sql.TxOptions{Isolation: level})
					}
					l.must(call(l.Context(), l.locker(l.db), tx, l.key))
					l.neighborsAreFree(true)
					l.refusedAtOnce(call(l.Context(), l.Locker, l.begin(), l.key), l.key)
					l.must(tx.Commit())
					want := int64(1)
					if strings.HasPrefix(name, "LockTx") {
						want = 0
					}
					if e := l.epoch(); e != want {
						l.Errorf("epoch %d, want %d", e, want)
					}
				})
			})
		}
	}
}

// What is held is held with NoWait as without.
func TestNoWaitOnALease(t *testing.T) {
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		for name, call := range inTx() {
			t.Run(strings.ReplaceAll(level.String(), " ", "")+"/"+name, func(t *testing.T) {
				onServers(t, func(l *live) {
					ctx := l.Context()
					lease := l.try(l.locker(l.db), txlock.TTL(long))
					for range 3 { // unknown, and known
						tx := l.begin(&sql.TxOptions{Isolation: level})
						err := call(ctx, l.Locker, tx, l.key)
						var held *txlock.HeldError
						if !errors.As(err, &held) || held.Key != l.key || held.RetryAfter > long || held.RetryAfter < long-time.Minute {
							l.Fatalf("got %v", err)
						}
						l.bump(tx)
						l.must(tx.Commit())
					}
					if r := l.row(); r.epoch != 1 || r.status != 1 || r.owner != lease.Owner() {
						l.Errorf("changed: %+v", r)
					}
					l.expire()
					tx := l.begin(&sql.TxOptions{Isolation: level})
					l.must(call(ctx, l.Locker, tx, l.key))
					l.must(tx.Commit())
					if e := l.epoch(); e != 2 {
						l.Errorf("epoch %d", e)
					}
					l.wants(lease.Renew(ctx), txlock.ErrLost)
				})
			})
		}
	}
}

func TestNoWaitReclaims(t *testing.T) {
	onServers(t, func(l *live) {
		old := l.try(l.Locker, txlock.TTL(long))
		_, err := l.TryAcquire(l.Context(), l.key, txlock.NoWait())
		l.wants(err, txlock.ErrHeld)
		lease := l.try(l.Locker, txlock.NoWait(), txlock.Reclaim())
		l.wants(old.Renew(l.Context()), txlock.ErrLost)
		l.must(lease.Renew(l.Context()))
		l.must(lease.VerifyTx(l.Context(), l.begin()))
		_, err = l.TryAcquire(l.Context(), l.key, txlock.NoWait(), txlock.Reclaim())
		l.refusedAtOnce(err, l.key)
	})
}

// In the caller's transaction it is one statement, and once the key is known none
// elsewhere.
func TestNoWaitIsOneStatement(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		db := l.server.Open(l.T)
		locker := l.locker(db, txlock.WithSingleWriter())
		for round := range 3 {
			if round == 2 {
				db.SetMaxOpenConns(1) // there is no other connection to use
			}
			tx := l.beginOn(db)
			before := l.counters(tx)
			l.must(locker.LockTx(ctx, tx, l.key, txlock.NoWait()))
			after := l.counters(tx)
			if n := after["Questions"] - before["Questions"] - 1; n != 1 {
				l.Errorf("round %d: %d statements", round, n)
			}
			l.must(tx.Commit())
		}
	})
}

// The row of a key may be made on another connection: a pool that has none is told
// so, and never waited for.
func TestNoWaitInAPoolOfOne(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		db := l.server.Open(l.T)
		db.SetMaxOpenConns(1)
		locker := l.locker(db)
		for name, call := range inTx() {
			tx := l.beginOn(db)
			err := call(ctx, locker, tx, l.key)
			l.wants(err, txlock.ErrInvalidArgument)
			if !strings.Contains(err.Error(), "SetMaxOpenConns") || !strings.Contains(err.Error(), l.key) {
				l.Errorf("%s: %v", name, err)
			}
			l.bump(tx)
			l.must(tx.Commit())
		}
		for name, call := range ownTx() {
			if err := call(ctx, locker, l.key+name); err != nil {
				l.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Two callers that have both connections of the pool do not wait for each other for
// long.
func TestNoWaitInAPoolThatIsBusy(t *testing.T) {
	onServers(t, func(l *live) {
		db := l.server.Open(l.T)
		db.SetMaxOpenConns(2)
		tx, other := l.beginOn(db), l.beginOn(db)
		locker := l.locker(db)
		err := locker.LockTx(l.Context(), tx, l.key, txlock.NoWait())
		l.wants(err, txlock.ErrBusy)
		if txlock.IsRetryable(err) || !strings.Contains(err.Error(), "free connection") {
			l.Error(err)
		}
		l.must(other.Rollback())
		l.must(locker.LockTx(l.Context(), tx, l.key, txlock.NoWait()))
		l.must(tx.Commit())
	})
}

func TestNoWaitWhenTheContextEnds(t *testing.T) {
	onServers(t, func(l *live) {
		ctx, cancel := context.WithCancel(l.Context())
		cancel()
		l.wants(l.LockTx(ctx, l.begin(), l.key, txlock.NoWait()), context.Canceled)
		_, err := l.TryAcquire(ctx, l.key, txlock.NoWait())
		l.wants(err, context.Canceled)
	})
}

// Some servers roll the whole transaction back where a lock wait times out, and
// MariaDB refuses FOR UPDATE NOWAIT with that very error. NoWait skips locked rows
// instead, which is no error: nothing is rolled back.
func TestNoWaitRollsNothingBack(t *testing.T) {
	onServers(t, func(l *live) {
		if l.server.Engine != testserver.MariaDB {
			l.Skip("MySQL has an error of its own for NOWAIT")
		}
		l = newLive(l.T, l.server.Fresh(l.T, "--innodb-rollback-on-timeout=ON"))
		for how, obstruct := range inTheWay() {
			for name, call := range inTx() {
				l.key = how + " " + name
				l.exec(`INSERT INTO counters VALUES (?, 0)`, l.key)
				other, tx := obstruct(l), l.begin()
				l.bump(tx)
				l.refusedAtOnce(call(l.Context(), l.locker(l.db), tx, l.key), l.key)
				l.must(tx.Commit())
				l.must(other.Rollback())
				if n := l.counter(l.db); n != 1 {
					l.Errorf("%s: rolled back", l.key)
				}
			}
		}
	})
}

// Failures of the transaction that makes the row are not told as the caller's
// transaction's own.
func TestNoWaitFailsBesideTheTransaction(t *testing.T) {
	for name, c := range map[string]struct {
		err, want error
	}{
		"deadlock":        {errDeadlock, txlock.ErrBusy},
		"connection lost": {mysql.ErrInvalidConn, txlock.ErrBusy},
		"no table":        {&mysql.MySQLError{Number: 1146, Message: "no table"}, txlock.ErrNotMigrated},
	} {
		for _, op := range []string{"ListKeys", "MakeKey"} {
			t.Run(name+"/"+op, func(t *testing.T) {
				m := newMocked(t, txlock.WithMaxAttempts(1))
				tx := m.begin()
				m.mock.ExpectBegin()
				if op == "ListKeys" {
					m.mock.ExpectQuery("-- name: ListKeys :").WillReturnError(c.err)
					m.mock.ExpectRollback()
				} else {
					m.mock.ExpectQuery("-- name: ListKeys :").WillReturnRows(sqlmock.NewRows([]string{"lock_key", "owner_id", "epoch", "status", "remaining_micros", "acquired_micros_ago", "created_micros_ago", "updated_micros_ago"}))
					m.mock.ExpectRollback()
					m.mock.ExpectBegin()
					m.mock.ExpectExec("-- name: MakeKey :").WillReturnError(c.err)
					m.mock.ExpectRollback()
				}
				err := m.LockTx(t.Context(), tx, "k", txlock.NoWait())
				if !errors.Is(err, c.want) || errors.Is(err, txlock.ErrTxAborted) {
					t.Errorf("got %v", err)
				}
				// So the caller's goes on.
				m.mock.ExpectExec("-- name: EnsureKey :").WillReturnResult(sqlmock.NewResult(4, 1))
				if err := m.LockTx(t.Context(), tx, "k"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A COMMIT of that transaction whose answer is lost is not that of the one that is to
// have the lock: nothing is unknown there.
func TestNoWaitKnowsTheOutcomeBesideTheTransaction(t *testing.T) {
	m := newMocked(t)
	expect := func() {
		m.mock.ExpectBegin()
		m.mock.ExpectQuery("-- name: ListKeys :").WillReturnRows(sqlmock.NewRows([]string{"lock_key"}))
		m.mock.ExpectRollback()
		m.mock.ExpectBegin()
		m.mock.ExpectExec("-- name: MakeKey :").WillReturnResult(sqlmock.NewResult(0, 1))
		m.mock.ExpectCommit().WillReturnError(mysql.ErrInvalidConn)
	}
	refused := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, txlock.ErrBusy) || errors.Is(err, txlock.ErrCommitUnknown) || !strings.Contains(err.Error(), `"k"`) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	tx := m.begin()
	expect()
	refused("LockTx", m.LockTx(t.Context(), tx, "k", txlock.NoWait()))
	expect()
	_, err := m.TryAcquire(t.Context(), "k", txlock.NoWait())
	refused("TryAcquire", err)
	expect()
	refused("Do", m.Do(t.Context(), "k", func(context.Context, *sql.Tx) error { t.Error("called"); return nil }, txlock.NoWait()))
}
