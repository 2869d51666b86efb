package txlock_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// A database without the tables, or with some of them: every operation says which
// command creates them.
func TestNotMigrated(t *testing.T) {
	const goose = `/migrations/sql" -table helix_goose_db_version mysql`
	for name, c := range map[string]struct {
		ddl        []string
		says, cure string
	}{
		"nothing":      {nil, "doesn't exist", goose},
		"only floor":   {[]string{`CREATE TABLE helix_lock_floor (shard SMALLINT PRIMARY KEY, floor_epoch BIGINT NOT NULL)`}, "doesn't exist", goose},
		"older table":  {[]string{`CREATE TABLE helix_lock_floor (shard SMALLINT PRIMARY KEY, floor_epoch BIGINT NOT NULL)`, `CREATE TABLE helix_locks (lock_key VARCHAR(255), status TINYINT)`}, "nknown column", goose},
		"empty floors": {[]string{`CREATE TABLE helix_lock_floor (shard SMALLINT PRIMARY KEY, floor_epoch BIGINT NOT NULL)`, lockTable}, "no row", "txlock migrate verify, or migrations.Verify, says how to restore it"},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				lease := l.try(l.Locker) // made while the tables were there
				database := l.server.EmptyDatabase(t)
				db := l.server.Open(t, func(c *mysql.Config) { c.DBName = database })
				for _, ddl := range c.ddl {
					_, err := db.ExecContext(ctx, ddl)
					l.must(err)
				}
				locker := l.locker(db)
				_, acquireErr := locker.TryAcquire(ctx, l.key)
				errs := map[string]error{
					"TryAcquire": acquireErr,
					"Do":         locker.Do(ctx, l.key, func(context.Context, *sql.Tx) error { t.Error("called"); return nil }),
				}
				if name != "empty floors" {
					errs["Prepare"] = locker.Prepare(ctx)
					tx := l.beginOn(db)
					errs["VerifyTx"] = lease.VerifyTx(ctx, tx)
				}
				for op, err := range errs {
					if name == "only floor" && op == "VerifyTx" {
						continue // says the same, of the other table
					}
					if !errors.Is(err, txlock.ErrNotMigrated) || !strings.Contains(err.Error(), c.cure) || !strings.Contains(err.Error(), c.says) {
						t.Errorf("%s: got %v", op, err)
					}
				}
			})
		})
	}
}

const lockTable = `CREATE TABLE helix_locks (
	lock_key VARBINARY(255) PRIMARY KEY, owner_id VARBINARY(255) NOT NULL, epoch BIGINT NOT NULL, lease_id BIGINT NOT NULL, status TINYINT NOT NULL,
	expires_at DATETIME(6) NOT NULL, acquired_at DATETIME(6) NOT NULL, created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL)`

// A holder whose connection is killed frees the key at once, and its Do runs the
// whole transaction again.
func TestKilledConnection(t *testing.T) {
	onServers(t, func(l *live) {
		attempts := 0
		l.must(l.Do(l.Context(), l.key, func(ctx context.Context, tx *sql.Tx) error {
			l.bump(tx)
			if attempts++; attempts == 1 {
				l.exec(`KILL CONNECTION ` + l.text(tx, `SELECT CONNECTION_ID()`))
				_, err := tx.ExecContext(ctx, `SELECT 1`)
				return err
			}
			return nil
		}))
		if n := l.counter(l.db); n != 1 || attempts != 2 {
			l.Errorf("%d writes after %d attempts", n, attempts)
		}
	})
}

// A statement that waits for the lock when its connection is killed.
func TestKilledWhileWaiting(t *testing.T) {
	onServers(t, func(l *live) {
		holder := l.begin()
		l.must(l.LockTx(l.Context(), holder, l.key))
		tx := l.begin()
		connection := l.text(tx, `SELECT CONNECTION_ID()`)
		err := l.waits(
			func() error { return l.locker(l.db).LockTx(l.Context(), tx, l.key) },
			func() { l.exec(`KILL CONNECTION ` + connection) })
		l.wants(err, txlock.ErrTxAborted)
		l.must(holder.Commit())
	})
}

