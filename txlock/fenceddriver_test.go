package txlock_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
)

// bareDriver is a driver with no optional interface at all. It answers the fence,
// and notes what is sent.
type bareDriver struct {
	log      []string
	lost     bool
	fails    map[string]error // by the beginning of what is sent
	rows     []any            // of each query that is not the fence: values, or an error
	args     []driver.Value   // of the last statement but the fence
	prepared int
	open     int // statements that were prepared and not closed
}

func (d *bareDriver) send(what string) error {
	d.log = append(d.log, what)
	for prefix, err := range d.fails {
		if strings.HasPrefix(what, prefix) {
			return err
		}
	}
	return nil
}

// sentence is what is noted of a statement: FENCE for the fence.
func sentence(query string) string {
	if strings.HasPrefix(query, "-- name: VerifyLease ") {
		return "FENCE"
	}
	return query
}

func (d *bareDriver) query(query string, args []driver.Value) (driver.Rows, error) {
	if err := d.send(sentence(query)); err != nil {
		return nil, err
	}
	if sentence(query) == "FENCE" {
		if d.lost {
			return &bareRows{}, nil
		}
		return &bareRows{rows: []any{int64(7)}}, nil
	}
	d.args = args
	return &bareRows{rows: slices.Clone(d.rows)}, nil
}

func (d *bareDriver) Open(string) (driver.Conn, error)             { return &bareConn{d}, nil }
func (d *bareDriver) Connect(context.Context) (driver.Conn, error) { return &bareConn{d}, nil }
func (d *bareDriver) Driver() driver.Driver                        { return d }

type bareConn struct{ d *bareDriver }

func (c *bareConn) Prepare(query string) (driver.Stmt, error) {
	c.d.prepared++
	c.d.open++
	return &bareStmt{c.d, query}, nil
}
func (c *bareConn) Close() error              { return c.d.send("CLOSE") }
func (c *bareConn) Begin() (driver.Tx, error) { return bareTx{c.d}, c.d.send("BEGIN") }

type bareTx struct{ d *bareDriver }

func (t bareTx) Commit() error   { return t.d.send("COMMIT") }
func (t bareTx) Rollback() error { return t.d.send("ROLLBACK") }

type bareStmt struct {
	d     *bareDriver
	query string
}

func (s *bareStmt) Close() error  { s.d.open--; return nil }
func (s *bareStmt) NumInput() int { return -1 }
func (s *bareStmt) Exec(args []driver.Value) (driver.Result, error) {
	s.d.args = args
	return driver.RowsAffected(1), s.d.send(s.query)
}
func (s *bareStmt) Query(args []driver.Value) (driver.Rows, error) { return s.d.query(s.query, args) }

type bareRows struct{ rows []any }

func (r *bareRows) Columns() []string { return []string{"v"} }
func (r *bareRows) Close() error      { return nil }
func (r *bareRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	if err, ok := r.rows[0].(error); ok {
		return err
	}
	dest[0], r.rows = r.rows[0], r.rows[1:]
	return nil
}

// fullDriver has every optional interface; it notes the calls.
type fullDriver struct {
	*bareDriver
	closed, checked, converted bool
	options                    driver.TxOptions
}

func (d *fullDriver) Connect(context.Context) (driver.Conn, error) {
	return &fullConn{&bareConn{d.bareDriver}, d}, nil
}
func (d *fullDriver) Close() error { d.closed = true; return nil }

type fullConn struct {
	*bareConn
	d *fullDriver
}

func (c *fullConn) Ping(context.Context) error         { return c.d.send("PING") }
func (c *fullConn) ResetSession(context.Context) error { return c.d.send("RESET") }
func (c *fullConn) IsValid() bool                      { return c.d.send("VALID") == nil }
func (c *fullConn) BeginTx(_ context.Context, o driver.TxOptions) (driver.Tx, error) {
	c.d.options = o
	return c.Begin()
}
func (c *fullConn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	c.d.prepared++
	c.d.open++
	return &fullStmt{&bareStmt{c.d.bareDriver, query}, c.d}, nil
}
func (c *fullConn) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.d.args = positional(args)
	return driver.RowsAffected(1), c.d.send(query)
}
func (c *fullConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.d.query(query, positional(args))
	return fullRows{rows}, err
}
func (c *fullConn) CheckNamedValue(v *driver.NamedValue) error {
	c.d.checked = true
	return driver.ErrSkip
}

