package fuzz_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"
)

// fake is a database whose answers the test gives, and which fails where the test
// wants it to. It keeps the books of all calls, and knows which of them no server
// should have seen. sqlmock has neither calls of results and rows that can fail, nor
// connections of their own.
type fake struct {
	answer func(name string, args []driver.NamedValue) answer // called by one at a time
	fail   func(n int, c call) failure                        // n counts from 0 on since watch

	mu         sync.Mutex
	conns, txs int
	ended      int          // transactions
	told       map[turn]int // how often a statement was answered
	ensured    bool         // a transaction that made rows was committed
	calls      []call
	watched    int // calls before these are not counted
	violations []string
}

// answer is what a statement gives: rows, or an OK packet.
type answer struct {
	insertID, affected int64
	rows               [][]driver.Value
}

// call is one call of the driver.
type call struct {
	what place
	name string // of the statement
	conn int
	tx   int // 0 for none
	err  error
}

func (c call) String() string {
	s := strings.TrimSpace(string(c.what) + " " + c.name)
	if c.err != nil {
		s += " (failed)"
	}
	return s
}

// place is what a call is for.
type place string

const (
	atConnect   place = "connect"
	atBegin     place = "BEGIN"
	atPrepare   place = "prepare"
	atExec      place = "exec"
	atQuery     place = "query"
	atInsertID  place = "LastInsertId of"
	atAffected  place = "RowsAffected of"
	atNext      place = "row of"
	atCommit    place = "COMMIT"
	atRollback  place = "ROLLBACK"
	atStmtClose place = "close"
)

// failure is how a call fails, and what that does to the connection and to its
// transaction.
type failure struct {
	err     error
	ends    bool // the connection
	aborts  bool // the transaction
	cutsOff bool // the rows end, without an error
}

func (f *fake) Connect(context.Context) (driver.Conn, error) {
	f.mu.Lock()
	f.conns++
	c := &fakeConn{fake: f, id: f.conns}
	f.mu.Unlock()
	if err := c.call(atConnect, ""); err != nil {
		return nil, err
	}
	return c, nil
}

func (f *fake) Driver() driver.Driver { return mysql.MySQLDriver{} }

// watch forgets what was called before.
func (f *fake) watch(fail func(n int, c call) failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watched, f.fail = len(f.calls), fail
}

// failing reports whether a call has failed since watch.
func (f *fake) failing() bool {
	for _, c := range f.seen() {
		if c.err != nil {
			return true
		}
	}
	return false
}

// seen are the calls since watch.
func (f *fake) seen() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[f.watched:len(f.calls):len(f.calls)]
}

func (f *fake) answers(name string, args []driver.NamedValue) answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answer(name, args)
}

// turn is a statement in a transaction.
type turn struct {
	name string
	tx   int
}

// turn counts how often a statement has been answered in the transaction that was
// begun last.
func (f *fake) turn(name string) int {
	if f.told == nil {
		f.told = make(map[turn]int)
	}
	f.told[turn{name, f.txs}]++
	return f.told[turn{name, f.txs}] - 1
}

func (f *fake) violated(format string, args ...any) {
	f.violations = append(f.violations, fmt.Sprintf(format, args...))
}

// fakeConn is a connection, which package sql uses from one goroutine at a time.
type fakeConn struct {
	fake *fake
	id   int

	tx      int
	aborted bool // the open transaction; the server knows nothing of it any more
	busy    bool // so it may be
	dead    bool
	ensures bool // it makes rows in the open transaction
}

// call notes a call, and lets it fail if it is to.
func (c *fakeConn) call(what place, name string) error {
	err, _ := c.callRows(what, name)
	return err
}

func (c *fakeConn) callRows(what place, name string) (err error, cutsOff bool) {
	f := c.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	made := call{what: what, name: name, conn: c.id, tx: c.tx}
	var how failure
	sends := what == atExec || what == atQuery
	switch {
	case c.dead && (what == atCommit || what == atRollback):
		how.err = mysql.ErrInvalidConn
	case c.dead:
		how.err = driver.ErrBadConn
	case f.fail != nil:
		how = f.fail(len(f.calls)-f.watched, made)
	}
	switch {
	case sends && c.tx == 0:
		f.violated("%v outside of a transaction", made)
	case (sends || what == atCommit) && (c.aborted || c.busy):
		f.violated("%v in a transaction that was aborted", made)
	case what == atBegin && c.tx != 0:
		f.violated("BEGIN in a transaction")
	}
	if made.err = how.err; what == atBegin && how.err == nil {
		made.tx = f.txs + 1
	}
	f.calls = append(f.calls, made)
	c.dead = c.dead || how.ends
	c.aborted = c.aborted || how.aborts
	var e *mysql.MySQLError
	c.busy = c.busy || errors.As(how.err, &e) && e.Number == 1205 && what != atCommit && what != atRollback
	return how.err, how.cutsOff
}

