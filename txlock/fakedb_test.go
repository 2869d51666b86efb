package txlock_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// fakeDB is a database whose every answer the test gives, for tests on a faked
// clock: sockets do not work there.
type fakeDB struct {
	answer func(statement string, args ...any) reply

	mu   sync.Mutex
	sent []sent
}

// sent is what was sent, and when: a statement's name, or BEGIN, COMMIT, ROLLBACK.
type sent struct {
	name string
	at   time.Time
}

// reply is how the fake database answers a statement; the zero one is an OK packet
// for nothing.
type reply struct {
	insertID, affected int64
	rows               [][]driver.Value
	err                error
	hang               bool // until the context ends
}

// newFake is a Locker on such a database.
func newFake(t *testing.T, answer func(statement string, args ...any) reply, opts ...txlock.Option) (*txlock.Locker, *fakeDB) {
	t.Helper()
	f := &fakeDB{answer: answer}
	db := sql.OpenDB(f)
	locker, err := txlock.New(db, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(locker.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return locker, f
}

// inTransaction runs work in a transaction of a caller, and commits it unless it fails.
func inTransaction(t *testing.T, f *fakeDB, work func(tx *sql.Tx) error) error {
	t.Helper()
	db := sql.OpenDB(f)
	defer func() { _ = db.Close() }()
	tx := must[*sql.Tx](t)(db.BeginTx(t.Context(), nil))
	if err := work(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (f *fakeDB) note(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, sent{name, time.Now()})
}

// times returns when a statement of that name was sent.
func (f *fakeDB) times(name string) (times []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sent {
		if s.name == name {
			times = append(times, s.at)
		}
	}
	return times
}

func (f *fakeDB) reply(query string, named []driver.NamedValue) reply {
	name, _, _ := strings.Cut(strings.TrimPrefix(query, "-- name: "), " ")
	f.note(name)
	args := make([]any, len(named))
	for i, arg := range named {
		args[i] = arg.Value
	}
	return f.answer(name, args...)
}

func (f *fakeDB) Connect(context.Context) (driver.Conn, error) {
	if r := f.answer("connect"); r.err != nil {
		return nil, r.err
	}
	return fakeConn{f}, nil
}
func (f *fakeDB) Driver() driver.Driver { return nil }

type fakeConn struct{ db *fakeDB }

func (c fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not here") }
func (c fakeConn) Close() error                        { return nil }
func (c fakeConn) Begin() (driver.Tx, error)           { return nil, errors.New("not here") }

func (c fakeConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	c.db.note("BEGIN")
	return c, c.db.answer("BEGIN").err
}

func (c fakeConn) Commit() error {
	c.db.note("COMMIT")
	return c.db.answer("COMMIT").err
}

func (c fakeConn) Rollback() error {
	c.db.note("ROLLBACK")
	return nil
}

func (c fakeConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	r := c.db.reply(query, args)
	if r.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return r, r.err
}

func (c fakeConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r := c.db.reply(query, args)
	return &fakeRows{r.rows}, r.err
}

func (r reply) LastInsertId() (int64, error) { return r.insertID, nil }
func (r reply) RowsAffected() (int64, error) { return r.affected, nil }

type fakeRows struct{ rows [][]driver.Value }

func (r *fakeRows) Columns() []string {
	if len(r.rows) == 0 {
		return make([]string, 8)
	}
	return make([]string, len(r.rows[0]))
}
func (r *fakeRows) Close() error { return nil }
func (r *fakeRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	copy(dest, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}

// heldRow is what InspectLock answers about a key.
func heldRow(status int64, remaining time.Duration) [][]driver.Value {
	return [][]driver.Value{{[]byte("key"), []byte("another"), int64(7), status, remaining.Microseconds(), int64(0), int64(0), int64(0)}}
}