type fullStmt struct {
	*bareStmt
	d *fullDriver
}

func (s *fullStmt) ExecContext(_ context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.Exec(positional(args))
}
func (s *fullStmt) QueryContext(_ context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.Query(positional(args))
	return fullRows{rows}, err
}
func (s *fullStmt) NumInput() int { return 1 }
func (s *fullStmt) ColumnConverter(int) driver.ValueConverter {
	s.d.converted = true
	return driver.String
}

func positional(args []driver.NamedValue) []driver.Value {
	var values []driver.Value
	for _, a := range args {
		values = append(values, a.Value)
	}
	return values
}

type fullRows struct{ driver.Rows }

func (r fullRows) HasNextResultSet() bool                            { return true }
func (r fullRows) NextResultSet() error                              { return errDeadlock }
func (r fullRows) ColumnTypeScanType(int) reflect.Type               { return reflect.TypeFor[int8]() }
func (r fullRows) ColumnTypeDatabaseTypeName(int) string             { return "FANCY" }
func (r fullRows) ColumnTypeLength(int) (int64, bool)                { return 11, true }
func (r fullRows) ColumnTypeNullable(int) (bool, bool)               { return true, true }
func (r fullRows) ColumnTypePrecisionScale(int) (int64, int64, bool) { return 5, 3, true }

// fencedOn is a pool on such a driver, fenced by lease 7 of "key".
func (m *mocked) fencedOn(base driver.Connector, opts ...txlock.FenceOption) *sql.DB {
	m.Helper()
	db := sql.OpenDB(txlock.FencedConnector(base, m.lease("key", 7), opts...))
	db.SetMaxOpenConns(1)
	m.Cleanup(func() { _ = db.Close() })
	return db
}

func (m *mocked) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func wantsLog(t *testing.T, d *bareDriver, want ...string) {
	t.Helper()
	if !slices.Equal(d.log, want) {
		t.Errorf("sent %q, want %q", d.log, want)
	}
	d.log = nil
}

// A driver without any optional interface works as it does without the fence, and
// the fence is prepared once a connection.
func TestFencedConnectorBareDriver(t *testing.T) {
	m, d, ctx := newMocked(t), &bareDriver{}, t.Context()
	db := m.fencedOn(d)
	m.must(db.PingContext(ctx))
	for range 2 {
		tx, err := db.BeginTx(ctx, nil)
		m.must(err)
		_, err = tx.ExecContext(ctx, "UPDATE t", 1, "a")
		m.must(err)
		m.must(tx.Commit())
		wantsLog(t, d, "BEGIN", "FENCE", "UPDATE t", "COMMIT")
	}
	if d.prepared != 3 || d.open != 1 {
		t.Errorf("%d statements were prepared, %d are open, want 3 and 1: the fence once", d.prepared, d.open)
	}
	if !slices.Equal(d.args, []driver.Value{int64(1), "a"}) {
		t.Errorf("arguments %v", d.args)
	}
	_, err := db.ExecContext(ctx, "UPDATE t")
	m.must(err)
	wantsLog(t, d, "BEGIN", "FENCE", "UPDATE t", "COMMIT")

	d.rows = []any{int64(5)}
	for _, inTx := range []bool{false, true} {
		var q interface {
			QueryContext(context.Context, string, ...any) (*sql.Rows, error)
		} = db
		if inTx {
			tx, err := db.BeginTx(ctx, nil)
			m.must(err)
			defer func() { m.must(tx.Rollback()) }()
			q = tx
		}
		rows, err := q.QueryContext(ctx, "SELECT 1")
		m.must(err)
		defer func() { _ = rows.Close() }()
		types, err := rows.ColumnTypes()
		m.must(err)
		_, hasLength := types[0].Length()
		_, hasNullable := types[0].Nullable()
		_, _, hasScale := types[0].DecimalSize()
		if types[0].ScanType() != reflect.TypeFor[any]() || types[0].DatabaseTypeName() != "" || hasLength || hasNullable || hasScale {
			t.Errorf("in a transaction %v: column type %+v", inTx, types[0])
		}
		if !rows.Next() || rows.Next() || rows.NextResultSet() || rows.Err() != nil {
			t.Errorf("in a transaction %v: rows are not as they should be: %v", inTx, rows.Err())
		}
		m.must(rows.Close())
	}
}

