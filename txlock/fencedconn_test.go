package txlock_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
)

// connector connects to the test's database.
func (l *live) connector(configure ...func(*mysql.Config)) driver.Connector {
	l.Helper()
	database, err := l.server.Database()
	l.must(err)
	c := l.server.Config()
	c.DBName = database
	for _, f := range configure {
		f(c)
	}
	connector, err := mysql.NewConnector(c)
	l.must(err)
	return connector
}

// fenced is a pool that lease fences.
func (l *live) fenced(lease *txlock.Lease, base driver.Connector, opts ...txlock.FenceOption) *sql.DB {
	l.Helper()
	db := sql.OpenDB(txlock.FencedConnector(base, lease, opts...))
	l.Cleanup(func() { l.must(db.Close()) })
	return db
}

// takeOver lets another holder have the key, as after the first one's expiry.
func (l *live) takeOver() *txlock.Lease {
	l.Helper()
	l.expire()
	return l.try(l.locker(l.db))
}

// preparer is a pool, a connection or a transaction.
type preparer interface {
	PrepareContext(context.Context, string) (*sql.Stmt, error)
}

// prepare prepares a statement until the end of the test.
func (l *live) prepare(p preparer, text string) prepared {
	l.Helper()
	stmt, err := p.PrepareContext(l.Context(), text)
	l.must(err)
	l.Cleanup(func() { _ = stmt.Close() })
	return prepared{stmt}
}

// prepared is closed by the test's cleanup.
type prepared struct{ *sql.Stmt }

// tryPrepare is why a statement cannot be prepared.
func (l *live) tryPrepare(p preparer, text string) error {
	stmt, err := p.PrepareContext(l.Context(), text)
	if err == nil {
		defer func() { _ = stmt.Close() }()
	}
	return err
}

