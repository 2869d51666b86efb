package txlock

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// driverConn is a connection of any driver, with the methods of the newest
// interfaces. Where the driver lacks one, it does as package sql would do itself.
type driverConn struct{ driver.Conn }

func (c driverConn) Ping(ctx context.Context) error {
	if p, ok := c.Conn.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}

func (c driverConn) ResetSession(ctx context.Context) error {
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c driverConn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !ok || v.IsValid()
}

// CheckNamedValue takes everything where the driver cannot execute without
// preparing: then the statement decides.
func (c driverConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	switch c.Conn.(type) {
	case driver.ExecerContext, driver.Execer, driver.QueryerContext, driver.Queryer: //nolint:staticcheck // as package sql
		return driver.ErrSkip
	}
	return nil
}

func (c driverConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if b, ok := c.Conn.(driver.ConnBeginTx); ok {
		return b.BeginTx(ctx, opts)
	}
	if opts.Isolation != driver.IsolationLevel(sql.LevelDefault) {
		return nil, errors.New("txlock: the driver does not support isolation levels: leave out that of sql.TxOptions")
	}
	if opts.ReadOnly {
		return nil, errors.New("txlock: the driver does not support read-only transactions: leave out that of sql.TxOptions")
	}
	tx, err := c.Begin()
	if err == nil && ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), tx.Rollback())
	}
	return tx, err
}

func (c driverConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if p, ok := c.Conn.(driver.ConnPrepareContext); ok {
		return p.PrepareContext(ctx, query)
	}
	stmt, err := c.Prepare(query)
	if err == nil && ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), stmt.Close())
	}
	return stmt, err
}

func (c driverConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	switch e := c.Conn.(type) {
	case driver.ExecerContext:
		return e.ExecContext(ctx, query, args)
	case driver.Execer: //nolint:staticcheck // as package sql
		values, err := plainValues(ctx, args)
		if err != nil {
			return nil, err
		}
		return e.Exec(query, values)
	}
	return nil, driver.ErrSkip
}

// executes reports whether ExecContext can do without a prepared statement.
func (c driverConn) executes() bool {
	switch c.Conn.(type) {
	case driver.ExecerContext, driver.Execer: //nolint:staticcheck // as package sql
		return true
	}
	return false
}

func (c driverConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	switch q := c.Conn.(type) {
	case driver.QueryerContext:
		return q.QueryContext(ctx, query, args)
	case driver.Queryer: //nolint:staticcheck // as package sql
		values, err := plainValues(ctx, args)
		if err != nil {
			return nil, err
		}
		return q.Query(query, values)
	}
	return nil, driver.ErrSkip
}

// driverStmt is the same for a statement.
type driverStmt struct {
	driver.Stmt
	conn driver.Conn
}

// CheckNamedValue asks the statement, else the connection, as package sql does.
func (s driverStmt) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	if checker, ok := s.conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (s driverStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if e, ok := s.Stmt.(driver.StmtExecContext); ok {
		return e.ExecContext(ctx, args)
	}
	values, err := plainValues(ctx, args)
	if err != nil {
		return nil, err
	}
	return s.Stmt.Exec(values) //nolint:staticcheck // as package sql
}

func (s driverStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := s.Stmt.(driver.StmtQueryContext); ok {
		return q.QueryContext(ctx, args)
	}
	values, err := plainValues(ctx, args)
	if err != nil {
		return nil, err
	}
	return s.Stmt.Query(values) //nolint:staticcheck // as package sql
}

// plainValues are the arguments for a driver that knows neither names nor contexts.
func plainValues(ctx context.Context, args []driver.NamedValue) ([]driver.Value, error) {
	values := make([]driver.Value, len(args))
	for i, a := range args {
		if a.Name != "" {
			return nil, errors.New("txlock: the driver does not support named parameters: use positional ones")
		}
		values[i] = a.Value
	}
	return values, ctx.Err()
}

// namedValues are the arguments of the calls that package sql no longer makes.
func namedValues(args []driver.Value) []driver.NamedValue {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return named
}
