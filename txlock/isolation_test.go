package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/txlock"
)

// Whatever the isolation level, and however old the transaction's snapshot, every
// operation decides on the newest committed row.
func TestIsolationLevels(t *testing.T) {
	for _, level := range []sql.IsolationLevel{sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		t.Run(strings.ReplaceAll(level.String(), " ", ""), func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				rival := l.locker(l.db)
				opts := &sql.TxOptions{Isolation: level}
				staleLease := l.try(l.Locker)
				l.must(staleLease.Release(ctx))

				// The snapshot says free, the newest row says held.
				tx := l.begin(opts)
				l.text(tx, `SELECT COUNT(*) FROM counters`)
				held := l.try(rival, txlock.TTL(long))
				_, err := l.AcquireTx(ctx, tx, l.key)
				if l.conflicts(err) {
					return // MariaDB's innodb_snapshot_isolation: has its own test
				}
				l.wants(err, txlock.ErrHeld)
				l.wants(staleLease.VerifyTx(ctx, tx), txlock.ErrLost)
				l.must(tx.Rollback())

				// The snapshot says held, the newest row says free.
				tx = l.begin(opts)
				l.text(tx, `SELECT COUNT(*) FROM counters`)
				l.must(held.Release(ctx))
				before := l.epoch()
				lease, err := l.AcquireTx(ctx, tx, l.key)
				l.must(err)
				if lease.Epoch() != before+1 {
					l.Errorf("epoch %d after %d", lease.Epoch(), before)
				}
				l.must(lease.VerifyTx(ctx, tx))
				l.must(lease.RenewTx(ctx, tx))
				l.must(lease.ReleaseTx(ctx, tx))
				l.must(tx.Commit())
				check := func(_ context.Context, tx *sql.Tx) error {
					if got := l.isolation(tx); got != strings.ToUpper(level.String()) {
						l.Errorf("a transaction was begun at %s, want %s", got, level)
					}
					return nil
				}
				configured := l.locker(l.db, txlock.WithTxOptions(*opts))
				l.must(configured.Do(ctx, l.key, check))
				l.must(l.try(configured).InTx(ctx, check))
			})
		})
	}
}

// isolation is the level of the transaction that is open on q, as InnoDB has it.
// The table shows nothing new, and no longer what is old, until nobody has read it
// for a tenth of a second.
func (l *live) isolation(q querier) (level string) {
	l.Helper()
	for {
		<-time.After(110 * time.Millisecond)
		err := q.QueryRowContext(l.Context(), `SELECT trx_isolation_level FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()`).Scan(&level)
		if !errors.Is(err, sql.ErrNoRows) {
			l.must(err)
			return level
		}
	}
}

// conflicts says that err is a server's answer under innodb_snapshot_isolation.
func (l *live) conflicts(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == 1020
}

// MariaDB from 11.6.2 refuses to lock a row that has changed since the
// transaction's snapshot, and rolls everything back. Earlier ones can be told to;
// MySQL has nothing like it.
func TestSnapshotIsolationAborts(t *testing.T) {
	for name, c := range map[string]struct {
		call    func(l *live, tx *sql.Tx, lease *txlock.Lease) error
		onMySQL error
	}{
		"LockTx":    {func(l *live, tx *sql.Tx, _ *txlock.Lease) error { return l.LockTx(l.Context(), tx, l.key) }, txlock.ErrHeld},
		"RenewTx":   {func(l *live, tx *sql.Tx, lease *txlock.Lease) error { return lease.RenewTx(l.Context(), tx) }, nil},
		"VerifyTx":  {func(l *live, tx *sql.Tx, lease *txlock.Lease) error { return lease.VerifyTx(l.Context(), tx) }, nil},
		"ReleaseTx": {func(l *live, tx *sql.Tx, lease *txlock.Lease) error { return lease.ReleaseTx(l.Context(), tx) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				db := l.db
				if l.server.Engine == testserver.MariaDB {
					db = l.open("innodb_snapshot_isolation", "1")
				}
				lease := l.try(l.Locker)
				tx := l.beginOn(db)
				l.text(tx, `SELECT COUNT(*) FROM helix_locks`)
				l.bump(tx)
				l.must(lease.Renew(ctx)) // changes the row after the snapshot
				before := l.row()
				err := c.call(l, tx, lease)
				if l.server.Engine == testserver.MySQL { // decides on the newest row
					l.wants(err, c.onMySQL)
					return
				}
				l.wants(err, txlock.ErrTxAborted)
				if !txlock.IsRetryable(err) || !l.conflicts(err) {
					l.Errorf("got %v", err)
				}
				l.wants(c.call(l, tx, lease), txlock.ErrTxAborted) // not in autocommit
				l.must(tx.Rollback())
				if r := l.row(); r != before || l.counter(l.db) != 0 {
					l.Errorf("left behind: %+v, was %+v; counter %d", r, before, l.counter(l.db))
				}
			})
		})
	}
}