// tryQuery is why a statement cannot be sent for rows, or read.
func (l *live) tryQuery(q interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, text string, args ...any) error {
	rows, err := q.QueryContext(l.Context(), text, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	return rows.Err()
}

const bumpText = `UPDATE counters SET n = n + 1 WHERE name = ?`

// dsns are ways to connect that change what the driver sends, or when.
var dsns = map[string]func(*mysql.Config){
	"plain":           func(*mysql.Config) {},
	"interpolated":    func(c *mysql.Config) { c.InterpolateParams = true },
	"autocommit=0":    func(c *mysql.Config) { c.Params = map[string]string{"autocommit": "0"} },
	"clientFoundRows": func(c *mysql.Config) { c.ClientFoundRows = true },
	"multiStatements": func(c *mysql.Config) { c.MultiStatements = true },
}

func (l *live) onDSNs(test func(l *live, base driver.Connector)) {
	l.Helper()
	for name, configure := range dsns {
		l.T.Run(name, func(t *testing.T) {
			sub := newLive(t, l.server)
			test(sub, sub.connector(configure))
		})
	}
}

// Everything that plain code does goes through, in a pool of one connection.
func TestFencedConnector(t *testing.T) {
	onServers(t, func(l *live) {
		l.onDSNs(func(l *live, base driver.Connector) {
			ctx := l.Context()
			lease := l.try(l.Locker)
			db := l.fenced(lease, base)
			db.SetMaxOpenConns(1)
			l.must(db.PingContext(ctx))

			// Transactions: committed, rolled back, read-only.
			tx := l.beginOn(db, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
			l.bump(tx)
			if n := l.counter(tx); n != 1 {
				l.Errorf("counter is %d in the transaction, want 1", n)
			}
			if n := l.counter(l.db); n != 0 {
				l.Errorf("counter is %d beside the transaction, want 0", n)
			}
			l.must(tx.Commit())
			tx = l.beginOn(db)
			l.bump(tx)
			l.must(tx.Rollback())
			tx = l.beginOn(db, &sql.TxOptions{ReadOnly: true})
			l.counter(tx)
			l.must(tx.Commit())
			if n := l.counter(l.db); n != 1 {
				l.Errorf("counter is %d, want 1", n)
			}

			// Savepoints, prepared statements, settings, temporary tables.
			tx = l.beginOn(db)
			stmt := l.prepare(tx, bumpText)
			var err error
			for _, text := range []string{"SAVEPOINT a", "", "ROLLBACK TO SAVEPOINT a", "RELEASE SAVEPOINT a", "", "SET @x = 1", "SET time_zone = '+00:00'",
				"CREATE TEMPORARY TABLE fenced_temporary (a INT)", "INSERT INTO fenced_temporary VALUES (1)", "DROP TEMPORARY TABLE fenced_temporary"} {
				if text == "" {
					_, err = stmt.ExecContext(ctx, l.key)
				} else {
					_, err = tx.ExecContext(ctx, text)
				}
				l.must(err)
			}
			l.must(tx.Commit())
			if n := l.counter(l.db); n != 2 {
				l.Errorf("counter is %d, want 2", n)
			}

			// Outside of a transaction.
			result, err := db.ExecContext(ctx, bumpText, l.key)
			l.must(err)
			if n, err := result.RowsAffected(); n != 1 || err != nil {
				l.Errorf("RowsAffected: %d, %v", n, err)
			}
			_, err = db.ExecContext(ctx, `UPDATE counters SET n = n + 1 WHERE name = '`+l.key+`'`)
			l.must(err)
			stmt = l.prepare(db, bumpText)
			for range 2 {
				_, err = stmt.ExecContext(ctx, l.key)
				l.must(err)
			}
			if n := l.counter(l.db); n != 6 {
				l.Errorf("counter is %d, want 6: something was not committed", n)
			}
			_, err = db.ExecContext(ctx, `SET @x = 1`)
			l.must(err)
			if n := l.counter(db); n != 6 {
				l.Errorf("counter is %d in a read, want 6", n)
			}
			_, err = db.ExecContext(ctx, `INSERT INTO counters VALUES (?, 0)`, l.key)
			var duplicate *mysql.MySQLError
			if !errors.As(err, &duplicate) || duplicate.Number != 1062 {
				l.Errorf("got %v, want what the server says of a duplicate", err)
			}
		})
	})
}

// A stale holder's transactions end before they begin, and so do its bare writes.
func TestFencedConnectorStale(t *testing.T) {
	onServers(t, func(l *live) {
		l.onDSNs(func(l *live, base driver.Connector) {
			ctx := l.Context()
			lease := l.try(l.Locker)
			db := l.fenced(lease, base)
			db.SetMaxOpenConns(1)
			stmt := l.prepare(db, bumpText)
			l.bump(db)
			rival := l.takeOver()

			wantsLost := func(err error) {
				l.Helper()
				var lost *txlock.LostError
				if !errors.As(err, &lost) || lost.Key != l.key || lost.Epoch != lease.Epoch() {
					l.Errorf("got %v, want a LostError of the lease", err)
				}
			}
			for _, opts := range []*sql.TxOptions{nil, {Isolation: sql.LevelSerializable}, {ReadOnly: true}} {
				_, err := db.BeginTx(ctx, opts)
				wantsLost(err)
			}
			_, err := db.ExecContext(ctx, bumpText, l.key)
			wantsLost(err)
			_, err = db.ExecContext(ctx, `UPDATE counters SET n = n + 1`)
			wantsLost(err)
			_, err = stmt.ExecContext(ctx, l.key)
			wantsLost(err)
			wantsLost(context.Cause(lease.Context()))
			if n := l.counter(db); n != 1 {
				l.Errorf("counter is %d, want 1: a stale write was let through", n)
			}
			l.must(rival.Release(ctx)) // nothing is left open that has the row
		})
	})
}

// Who takes over waits for a fenced transaction, also for a bare write's.
func TestFencedConnectorHoldsOffATakeover(t *testing.T) {
	onServers(t, func(l *live) {
		for name, opts := range map[string]*sql.TxOptions{"writing": nil, "read-only": {ReadOnly: true}} {
			l.T.Run(name, func(t *testing.T) {
				l := newLive(t, l.server)
				rivals := l.locker(l.db)
				lease := l.try(l.Locker)
				l.expire()
				tx := l.beginOn(l.fenced(lease, l.connector()), opts)
				err := l.waits(func() error {
					_, err := rivals.TryAcquire(l.Context(), l.key)
					return err
				}, func() {
					if e := l.epoch(); e != lease.Epoch() {
						t.Errorf("epoch %d while the transaction is open, want %d", e, lease.Epoch())
					}
					l.must(tx.Commit())
				})
				l.must(err)
			})
		}
	})
}

// unfenceable are statements that are refused everywhere.
var unfenceable = []string{
	`CREATE TABLE refused (a INT)`, `ALTER TABLE counters ADD COLUMN a INT`, `DROP TABLE counters`, `TRUNCATE counters`, `TRUNCATE TABLE counters`,
	`LOCK TABLES counters WRITE`, `UNLOCK TABLES`, `START TRANSACTION`, `BEGIN`, `COMMIT`, `ROLLBACK`, `SET autocommit = 1`, `SET @@autocommit = 1`,
	`XA START 'a'`, `CALL refused()`, `/*!50000 COMMIT */`, `SELECT /*! 1 */`, `SELECT 1; COMMIT`, `UPDATE counters SET n = 100; COMMIT`, `USE mysql`,
	`PREPARE s FROM 'COMMIT'`, `COMMIT; SELECT 1`,
}

// What cannot be fenced is refused, however it is sent, and a transaction in which
// that happened goes on under its fence.
func TestFencedConnectorRefuses(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease := l.try(l.Locker)
		base := l.connector(func(c *mysql.Config) { c.MultiStatements = true })
		db := l.fenced(lease, base)
		db.SetMaxOpenConns(1)
		refused := func(how, text string, err error) {
			l.Helper()
			if !errors.Is(err, txlock.ErrUnfenced) {
				l.Errorf("%s of %q: got %v, want ErrUnfenced", how, text, err)
			}
		}

		l.expire()
		tx := l.beginOn(db)
		l.bump(tx)
		for _, text := range unfenceable {
			_, err := tx.ExecContext(ctx, text)
			refused("Exec in a transaction", text, err)
			refused("Query in a transaction", text, l.tryQuery(tx, text))
			refused("Prepare in a transaction", text, l.tryPrepare(tx, text))
		}
		if n := l.counter(l.db); n != 0 {
			l.Errorf("counter is %d beside the transaction, want 0: something has committed it", n)
		}
		l.must(l.waits(func() error {
			_, err := l.locker(l.db).TryAcquire(ctx, l.key)
			return err
		}, func() { l.must(tx.Commit()) })) // the fence was in place to the end

		lease = l.takeOver()
		db = l.fenced(lease, base)
		for _, text := range unfenceable {
			_, err := db.ExecContext(ctx, text)
			refused("Exec", text, err)
			refused("Query", text, l.tryQuery(db, text))
			refused("Prepare", text, l.tryPrepare(db, text))
		}
		for _, text := range []string{`SAVEPOINT a`, `ROLLBACK TO a`, `RELEASE SAVEPOINT a`} {
			_, err := db.ExecContext(ctx, text)
			refused("Exec", text, err)
		}
		for _, text := range []string{`INSERT INTO counters VALUES ('a', 1) RETURNING n`, bumpText, `SELECT n FROM counters FOR UPDATE`, `SELECT 1 INTO @a`} {
			refused("Query", text, l.tryQuery(db, text))
		}
		stmt := l.prepare(db, bumpText)
		refused("prepared Query", bumpText, stmt.QueryRowContext(ctx, l.key).Err())

		strict := l.fenced(lease, base, txlock.RefuseBareWrites())
		_, err := strict.ExecContext(ctx, bumpText, l.key)
		refused("strict Exec", bumpText, err)
		stmt = l.prepare(strict, bumpText)
		_, err = stmt.ExecContext(ctx, l.key)
		refused("strict prepared Exec", bumpText, err)
		if n := l.counter(strict); n != 1 {
			l.Errorf("counter is %d, want 1", n)
		}
		tx = l.beginOn(strict)
		l.bump(tx)
		l.must(tx.Commit())
	})
}