// A context that ends while the server makes a statement wait ends the statement
// and its transaction; nothing was locked.
func TestContextEndsWhileWaiting(t *testing.T) {
	onServers(t, func(l *live) {
		holder := l.begin()
		l.must(l.LockTx(l.Context(), holder, l.key))
		ctx, cancel := context.WithCancel(l.Context())
		locker := l.locker(l.db)
		err := l.waits(
			func() error {
				return locker.Do(ctx, l.key, func(context.Context, *sql.Tx) error { return errors.New("called") })
			}, cancel)
		l.wants(err, context.Canceled)
		l.must(holder.Commit())
		l.must(locker.Do(l.Context(), l.key, func(context.Context, *sql.Tx) error { return nil }))
	})
}

// A context that has ended before anything was sent leaves the caller's
// transaction as it was.
func TestContextEndedBefore(t *testing.T) {
	onServers(t, func(l *live) {
		ctx, cancel := context.WithCancel(l.Context())
		cancel()
		tx := l.begin()
		l.bump(tx)
		l.wants(l.LockTx(ctx, tx, l.key), context.Canceled)
		l.must(tx.Commit())
		if n := l.counter(l.db); n != 1 {
			l.Error("the transaction was touched")
		}
	})
}

// cutter is a connection that ends at COMMIT, once, when it is armed.
type cutter struct {
	net.Conn
	armed *atomic.Bool
	sent  bool // whether COMMIT still reaches the server
}

var errCut = errors.New("connection cut by the test")

func (c *cutter) Write(p []byte) (int, error) {
	if !bytes.Contains(p, []byte("COMMIT")) || !c.armed.CompareAndSwap(true, false) {
		return c.Conn.Write(p)
	}
	if !c.sent {
		return 0, errors.Join(errCut, c.Close())
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		return n, err
	}
	// The answer, which the client does not get to see, says that the server is
	// done.
	_, err = c.Read(make([]byte, 64))
	return n, errors.Join(err, c.Close())
}

// cutting is a pool whose next COMMIT is cut off, after it was sent or before.
func (l *live) cutting(sent bool) (*sql.DB, *atomic.Bool) {
	l.Helper()
	armed := new(atomic.Bool)
	return l.server.Open(l.T, func(c *mysql.Config) {
		address := c.Addr
		c.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &cutter{Conn: conn, armed: armed, sent: sent}, nil
		}
	}), armed
}

// A connection that is lost after COMMIT was sent: the outcome is unknown, said
// to be so, and not retried. (Here it was committed.)
func TestCommitCutAfterSending(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		db, armed := l.cutting(true)
		locker := l.locker(db)
		calls := 0
		write := func(_ context.Context, tx *sql.Tx) error { calls++; l.bump(tx); return nil }
		unknown := func(what string, err error, epoch int64) {
			l.Helper()
			var e *txlock.CommitUnknownError
			if !errors.As(err, &e) || e.Key != l.key || e.Owner != locker.Owner() || e.Epoch != epoch || txlock.IsRetryable(err) {
				l.Fatalf("%s: got %v", what, err)
			}
		}

		armed.Store(true)
		unknown("Do", locker.Do(ctx, l.key, write, txlock.NewEpoch()), 1)
		if n := l.counter(l.db); n != 1 || calls != 1 {
			l.Errorf("%d writes in %d calls", n, calls)
		}

		armed.Store(true)
		lease, err := locker.TryAcquire(ctx, l.key)
		unknown("TryAcquire", err, 2)
		if lease != nil {
			l.Error("a lease was returned with an error")
		}

		lease, err = locker.TryAcquire(ctx, l.key, txlock.Reclaim())
		l.must(err)
		armed.Store(true)
		unknown("InTx", lease.InTx(ctx, write), lease.Epoch())
		if n := l.counter(l.db); n != 2 || calls != 2 {
			l.Errorf("%d writes in %d calls", n, calls)
		}
		armed.Store(true)
		unknown("Renew", lease.Renew(ctx), lease.Epoch())
		l.must(lease.Renew(ctx))
		armed.Store(true)
		unknown("Release", lease.Release(ctx), lease.Epoch())
		l.wants(lease.Release(ctx), txlock.ErrLost) // it had been released
	})
}

