package migrations_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/gox-helix/gox-helix/migrations"
)

func (d *database) sessionLocker(opts ...migrations.LockOption) lock.SessionLocker {
	d.Helper()
	return ok[lock.SessionLocker](d.T)(migrations.NewSessionLocker(opts...))
}

func (d *database) conn(db *sql.DB) *sql.Conn {
	d.Helper()
	conn := ok[*sql.Conn](d.T)(db.Conn(d.Context()))
	d.Cleanup(func() {
		if err := conn.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
			d.Error(err)
		}
	})
	return conn
}

func (d *database) connectionID(conn *sql.Conn) (id int64) {
	d.Helper()
	if err := conn.QueryRowContext(d.Context(), `SELECT CONNECTION_ID()`).Scan(&id); err != nil {
		d.Fatal(err)
	}
	return id
}

func TestSessionLocker(t *testing.T) {
	onServers(t, func(d *database) {
		first, second := d.conn(d.db), d.conn(d.db)
		l := d.sessionLocker(migrations.LockWait(0))
		lockIt := func(conn *sql.Conn) error { return l.SessionLock(d.Context(), conn) }
		if err := lockIt(first); err != nil {
			d.Fatal(err)
		}
		err := lockIt(second)
		if !errors.Is(err, migrations.ErrLockTimeout) || !strings.Contains(err.Error(), "KILL") {
			d.Errorf("a second holder: %v", err)
		}
		other := d.server.EmptyDatabase(d.T)
		elsewhere := d.conn(d.server.Open(d.T, func(c *mysql.Config) { c.DBName = other }))
		if err := lockIt(elsewhere); err != nil {
			d.Errorf("another database: %v", err)
		}
		if err := l.SessionUnlock(d.Context(), elsewhere); err != nil {
			d.Error(err)
		}
		if err := l.SessionUnlock(d.Context(), first); err != nil {
			d.Error(err)
		}
		if err := l.SessionUnlock(d.Context(), first); !errors.Is(err, migrations.ErrLockLost) {
			d.Errorf("unlocked twice: %v", err)
		}
		if err := lockIt(second); err != nil {
			d.Errorf("after the unlock: %v", err)
		}
		// Killed, the holder loses it, and is told.
		d.exec(fmt.Sprintf(`KILL %d`, d.connectionID(second)))
		waiting := d.sessionLocker()
		if err := waiting.SessionLock(d.Context(), first); err != nil {
			d.Errorf("after the kill: %v", err)
		}
		if err := l.SessionUnlock(d.Context(), second); !errors.Is(err, migrations.ErrLockLost) {
			d.Errorf("unlock after the kill: %v", err)
		}
		if err := waiting.SessionUnlock(d.Context(), first); err != nil {
			d.Error(err)
		}
	})
}

// Who stops waiting leaves nothing behind.
func TestSessionLockerCancelled(t *testing.T) {
	onServers(t, func(d *database) {
		l := d.sessionLocker()
		holder := d.conn(d.db)
		if err := l.SessionLock(d.Context(), holder); err != nil {
			d.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(d.Context(), 50*time.Millisecond)
		defer cancel()
		if err := l.SessionLock(ctx, d.conn(d.db)); !errors.Is(err, context.DeadlineExceeded) {
			d.Errorf("error %v", err)
		}
		if err := l.SessionUnlock(d.Context(), holder); err != nil {
			d.Error(err)
		}
		// The server may grant it to the one who has gone, but only until it has noticed.
		if err := l.SessionLock(d.Context(), holder); err != nil {
			d.Fatal(err)
		}
		if err := l.SessionUnlock(d.Context(), holder); err != nil {
			d.Error(err)
		}
	})
}

// Up waits for who migrates, for as long as it is told, and says who that is.
func TestUpWaits(t *testing.T) {
	onServers(t, func(d *database) {
		l := d.sessionLocker(migrations.LockWait(0))
		holder := d.conn(d.db)
		if err := l.SessionLock(d.Context(), holder); err != nil {
			d.Fatal(err)
		}
		_, err := migrations.Up(d.Context(), d.db, migrations.WithSessionLocker(l))
		var e *migrations.Error
		if !errors.Is(err, migrations.ErrLockTimeout) || !errors.As(err, &e) {
			d.Errorf("error %v", err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := migrations.Up(d.Context(), d.db)
			done <- err
		}()
		if err := l.SessionUnlock(d.Context(), holder); err != nil {
			d.Error(err)
		}
		if err := <-done; err != nil {
			d.Error(err)
		}
		d.complete()
	})
}

// The answer to GET_LOCK may be lost while the lock was granted: it is given back,
// whatever has become of the context.
func TestLockWhoseAnswerIsLost(t *testing.T) {
	onServers(t, func(d *database) {
		ctx, cancel := context.WithCancel(d.Context())
		asText := func(c *mysql.Config) { c.InterpolateParams = true }
		db := d.through(&interrupted{Connector: d.connector(asText), at: cancel, after: func(query string) bool { return strings.Contains(query, "GET_LOCK(") }})
		conn := d.conn(db)
		id := d.connectionID(conn)
		l := d.sessionLocker(migrations.LockWait(0))
		if err := l.SessionLock(ctx, conn); !errors.Is(err, errInterrupted) {
			d.Errorf("error %v", err)
		}
		if now := d.connectionID(conn); now != id {
			d.Fatalf("connection %d, was %d: the test shows nothing", now, id)
		}
		other := d.conn(d.db)
		if err := l.SessionLock(d.Context(), other); err != nil {
			d.Errorf("it is still held: %v", err)
		}
		if err := l.SessionUnlock(d.Context(), other); err != nil {
			d.Error(err)
		}
	})
}

// A context that ends ends the connection, and the server then releases the lock: that
// is no loss to cry about, besides the context's own error.
func TestCancelledDownIsNoLostLock(t *testing.T) {
	onServers(t, func(d *database) {
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		tx := ok[*sql.Tx](d.T)(d.db.BeginTx(d.Context(), nil))
		if _, err := tx.ExecContext(d.Context(), `DO (SELECT COUNT(*) FROM helix_locks)`); err != nil {
			d.Fatal(err)
		}
		ctx, cancel := context.WithCancel(d.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := migrations.Down(ctx, d.open())
			done <- err
		}()
		for d.number(`SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE 'Waiting for table metadata lock%'`) == 0 {
			runtime.Gosched()
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, migrations.ErrLockLost) {
			d.Errorf("error %v", err)
		}
		if err := tx.Rollback(); err != nil {
			d.Error(err)
		}
		// A killed connection is, and is called by its lock's name.
		pool := d.open()
		pool.SetMaxOpenConns(1)
		l := d.sessionLocker()
		conn := d.conn(pool)
		id := d.connectionID(conn)
		if err := l.SessionLock(d.Context(), conn); err != nil {
			d.Fatal(err)
		}
		d.exec(fmt.Sprintf(`KILL %d`, id))
		if err := l.SessionUnlock(d.Context(), conn); !errors.Is(err, migrations.ErrLockLost) || !strings.Contains(err.Error(), `"goose:`) {
			d.Errorf("after a KILL: %v", err)
		}
	})
}