// A procedure is called only where that was asked for, and then fenced.
func TestFencedConnectorAllowCalls(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		l.exec(`CREATE PROCEDURE bump_all() UPDATE counters SET n = n + 1`)
		base := l.connector(func(c *mysql.Config) { c.DBName = l.text(l.db, `SELECT DATABASE()`) })
		lease := l.try(l.Locker)
		db := l.fenced(lease, base, txlock.AllowCalls())
		_, err := db.ExecContext(l.Context(), `CALL bump_all()`)
		l.must(err)
		tx := l.beginOn(db)
		_, err = tx.ExecContext(l.Context(), `CALL bump_all()`)
		l.must(err)
		l.must(tx.Commit())
		l.takeOver()
		_, err = db.ExecContext(l.Context(), `CALL bump_all()`)
		l.wants(err, txlock.ErrLost)
		if n := l.counter(l.db); n != 2 {
			l.Errorf("counter is %d, want 2", n)
		}
	})
}

// After the server has aborted a transaction nothing more is sent in it: it would
// run in autocommit, and stay.
func TestFencedConnectorAutocommitTrap(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease := l.try(l.Locker)
		db := l.fenced(lease, l.connector())
		for i := range 20 {
			l.exec(`INSERT INTO counters VALUES (?, 0)`, fmt.Sprintf("%s/%d", l.key, i))
		}
		other := l.key + "/0"

		stmt := l.prepare(db, bumpText)
		victim, heavy := l.beginOn(db), l.begin()
		_, err := heavy.ExecContext(ctx, `UPDATE counters SET n = n + 1 WHERE name LIKE ?`, l.key+"/%")
		l.must(err)
		l.bump(victim)
		var heavyErr error
		err = l.waits(func() error {
			_, err := victim.ExecContext(ctx, bumpText, other)
			return err
		}, func() { _, heavyErr = heavy.ExecContext(ctx, bumpText, l.key) })
		l.must(heavyErr)
		var deadlock *mysql.MySQLError
		if !errors.As(err, &deadlock) || deadlock.Number != 1213 {
			l.Fatalf("got %v, want a deadlock", err)
		}
		l.must(heavy.Rollback())

		for _, text := range []string{bumpText, `SELECT n FROM counters WHERE name = ?`} {
			_, err = victim.ExecContext(ctx, text, l.key)
			l.wants(err, txlock.ErrTxAborted)
			l.wants(l.tryQuery(victim, text, l.key), txlock.ErrTxAborted)
			l.wants(l.tryPrepare(victim, text), txlock.ErrTxAborted)
		}
		inTx := victim.StmtContext(ctx, stmt.Stmt)
		defer func() { _ = inTx.Close() }()
		_, err = inTx.ExecContext(ctx, l.key)
		l.wants(err, txlock.ErrTxAborted)
		_, err = victim.ExecContext(ctx, `ROLLBACK TO SAVEPOINT a`)
		l.wants(err, txlock.ErrTxAborted)
		err = victim.Commit()
		l.wants(err, txlock.ErrTxAborted)
		if !txlock.IsRetryable(err) || !errors.As(err, &deadlock) {
			l.Errorf("%v should be retryable, and say why", err)
		}
		if n := l.counter(l.db); n != 0 {
			l.Errorf("counter is %d, want 0: a write survived the rollback", n)
		}
		l.bump(db) // the pool is as good as new
	})
}