// A connection that is lost before COMMIT was sent: the server rolls back, and
// all of it is run again.
func TestCommitCutBeforeSending(t *testing.T) {
	onServers(t, func(l *live) {
		db, armed := l.cutting(false)
		calls := 0
		armed.Store(true)
		l.must(l.locker(db).Do(l.Context(), l.key, func(_ context.Context, tx *sql.Tx) error { calls++; l.bump(tx); return nil }))
		if n := l.counter(l.db); n != 1 || calls != 2 {
			l.Errorf("%d writes in %d calls", n, calls)
		}
	})
}

// A trigger's own statements hide the answer that an acquisition gives in its OK
// packet: said to be so, and nothing is committed. A lock needs no such answer.
func TestTriggerHidesTheAnswer(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		ctx := l.Context()
		nothing := func(context.Context, *sql.Tx) error { return nil }
		known := l.locker(l.db)
		for range 2 {
			l.must(known.Do(ctx, l.key, nothing))
		}
		l.exec(`CREATE TABLE audit (id BIGINT PRIMARY KEY AUTO_INCREMENT, k VARBINARY(255))`)
		l.exec(`CREATE TRIGGER audit_updates AFTER UPDATE ON helix_locks FOR EACH ROW INSERT INTO audit (k) VALUES (NEW.lock_key)`)
		before := l.row()
		for name, locker := range map[string]*txlock.Locker{"known": known, "unaware": l.Locker} {
			if _, err := locker.TryAcquire(ctx, l.key); err == nil || !strings.Contains(err.Error(), "trigger") {
				l.Errorf("%s: got %v", name, err)
			}
			if err := locker.Do(ctx, l.key, nothing); err != nil {
				l.Errorf("%s: %v", name, err)
			}
		}
		if r := l.row(); r != before {
			l.Errorf("the row is %+v, was %+v", r, before)
		}
	})
}

// A worker that restarts under its stable name takes its own lease back, and the
// lease of its earlier life is fenced.
func TestReclaim(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		worker := txlock.WithOwner("worker of " + l.key)
		earlier := l.try(l.locker(l.db, worker), txlock.TTL(long))
		restarted := l.locker(l.db, worker)
		_, err := restarted.TryAcquire(ctx, l.key)
		l.wants(err, txlock.ErrHeld)
		lease := l.try(restarted, txlock.Reclaim())
		if lease.Epoch() != earlier.Epoch()+1 {
			l.Errorf("epoch %d after %d", lease.Epoch(), earlier.Epoch())
		}
		l.wants(earlier.Renew(ctx), txlock.ErrLost)
		l.must(lease.Renew(ctx))
	})
}

// A server that is killed under load and comes back keeps what was committed:
// epochs go on rising, leases still stand.
func TestServerRestart(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		s = s.Fresh(t)
		l := newLive(t, s)
		lease := l.try(l.Locker, txlock.TTL(long))
		l.must(s.Kill())
		l.must(s.Restart(t.Context()))
		l.must(lease.InTx(t.Context(), func(_ context.Context, tx *sql.Tx) error { l.bump(tx); return nil }))
		_, err := l.locker(l.db).TryAcquire(t.Context(), l.key)
		l.wants(err, txlock.ErrHeld)
		l.must(lease.Release(t.Context()))
		if e := l.try(l.Locker).Epoch(); e != lease.Epoch()+1 {
			l.Errorf("epoch %d after %d", e, lease.Epoch())
		}
	})
}
