package txlock_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// No goroutine is left when all tests have ended.
func TestMain(m *testing.M) {
	if setup := os.Getenv(waiterVariable); setup != "" {
		fmt.Fprintln(os.Stderr, waitInTurn(setup, os.Stdout))
		os.Exit(1)
	}
	servertest.Main(m, func() error { return goleak.Find() })
}

// live is a test on a real server: a Locker, a key of its own, and a business
// table with one row that only this test writes.
type live struct {
	*testing.T
	*txlock.Locker
	server *servertest.Instance
	db     *sql.DB
	key    string
}

// onServers runs test on every engine, at the same time.
func onServers(t *testing.T, test func(l *live)) {
	t.Helper()
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) { test(newLive(t, s)) })
}

// onServersInTurn is for what keeps a machine so busy that leases run out.
func onServersInTurn(t *testing.T, test func(l *live)) {
	t.Helper()
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) { test(newLive(t, s)) })
}

func newLive(t *testing.T, s *servertest.Instance, configure ...func(*mysql.Config)) *live {
	t.Helper()
	l := &live{T: t, server: s, key: t.Name() + "/" + rand.Text()}
	l.db = s.Open(t, configure...)
	l.exec(`CREATE TABLE IF NOT EXISTS counters (name VARBINARY(255) PRIMARY KEY, n BIGINT NOT NULL)`)
	l.exec(`INSERT INTO counters VALUES (?, 0)`, l.key)
	l.Locker = l.locker(l.db)
	return l
}

// alone is a test like l in a database that no other test sees.
func (l *live) alone() *live {
	l.Helper()
	name := l.server.MigratedDatabase(l.T)
	return newLive(l.T, l.server, func(c *mysql.Config) { c.DBName = name })
}

// locker is a further Locker, of another owner unless opts say otherwise.
func (l *live) locker(db *sql.DB, opts ...txlock.Option) *txlock.Locker {
	l.Helper()
	locker, err := txlock.New(db, opts...)
	l.must(err)
	l.Cleanup(func() { l.must(locker.Close()) })
	return locker
}

// open is a further pool on the same database, whose sessions start with this variable set.
func (l *live) open(variable, value string) *sql.DB {
	l.Helper()
	database := l.text(l.db, `SELECT DATABASE()`)
	return l.server.Open(l.T, func(c *mysql.Config) { c.DBName, c.Params = database, map[string]string{variable: value} })
}

func (l *live) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// wants fails the test unless err matches target (nil: is nil).
func (l *live) wants(err, target error) {
	l.Helper()
	if !errors.Is(err, target) {
		l.Fatalf("got %v, want %v", err, target)
	}
}

func (l *live) exec(query string, args ...any) {
	l.Helper()
	_, err := l.db.ExecContext(l.Context(), query, args...)
	l.must(err)
}

func (l *live) begin(opts ...*sql.TxOptions) *sql.Tx {
	l.Helper()
	return l.beginOn(l.db, opts...)
}

func (l *live) beginOn(db *sql.DB, opts ...*sql.TxOptions) *sql.Tx {
	l.Helper()
	var o *sql.TxOptions
	if len(opts) > 0 {
		o = opts[0]
	}
	tx, err := db.BeginTx(l.Context(), o)
	l.must(err)
	l.Cleanup(func() { _ = tx.Rollback() }) // where the test failed before
	return tx
}

func (l *live) try(locker *txlock.Locker, opts ...txlock.AcquireOption) *txlock.Lease {
	l.Helper()
	lease, err := locker.TryAcquire(l.Context(), l.key, opts...)
	l.must(err)
	return lease
}

// expire lets the key's lease have expired an hour ago, on the server's clock.
func (l *live) expire() {
	l.Helper()
	l.exec(`UPDATE helix_locks SET expires_at = UTC_TIMESTAMP() - INTERVAL 1 HOUR WHERE lock_key = ?`, l.key)
}

// row is the key's row as committed.
type row struct {
	found         bool
	owner         string
	epoch, status int64
	lease         int64
	times         string // expires_at, acquired_at, created_at, updated_at
}

func (l *live) row() row {
	l.Helper()
	r := row{found: true}
	err := l.db.QueryRowContext(l.Context(),
		`SELECT owner_id, epoch, status, lease_id, CONCAT_WS(', ', expires_at, acquired_at, created_at, updated_at) FROM helix_locks WHERE lock_key = ?`, l.key).
		Scan(&r.owner, &r.epoch, &r.status, &r.lease, &r.times)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}
	}
	l.must(err)
	return r
}

func (l *live) epoch() int64 { l.Helper(); return l.row().epoch }

type querier interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// counter is the test's business value, as q sees it.
func (l *live) counter(q querier) (n int64) {
	l.Helper()
	l.must(q.QueryRowContext(l.Context(), `SELECT n FROM counters WHERE name = ?`, l.key).Scan(&n))
	return n
}

// bump is a business write.
func (l *live) bump(q querier) {
	l.Helper()
	_, err := q.ExecContext(l.Context(), `UPDATE counters SET n = n + 1 WHERE name = ?`, l.key)
	l.must(err)
}

// text reads one value, such as a variable of the server, as text.
func (l *live) text(q querier, query string, args ...any) (s string) {
	l.Helper()
	l.must(q.QueryRowContext(l.Context(), query, args...).Scan(&s))
	return s
}

// awaitLockWait returns once some transaction on this server waits for a row
// lock; done ends the wait as a failure, for what should have waited but has
// returned. (information_schema.innodb_trx would name the transaction, but shows
// nothing new to one that asks more than ten times a second.)
func (l *live) awaitLockWait(done <-chan struct{}) {
	l.Helper()
	for {
		var name, waits string
		l.must(l.db.QueryRowContext(l.Context(), `SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'`).Scan(&name, &waits))
		if waits != "0" {
			return
		}
		select {
		case <-done:
			l.Fatal("did not wait for the other transaction")
		case <-l.Context().Done():
			l.Fatal("the test ended before anyone waited")
		default:
		}
	}
}

// waits starts call, which must come to wait for a row lock, then lets release
// happen, and returns what call returned.
func (l *live) waits(call func() error, release func()) error {
	l.Helper()
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = call()
	}()
	l.awaitLockWait(done)
	release()
	<-done
	return err
}

const long = time.Hour