// A lock wait that timed out may have rolled back all: only a savepoint that is
// still there proves that it has not.
func TestFencedConnectorLockWaitTimeout(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease := l.try(l.Locker)
		other := l.key + "/other"
		l.exec(`INSERT INTO counters VALUES (?, 0)`, other)
		db := l.fenced(lease, l.connector(func(c *mysql.Config) { c.Params = map[string]string{"innodb_lock_wait_timeout": "1"} }))
		blocker := l.begin()
		_, err := blocker.ExecContext(ctx, bumpText, other)
		l.must(err)

		tx := l.beginOn(db)
		l.bump(tx)
		_, err = tx.ExecContext(ctx, `SAVEPOINT a`)
		l.must(err)
		_, err = tx.ExecContext(ctx, bumpText, other)
		var timeout *mysql.MySQLError
		if !errors.As(err, &timeout) || timeout.Number != 1205 {
			l.Fatalf("got %v, want a lock wait timeout", err)
		}
		_, err = tx.ExecContext(ctx, bumpText, l.key)
		l.wants(err, txlock.ErrTxAborted)
		_, err = tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT nowhere`)
		if err == nil || errors.Is(err, txlock.ErrTxAborted) {
			l.Fatalf("got %v, want what the server says of that savepoint", err)
		}
		_, err = tx.ExecContext(ctx, bumpText, l.key)
		l.wants(err, txlock.ErrTxAborted)
		_, err = tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT a`)
		l.must(err)
		l.bump(tx)
		l.must(tx.Commit())
		if n := l.counter(l.db); n != 2 {
			l.Errorf("counter is %d, want 2", n)
		}

		tx = l.beginOn(db)
		l.bump(tx)
		_, err = tx.ExecContext(ctx, bumpText, other)
		if err == nil {
			l.Fatal("got no timeout")
		}
		l.wants(tx.Commit(), txlock.ErrTxAborted)
		if n := l.counter(l.db); n != 2 {
			l.Errorf("counter is %d, want 2", n)
		}

		// The fence itself.
		l.must(blocker.Rollback())
		blocker = l.begin()
		_, err = blocker.ExecContext(ctx, `SELECT 1 FROM helix_locks WHERE lock_key = ? FOR UPDATE`, l.key)
		l.must(err)
		_, err = db.BeginTx(ctx, nil)
		l.wants(err, txlock.ErrBusy)
		_, err = db.ExecContext(ctx, bumpText, l.key)
		l.wants(err, txlock.ErrBusy)
		l.must(blocker.Rollback())
		l.bump(db)
	})
}