// What such a driver cannot do fails as without the fence.
func TestFencedConnectorBareDriverLimits(t *testing.T) {
	m, d, ctx := newMocked(t), &bareDriver{}, t.Context()
	db := m.fencedOn(d)
	for _, opts := range []*sql.TxOptions{{ReadOnly: true}, {Isolation: sql.LevelSerializable}} {
		if _, err := db.BeginTx(ctx, opts); err == nil || !strings.Contains(err.Error(), "does not support") {
			t.Errorf("%+v: got %v", opts, err)
		}
	}
	if _, err := db.ExecContext(ctx, "UPDATE t", sql.Named("a", 1)); err == nil || !strings.Contains(err.Error(), "named parameters") {
		t.Errorf("got %v", err)
	}
	if err := db.QueryRowContext(ctx, "SELECT 1", sql.Named("a", 1)).Err(); err == nil || !strings.Contains(err.Error(), "named parameters") {
		t.Errorf("got %v", err)
	}
}

// Whatever a driver offers is passed on.
func TestFencedConnectorFullDriver(t *testing.T) {
	m, d, ctx := newMocked(t), &fullDriver{bareDriver: &bareDriver{rows: []any{int64(5)}}}, t.Context()
	db := m.fencedOn(d)
	if db.Driver() != driver.Driver(d.bareDriver) {
		t.Error("Driver is not the base's")
	}
	m.must(db.PingContext(ctx))
	wantsLog(t, d.bareDriver, "PING", "VALID")

	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	m.must(err)
	if d.options != (driver.TxOptions{Isolation: driver.IsolationLevel(sql.LevelSerializable), ReadOnly: true}) {
		t.Errorf("options %+v", d.options)
	}
	_, err = tx.ExecContext(ctx, "UPDATE t", 1)
	m.must(err)
	if !d.checked || d.converted || d.prepared != 0 {
		t.Errorf("checked %v, converted %v, prepared %d", d.checked, d.converted, d.prepared)
	}
	wantsLog(t, d.bareDriver, "RESET", "BEGIN", "FENCE", "UPDATE t")

	d.checked = false
	stmt, err := tx.PrepareContext(ctx, "UPDATE t")
	m.must(err)
	defer func() { _ = stmt.Close() }()
	_, err = stmt.ExecContext(ctx, 1)
	m.must(err)
	if !d.checked || !d.converted || d.args[0] != "1" {
		t.Errorf("checked %v, converted %v, argument %#v: want the connection's check, then the statement's conversion to a string", d.checked, d.converted, d.args[0])
	}
	if _, err = stmt.ExecContext(ctx); err == nil || !strings.Contains(err.Error(), "expected 1 arguments") {
		t.Errorf("got %v, want the count of arguments to be checked", err)
	}
	m.must(stmt.Close())
	if d.open != 0 {
		t.Errorf("%d statements are open", d.open)
	}

	rows, err := tx.QueryContext(ctx, "SELECT 1")
	m.must(err)
	defer func() { _ = rows.Close() }()
	types, err := rows.ColumnTypes()
	m.must(err)
	length, _ := types[0].Length()
	nullable, _ := types[0].Nullable()
	precision, scale, _ := types[0].DecimalSize()
	if types[0].ScanType() != reflect.TypeFor[int8]() || types[0].DatabaseTypeName() != "FANCY" || length != 11 || !nullable || precision != 5 || scale != 3 {
		t.Errorf("column type %+v", types[0])
	}
	if rows.NextResultSet() || !errors.Is(rows.Err(), errDeadlock) {
		t.Errorf("next result set: %v", rows.Err())
	}
	_ = rows.Close()
	if _, err = tx.ExecContext(ctx, "UPDATE t"); !errors.Is(err, txlock.ErrTxAborted) {
		t.Errorf("after a deadlock in the next result set: got %v, want ErrTxAborted", err)
	}
	m.must(tx.Rollback())
	m.must(db.Close())
	if !d.closed {
		t.Error("the base connector was not closed")
	}
}

