package txlock

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
)

// fencedConn is a connection whose transactions are fenced. Package sql uses it
// from one goroutine at a time.
type fencedConn struct {
	driverConn
	connector *fencedConnector
	tx        *fencedTx    // the one that is open, if any
	dirty     bool         // what is open on it is not known: it must be closed
	skips     bool         // the driver prepares what has arguments
	fences    preparedOnce // the fence's statements
}

func (c *fencedConn) job() job { return job{op: "fence", key: c.connector.lease.key} }

// refused explains why a statement is not sent.
func (c *fencedConn) refused(s sqlStatement, reason string) error {
	verb := s.verb
	if verb == "" {
		verb = "it"
	}
	return fmt.Errorf("%w (key %q): %s %s", ErrUnfenced, c.connector.lease.key, verb, reason)
}

// Begin is what package sql no longer calls.
func (c *fencedConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx begins a transaction and fences it.
func (c *fencedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.begin(ctx, opts)
	if err != nil {
		return nil, err
	}
	return tx, nil
}

func (c *fencedConn) begin(ctx context.Context, opts driver.TxOptions) (*fencedTx, error) {
	le := c.connector.lease
	switch {
	case c.tx != nil:
		return nil, c.refused(sqlStatement{verb: "BEGIN"}, "would commit the transaction that is open on this connection: end that one first")
	case le.locker.closed.Load():
		return nil, closedError("fence", le.key)
	}
	if err := le.refuseNested(ctx, nil); err != nil {
		return nil, err
	}
	base, err := c.driverConn.BeginTx(ctx, opts)
	switch {
	case errors.Is(err, mysql.ErrInvalidConn): // a pooled connection that has ended meanwhile
		return nil, fmt.Errorf("txlock: fence %q: at BEGIN: %w: %w", le.key, ErrTxAborted, err)
	case err != nil:
		return nil, err
	}
	c.tx = &fencedTx{conn: c, base: base, fence: le.newFence(opts.ReadOnly)}
	if err := c.fence(ctx, c.tx.fence); err != nil {
		return nil, c.job().bodyError(err, c.tx.Rollback())
	}
	return c.tx, nil
}

// admit decides about a statement: whether it is sent as it is, or as a
// transaction of its own.
func (c *fencedConn) admit(s sqlStatement, query bool) (alone bool, err error) {
	if err := c.check(s); err != nil {
		return false, err
	}
	switch {
	case c.tx != nil:
		return false, nil
	case s.kind == sqlReads, s.kind == sqlSets:
		return false, nil
	case s.kind == sqlSavepoint:
		return false, c.refused(s, "outside of a transaction has no effect: begin one")
	case c.connector.refuseBareWrites:
		return false, c.refused(s, "is not in a transaction, and RefuseBareWrites was asked for: run it in a transaction, or send it through the base database")
	case query:
		return false, c.refused(s, "outside of a transaction cannot be fenced, since it returns rows: run it in a transaction, or send it through the base database")
	}
	return true, nil
}

// check refuses what can be sent neither in a transaction nor outside of one, and
// everything in one that may have been rolled back.
func (c *fencedConn) check(s sqlStatement) error {
	if c.tx != nil {
		if err := c.tx.refuses(s); err != nil {
			return err
		}
	}
	switch {
	case s.kind == sqlRefused:
		return c.refused(s, s.reason)
	case s.kind == sqlCalls && !c.connector.allowCalls:
		return c.refused(s, reasonCall)
	}
	return nil
}

// Prepare is what package sql no longer calls.
func (c *fencedConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext prepares a statement, which is looked at again when it is used.
func (c *fencedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s := classifySQL(query)
	if err := c.check(s); err != nil {
		return nil, err
	}
	stmt, err := c.driverConn.PrepareContext(ctx, query)
	if err != nil {
		c.saw(err)
		return nil, err
	}
	fenced := &fencedStmt{driverStmt: driverStmt{stmt, c.Conn}, fenced: c, statement: s}
	if converter, ok := stmt.(driver.ColumnConverter); ok { //nolint:staticcheck // as package sql
		return &convertingStmt{fenced, converter}, nil
	}
	return fenced, nil
}

// ExecContext executes a statement.
func (c *fencedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s := classifySQL(query)
	if c.skips && len(args) > 0 || !c.executes() {
		if _, err := c.admit(s, false); err != nil {
			return nil, err
		}
		return nil, driver.ErrSkip // before a transaction is begun in vain
	}
	return c.exec(ctx, s, func() (driver.Result, error) { return c.driverConn.ExecContext(ctx, query, args) })
}

// exec executes a statement by send, in a transaction of its own where it needs
// one.
func (c *fencedConn) exec(ctx context.Context, s sqlStatement, send func() (driver.Result, error)) (driver.Result, error) {
	alone, err := c.admit(s, false)
	if err != nil {
		return nil, err
	}
	if alone {
		return c.execAlone(ctx, send)
	}
	result, err := send()
	if err == nil && c.tx != nil {
		c.tx.succeeded(s)
	}
	c.saw(err)
	return result, err
}

func (c *fencedConn) execAlone(ctx context.Context, send func() (driver.Result, error)) (driver.Result, error) {
	tx, err := c.begin(ctx, driver.TxOptions{})
	if err != nil {
		return nil, err
	}
	result, err := send()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		rollbackErr := tx.Rollback()
		if err == driver.ErrSkip { //nolint:errorlint // package sql compares, too
			c.skips = true
			if rollbackErr == nil {
				return nil, err
			}
		}
		return nil, c.job().bodyError(err, rollbackErr)
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return result, nil
}

// QueryContext sends a statement that returns rows.
func (c *fencedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.query(classifySQL(query), func() (driver.Rows, error) { return c.driverConn.QueryContext(ctx, query, args) })
}

// query sends a statement by send.
func (c *fencedConn) query(s sqlStatement, send func() (driver.Rows, error)) (driver.Rows, error) {
	if _, err := c.admit(s, true); err != nil {
		return nil, err
	}
	rows, err := send()
	if c.tx == nil {
		return rows, err
	}
	if err != nil {
		c.saw(err)
		return nil, err
	}
	return &fencedRows{Rows: rows, tx: c.tx}, nil
}

// saw looks at an error of a statement of the open transaction.
func (c *fencedConn) saw(err error) {
	if c.tx != nil {
		c.tx.saw(err)
	}
}

// ResetSession and IsValid let the pool close a connection on which a transaction
// is open, or may be.
func (c *fencedConn) ResetSession(ctx context.Context) error {
	if c.tx != nil || c.dirty {
		return driver.ErrBadConn
	}
	return c.driverConn.ResetSession(ctx)
}

// IsValid: see ResetSession.
func (c *fencedConn) IsValid() bool {
	return c.tx == nil && !c.dirty && c.driverConn.IsValid()
}