// A lock wait that times out undoes its statement alone: the transaction is open,
// with what it wrote before, and without the lock.
func TestLockWaitTimeout(t *testing.T) {
	for name, call := range map[string]func(l *live, locker *txlock.Locker, tx *sql.Tx, stale *txlock.Lease) error{
		"LockTx": func(l *live, locker *txlock.Locker, tx *sql.Tx, _ *txlock.Lease) error {
			return locker.LockTx(l.Context(), tx, l.key)
		},
		"AcquireTx": func(l *live, locker *txlock.Locker, tx *sql.Tx, _ *txlock.Lease) error {
			_, err := locker.AcquireTx(l.Context(), tx, l.key)
			return err
		},
		"VerifyTx": func(l *live, _ *txlock.Locker, tx *sql.Tx, stale *txlock.Lease) error {
			return stale.VerifyTx(l.Context(), tx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				stale := l.try(l.Locker)
				l.must(stale.Release(l.Context()))
				holder := l.begin()
				l.must(l.LockTx(l.Context(), holder, l.key))

				impatient := l.open("innodb_lock_wait_timeout", "1")
				tx := l.beginOn(impatient)
				l.bump(tx)
				err := call(l, l.locker(impatient), tx, stale)
				var busy *txlock.BusyError
				if !errors.As(err, &busy) || busy.Key != l.key || !errors.Is(err, txlock.ErrBusy) || txlock.IsRetryable(err) {
					l.Fatalf("got %v", err)
				}
				if n := l.counter(tx); n != 1 {
					l.Errorf("the transaction lost its earlier write: %d", n)
				}
				before := l.epoch()
				l.must(tx.Commit())
				l.must(holder.Rollback())
				if r := l.row(); r.epoch != before || l.counter(l.db) != 1 {
					l.Errorf("left behind: %+v, counter %d", r, l.counter(l.db))
				}
			})
		})
	}
}

// A deadlock takes the whole transaction of one of the two: nothing of it stays,
// nothing more can be locked in it, and the other goes on.
func TestDeadlock(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		other := l.key + "/other"
		for _, key := range []string{l.key, other} { // existing rows
			l.must(l.Do(ctx, key, func(context.Context, *sql.Tx) error { return nil }))
		}
		epoch := l.epoch()
		a, b := l.begin(), l.begin()
		l.bump(b) // the heavier of the two, so a is the victim
		lock := func(tx *sql.Tx, key string) error { return l.LockTx(ctx, tx, key, txlock.NewEpoch()) }
		l.must(lock(a, l.key))
		l.must(lock(b, other))

		var errB error
		errA := l.waits(func() error { return lock(a, other) }, func() {
			errB = lock(b, l.key)
		})
		victim, survivor := a, b
		if errA == nil {
			victim, survivor, errA, errB = b, a, errB, errA
			l.must(survivor.Rollback())
			survivor = nil
		}
		l.wants(errA, txlock.ErrTxAborted)
		l.must(errB)
		if !txlock.IsRetryable(errA) {
			l.Errorf("%v is not retryable", errA)
		}
		l.wants(l.LockTx(ctx, victim, l.key+"/third"), txlock.ErrTxAborted)
		l.must(victim.Rollback())
		if survivor != nil {
			l.must(survivor.Commit())
		}
		if e := l.epoch(); survivor != nil && e != epoch+1 {
			l.Errorf("epoch %d, want %d: one lock of the survivor, none of the victim", e, epoch+1)
		}
		if n := l.text(l.db, `SELECT COUNT(*) FROM helix_locks WHERE lock_key = ?`, l.key+"/third"); n != "0" {
			l.Error("a lock was taken outside of any transaction")
		}
	})
}

// Do runs the victim of a deadlock again: two workers that take two keys in
// opposite order both get through, and both writes stand.
func TestDoSurvivesDeadlocks(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		other := l.key + "/other"
		for _, key := range []string{l.key, other} {
			l.must(l.Do(ctx, key, func(context.Context, *sql.Tx) error { return nil }))
		}
		met := make(chan struct{}, 2) // both hold their first key once it is full
		run := func(first, second string) func() error {
			attempts := 0
			return func() error {
				return l.Do(ctx, first, func(ctx context.Context, tx *sql.Tx) error {
					if attempts++; attempts == 1 {
						met <- struct{}{}
						for len(met) < cap(met) {
							l.text(tx, `SELECT 1`)
						}
					}
					if err := l.LockTx(ctx, tx, second); err != nil {
						return err
					}
					l.bump(tx)
					return nil
				})
			}
		}
		errs := make(chan error, 2)
		go func() { errs <- run(l.key, other)() }()
		go func() { errs <- run(other, l.key)() }()
		l.must(<-errs)
		l.must(<-errs)
		if n := l.counter(l.db); n != 2 {
			l.Errorf("%d of 2 writes stand", n)
		}
	})
}