// MariaDB can say in the middle of rows that the transaction is gone (1020).
func TestFencedConnectorAbortInRows(t *testing.T) {
	m, d, ctx := newMocked(t), &bareDriver{rows: []any{int64(5), &mysql.MySQLError{Number: 1020}}}, t.Context()
	db := m.fencedOn(d)
	tx, err := db.BeginTx(ctx, nil)
	m.must(err)
	rows, err := tx.QueryContext(ctx, "SELECT 1 FOR UPDATE")
	m.must(err)
	defer func() { _ = rows.Close() }()
	if !rows.Next() || rows.Next() || rows.Err() == nil {
		t.Fatalf("rows.Err is %v", rows.Err())
	}
	m.must(rows.Close())
	d.log = nil
	for range 2 {
		if _, err := tx.ExecContext(ctx, "UPDATE t"); !errors.Is(err, txlock.ErrTxAborted) {
			t.Errorf("got %v, want ErrTxAborted", err)
		}
	}
	if err := tx.Commit(); !errors.Is(err, txlock.ErrTxAborted) {
		t.Errorf("Commit: got %v, want ErrTxAborted", err)
	}
	wantsLog(t, d, "ROLLBACK")
}

// What goes wrong around a bare write, and around Begin and Commit.
func TestFencedConnectorFailures(t *testing.T) {
	refusedRollback := errors.New("rollback refused")
	for name, c := range map[string]struct {
		lost  bool
		fails map[string]error
		want  error
		log   []string
	}{
		"lost":                     {true, nil, txlock.ErrLost, []string{"BEGIN", "FENCE", "ROLLBACK"}},
		"BEGIN fails":              {false, map[string]error{"BEGIN": driverError("begin")}, driverError("begin"), []string{"BEGIN"}},
		"stale connection":         {false, map[string]error{"BEGIN": mysql.ErrInvalidConn}, txlock.ErrTxAborted, []string{"BEGIN"}},
		"fence: deadlock":          {false, map[string]error{"FENCE": errDeadlock}, txlock.ErrTxAborted, []string{"BEGIN", "FENCE", "ROLLBACK"}},
		"fence: not migrated":      {false, map[string]error{"FENCE": &mysql.MySQLError{Number: 1146}}, txlock.ErrNotMigrated, []string{"BEGIN", "FENCE", "ROLLBACK"}},
		"fence: wait":              {false, map[string]error{"FENCE": &mysql.MySQLError{Number: 1205}}, txlock.ErrBusy, []string{"BEGIN", "FENCE", "ROLLBACK"}},
		"lost, and ROLLBACK fails": {true, map[string]error{"ROLLBACK": refusedRollback}, refusedRollback, []string{"BEGIN", "FENCE", "ROLLBACK", "CLOSE"}},
		"statement: deadlock":      {false, map[string]error{"UPDATE": errDeadlock}, txlock.ErrTxAborted, []string{"BEGIN", "FENCE", "UPDATE t", "ROLLBACK"}},
		"statement: its own error": {false, map[string]error{"UPDATE": driverError("update")}, driverError("update"), []string{"BEGIN", "FENCE", "UPDATE t", "ROLLBACK"}},
		"COMMIT: conflict":         {false, map[string]error{"COMMIT": errDeadlock}, txlock.ErrTxAborted, []string{"BEGIN", "FENCE", "UPDATE t", "COMMIT"}},
		"COMMIT: unknown":          {false, map[string]error{"COMMIT": mysql.ErrInvalidConn}, txlock.ErrCommitUnknown, []string{"BEGIN", "FENCE", "UPDATE t", "COMMIT", "CLOSE"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, bare := range []bool{true, false} {
				m, d, ctx := newMocked(t), &bareDriver{lost: c.lost, fails: c.fails}, t.Context()
				db := m.fencedOn(d)
				var err error
				if bare {
					_, err = db.ExecContext(ctx, "UPDATE t")
				} else if tx, beginErr := db.BeginTx(ctx, nil); beginErr != nil {
					err = beginErr
				} else if _, execErr := tx.ExecContext(ctx, "UPDATE t"); execErr != nil {
					err = execErr
					_ = tx.Rollback()
					if errors.Is(c.want, txlock.ErrTxAborted) { // a caller's statement: as the driver said it
						if !txlock.IsRetryable(err) {
							t.Errorf("%v is not retryable", err)
						}
						err = txlock.ErrTxAborted
					}
				} else {
					err = tx.Commit()
				}
				if !errors.Is(err, c.want) || c.lost && !errors.Is(err, txlock.ErrLost) {
					t.Errorf("bare %v: got %v, want %v", bare, err, c.want)
				}
				wantsLog(t, d, c.log...)
			}
		})
	}
}