// A connection that is lost, or a context that ends, ends the transaction, and
// the pool goes on with another connection.
func TestFencedConnectorLostConnection(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease := l.try(l.Locker)
		db := l.fenced(lease, l.connector())
		db.SetMaxOpenConns(1)

		tx := l.beginOn(db)
		l.bump(tx)
		l.exec(`KILL ` + l.text(tx, `SELECT CONNECTION_ID()`))
		if _, err := tx.ExecContext(ctx, bumpText, l.key); err == nil {
			l.Error("a statement on a killed connection succeeded")
		}
		_, err := tx.ExecContext(ctx, bumpText, l.key)
		l.wants(err, txlock.ErrTxAborted)
		l.wants(tx.Commit(), txlock.ErrTxAborted)

		tx = l.beginOn(db)
		l.bump(tx)
		l.exec(`KILL ` + l.text(tx, `SELECT CONNECTION_ID()`))
		l.wants(tx.Commit(), txlock.ErrCommitUnknown)

		ending, cancel := context.WithCancel(ctx)
		tx, err = db.BeginTx(ending, nil)
		l.must(err)
		_, err = tx.ExecContext(ending, bumpText, l.key)
		l.must(err)
		cancel()
		if err := tx.Commit(); !errors.Is(err, sql.ErrTxDone) && !errors.Is(err, context.Canceled) {
			l.Errorf("Commit: %v", err)
		}
		_, err = db.BeginTx(ending, nil)
		l.wants(err, context.Canceled)
		_, err = db.ExecContext(ending, bumpText, l.key)
		l.wants(err, context.Canceled)

		if n := l.counter(db); n != 0 {
			l.Errorf("counter is %d, want 0", n)
		}
		l.bump(db)
	})
}

// The lease and the Locker may end before the pool.
func TestFencedConnectorAfterTheEnd(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		locker := l.locker(l.db)
		lease := l.try(locker)
		db := l.fenced(lease, l.connector())
		l.bump(db)
		l.must(lease.Release(ctx))
		_, err := db.BeginTx(ctx, nil)
		l.wants(err, txlock.ErrLost)
		_, err = db.ExecContext(ctx, bumpText, l.key)
		l.wants(err, txlock.ErrLost)
		l.must(locker.Close())
		_, err = db.BeginTx(ctx, nil)
		l.wants(err, txlock.ErrClosed)
		_, err = db.ExecContext(ctx, bumpText, l.key)
		l.wants(err, txlock.ErrClosed)
		if n := l.counter(db); n != 1 {
			l.Errorf("counter is %d, want 1", n)
		}
	})
}

// On a multi-writer cluster the fence writes, and renews a kept lease.
func TestFencedConnectorMultiWriter(t *testing.T) {
	onServers(t, func(l *live) {
		locker := l.locker(l.db, txlock.WithMultiWriter())
		lease := l.try(locker, txlock.TTL(long))
		db := l.fenced(lease, l.connector())
		before := l.text(l.db, `SELECT updated_at FROM helix_locks WHERE lock_key = ?`, l.key)
		l.bump(db)
		if after := l.text(l.db, `SELECT updated_at FROM helix_locks WHERE lock_key = ?`, l.key); after == before {
			l.Error("the fence wrote nothing")
		}
		read := func() {
			l.Helper()
			tx := l.beginOn(db, &sql.TxOptions{ReadOnly: true})
			l.counter(tx)
			l.must(tx.Commit())
		}
		read()

		l.must(lease.KeepAlive(l.Context()))
		read()
		expires := l.text(l.db, `SELECT expires_at FROM helix_locks WHERE lock_key = ?`, l.key)
		deadline := lease.Deadline()
		l.bump(db)
		if after := l.text(l.db, `SELECT expires_at FROM helix_locks WHERE lock_key = ?`, l.key); after <= expires {
			l.Errorf("expires at %s, want later than %s: the fence did not renew", after, expires)
		}
		if !lease.Deadline().After(deadline) {
			l.Error("the deadline was not moved")
		}
		l.takeOver()
		_, err := db.ExecContext(l.Context(), bumpText, l.key)
		l.wants(err, txlock.ErrLost)
	})
}