func (c *fakeConn) Begin() (driver.Tx, error) { return nil, errors.New("not called any more") }

func (c *fakeConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	if err := c.call(atBegin, ""); err != nil {
		return nil, err
	}
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	c.fake.txs++
	c.tx, c.aborted, c.busy = c.fake.txs, false, false
	return &fakeTx{c}, nil
}

func (c *fakeConn) Close() error {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	if c.tx != 0 {
		c.fake.violated("a connection was closed with transaction %d open", c.tx)
	}
	c.dead = true
	return nil
}

func (c *fakeConn) IsValid() bool { return !c.dead }

func (c *fakeConn) ResetSession(context.Context) error {
	if c.dead {
		return driver.ErrBadConn
	}
	return nil
}

func (c *fakeConn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("not called any more")
}

func (c *fakeConn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	name := statementName(query)
	if err := c.call(atPrepare, name); err != nil {
		return nil, err
	}
	return &fakeStmt{c, name}, nil
}

func (c *fakeConn) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.exec(statementName(query), args)
}

func (c *fakeConn) exec(name string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.call(atExec, name); err != nil {
		return nil, err
	}
	c.ensures = c.ensures || name == "MakeKey" || name == "EnsureKeys"
	return fakeResult{c, name, c.fake.answers(name, args)}, nil
}

func (c *fakeConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.query(statementName(query), args)
}

func (c *fakeConn) query(name string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.call(atQuery, name); err != nil {
		return nil, err
	}
	return &fakeRows{conn: c, name: name, rows: c.fake.answers(name, args).rows}, nil
}

type fakeStmt struct {
	conn *fakeConn
	name string
}

func (s *fakeStmt) Close() error  { return s.conn.call(atStmtClose, s.name) }
func (s *fakeStmt) NumInput() int { return -1 }

func (s *fakeStmt) Exec([]driver.Value) (driver.Result, error) {
	return nil, errors.New("not called any more")
}

func (s *fakeStmt) Query([]driver.Value) (driver.Rows, error) {
	return nil, errors.New("not called any more")
}

func (s *fakeStmt) ExecContext(_ context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.exec(s.name, args)
}

func (s *fakeStmt) QueryContext(_ context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.query(s.name, args)
}

type fakeTx struct{ conn *fakeConn }

func (t *fakeTx) Commit() error { return t.end(atCommit) }

func (t *fakeTx) Rollback() error { return t.end(atRollback) }

func (t *fakeTx) end(how place) error {
	err := t.conn.call(how, "")
	t.conn.fake.mu.Lock()
	defer t.conn.fake.mu.Unlock()
	t.conn.tx, t.conn.aborted, t.conn.busy = 0, false, false
	t.conn.fake.ended++
	t.conn.fake.ensured = t.conn.fake.ensured || t.conn.ensures && how == atCommit && err == nil
	t.conn.ensures = false
	return err
}

type fakeResult struct {
	conn   *fakeConn
	name   string
	answer answer
}

func (r fakeResult) LastInsertId() (int64, error) {
	return r.answer.insertID, r.conn.call(atInsertID, r.name)
}

func (r fakeResult) RowsAffected() (int64, error) {
	return r.answer.affected, r.conn.call(atAffected, r.name)
}

type fakeRows struct {
	conn *fakeConn
	name string
	rows [][]driver.Value
}

func (r *fakeRows) Columns() []string {
	if len(r.rows) == 0 {
		return make([]string, 8)
	}
	return make([]string, len(r.rows[0]))
}

func (r *fakeRows) Close() error { return nil }

func (r *fakeRows) Next(dest []driver.Value) error {
	err, cutsOff := r.conn.callRows(atNext, r.name)
	switch {
	case err != nil:
		return err
	case cutsOff, len(r.rows) == 0:
		r.rows = nil
		return io.EOF
	}
	copy(dest, r.rows[0])
	if len(r.rows) == 1 { // keep the number of columns
		r.rows = r.rows[:0:1]
	} else {
		r.rows = r.rows[1:]
	}
	return nil
}