type driverError string

func (e driverError) Error() string { return string(e) }

// A driver that prepares what has arguments is asked once whether it does, and a
// transaction is not begun in vain every time.
func TestFencedConnectorSkippingDriver(t *testing.T) {
	m, d, ctx := newMocked(t), &fullDriver{bareDriver: &bareDriver{fails: map[string]error{"UPDATE u": nil}}}, t.Context()
	db := m.fencedOn(&skippingDriver{d})
	for i := range 3 {
		_, err := db.ExecContext(ctx, "UPDATE u", "a")
		m.must(err)
		d.log = slices.DeleteFunc(d.log, func(s string) bool { return s == "VALID" || s == "RESET" })
		want := []string{"BEGIN", "FENCE", "UPDATE u", "COMMIT"}
		if i == 0 {
			want = append([]string{"BEGIN", "FENCE", "ROLLBACK"}, want...)
		}
		wantsLog(t, d.bareDriver, want...)
	}
}

type skippingDriver struct{ *fullDriver }

func (d *skippingDriver) Connect(context.Context) (driver.Conn, error) {
	return &skippingConn{&fullConn{&bareConn{d.bareDriver}, d.fullDriver}}, nil
}

type skippingConn struct{ *fullConn }

func (c *skippingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) > 0 {
		return nil, driver.ErrSkip
	}
	return c.fullConn.ExecContext(ctx, query, args)
}

// What is wrong with the arguments shows at the first connection.
func TestFencedConnectorArguments(t *testing.T) {
	m := newMocked(t)
	lease := m.lease("key", 7)
	for name, c := range map[string]driver.Connector{
		"no base":    txlock.FencedConnector(nil, lease),
		"no lease":   txlock.FencedConnector(&bareDriver{}, nil),
		"zero lease": txlock.FencedConnector(&bareDriver{}, &txlock.Lease{}),
		"nil option": txlock.FencedConnector(&bareDriver{}, lease, nil),
	} {
		db := sql.OpenDB(c)
		_, err := db.BeginTx(t.Context(), nil)
		var invalid *txlock.InvalidError
		if !errors.As(err, &invalid) || !errors.Is(err, txlock.ErrInvalidArgument) {
			t.Errorf("%s: got %v, want an InvalidError", name, err)
		}
		if name == "no base" {
			if _, err := db.Driver().Open(""); !errors.As(err, &invalid) {
				t.Errorf("%s: Open: got %v, want an InvalidError", name, err)
			}
		}
		m.must(db.Close())
	}
}

// A bare write whose context ends before COMMIT is not committed.
func TestFencedConnectorContextEndsBeforeCommit(t *testing.T) {
	m := newMocked(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := &cancelingDriver{&fullDriver{bareDriver: &bareDriver{}}, cancel}
	if _, err := m.fencedOn(d).ExecContext(ctx, "UPDATE t"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if !slices.Contains(d.log, "ROLLBACK") || slices.Contains(d.log, "COMMIT") {
		t.Errorf("sent %q", d.log)
	}
}

// cancelingDriver lets the context end while a statement is under way.
type cancelingDriver struct {
	*fullDriver
	cancel func()
}

func (d *cancelingDriver) Connect(context.Context) (driver.Conn, error) {
	return &cancelingConn{&fullConn{&bareConn{d.bareDriver}, d.fullDriver}, d.cancel}, nil
}

type cancelingConn struct {
	*fullConn
	cancel func()
}

func (c *cancelingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.cancel()
	return c.fullConn.ExecContext(ctx, query, args)
}

// The regular end of rows is no lost connection, which io.EOF stands for elsewhere.
func TestFencedConnectorEndOfRows(t *testing.T) {
	m, d, ctx := newMocked(t), &bareDriver{rows: []any{int64(5)}}, t.Context()
	tx, err := m.fencedOn(d).BeginTx(ctx, nil)
	m.must(err)
	rows, err := tx.QueryContext(ctx, "SELECT 1")
	m.must(err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
	}
	m.must(rows.Err())
	_, err = tx.ExecContext(ctx, "UPDATE t")
	m.must(err)
	m.must(tx.Commit())
}