// Promise 2: while holders take the key from each other, all through fenced pools,
// no write of a stale one lands after a newer one's: the epochs that are written
// next to the counter never go back, and no update is lost.
func TestFencedConnectorKeepsStaleWritesOut(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		l.exec(`CREATE TABLE IF NOT EXISTS fenced_writes (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARBINARY(255) NOT NULL, epoch BIGINT NOT NULL, bare BOOL NOT NULL)`)
		base := l.connector()
		const holders, rounds = 4, 12
		var wg sync.WaitGroup
		for holder := range holders {
			wg.Go(func() {
				locker, err := txlock.New(l.db)
				if err != nil {
					l.Error(err)
					return
				}
				for range rounds {
					lease, err := locker.TryAcquire(ctx, l.key, txlock.TTL(long))
					if errors.Is(err, txlock.ErrHeld) { // as if it had expired: its holder is none the wiser
						if _, err := l.db.ExecContext(ctx, `UPDATE helix_locks SET expires_at = UTC_TIMESTAMP() - INTERVAL 1 HOUR WHERE lock_key = ?`, l.key); err != nil {
							l.Error(err)
						}
						continue
					}
					if err != nil {
						l.Error(err)
						return
					}
					if err := l.writeUntilLost(lease, base, holder%2 == 0); err != nil {
						l.Error(err)
					}
				}
			})
		}
		wg.Wait()

		back := l.text(l.db, `SELECT COUNT(*) FROM fenced_writes AS a JOIN fenced_writes AS b ON a.name = b.name AND a.id < b.id AND a.epoch > b.epoch WHERE a.name = ?`, l.key)
		if back != "0" {
			l.Errorf("%s pairs of writes where the later one has the older epoch", back)
		}
		written := l.text(l.db, `SELECT COUNT(*) FROM fenced_writes WHERE name = ? AND NOT bare`, l.key)
		if n := fmt.Sprint(l.counter(l.db)); n != written {
			l.Errorf("counter is %s after %s transactions: updates were lost", n, written)
		}
	})
}

// writeUntilLost writes a few times under lease, or until it is lost.
func (l *live) writeUntilLost(lease *txlock.Lease, base driver.Connector, bare bool) error {
	db := sql.OpenDB(txlock.FencedConnector(base, lease))
	defer func() { _ = db.Close() }()
	ctx := l.Context()
	insert := `INSERT INTO fenced_writes (name, epoch, bare) VALUES (?, ?, ?)`
	for range 4 {
		var err error
		if bare {
			_, err = db.ExecContext(ctx, insert, l.key, lease.Epoch(), true)
		} else {
			err = func() error {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				defer func() { _ = tx.Rollback() }()
				var n int64
				if err := tx.QueryRowContext(ctx, `SELECT n FROM counters WHERE name = ?`, l.key).Scan(&n); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, insert, l.key, lease.Epoch(), false); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, `UPDATE counters SET n = ? WHERE name = ?`, n+1, l.key); err != nil {
					return err
				}
				return tx.Commit()
			}()
		}
		switch {
		case errors.Is(err, txlock.ErrLost):
			return nil
		case err != nil && !txlock.IsRetryable(err):
			return err
		}
	}
	return nil
}

// A connection on which something is left open does not go back to the pool.
func TestFencedConnectorRaw(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		db := l.fenced(l.try(l.Locker), l.connector())
		db.SetMaxOpenConns(1)
		conn, err := db.Conn(ctx)
		l.must(err)
		tx, err := conn.BeginTx(ctx, nil)
		l.must(err)
		_, err = conn.BeginTx(ctx, nil)
		l.wants(err, txlock.ErrUnfenced)
		l.must(tx.Commit())
		id := l.text(conn, `SELECT CONNECTION_ID()`)
		l.must(conn.Raw(func(c any) error {
			conn := c.(interface { //nolint:errcheck // panics
				driver.ConnBeginTx
				driver.ExecerContext
			})
			if _, err := conn.BeginTx(ctx, driver.TxOptions{}); err != nil { // and is never ended
				return err
			}
			_, err := conn.ExecContext(ctx, `UPDATE counters SET n = n + 1`, nil)
			return err
		}))
		l.must(conn.Close())
		if again := l.text(db, `SELECT CONNECTION_ID()`); again == id {
			l.Error("a connection with an open transaction was used again")
		}
		if n := l.counter(l.db); n != 0 {
			l.Errorf("counter is %d, want 0", n)
		}
	})
}
