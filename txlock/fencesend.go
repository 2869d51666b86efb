package txlock

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/gox-helix/gox-helix/lockdb"
)

// fence sends the fence's statement on the connection, in its open transaction,
// and explains the answer.
func (c *fencedConn) fence(ctx context.Context, f *fence) (err error) {
	le := f.lease
	ctx, seen := le.locker.observe(ctx, Operation{Name: OpVerify, Key: le.key, Keys: 1})
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: le.epoch, Attempts: 1}) }()

	// Package lockdb wants package sql, which wants a pool; it lives as long as the
	// statement.
	db := sql.OpenDB(&loan{conn: c})
	q := lockdb.New(db)
	n, err := f.send(ctx, q)
	if err = errors.Join(err, db.Close()); err != nil {
		le.locker.noteConnection(err)
		return errors.Join(statementError("fence", le.key, err), c.fences.forget())
	}
	if n == 0 {
		err = le.lost()
		le.noteLoss(err)
	}
	return err
}

// loan lends a connection that is in use to a pool of its own, once.
type loan struct {
	conn *fencedConn
	lent bool
}

func (l *loan) Connect(context.Context) (driver.Conn, error) {
	if l.lent { // the pool tries again on what it takes for another connection
		return nil, driver.ErrBadConn
	}
	l.lent = true
	return &lentConn{l.conn.driverConn, &l.conn.fences}, nil
}

func (l *loan) Driver() driver.Driver { return l.conn.connector.Driver() }

// lentConn prepares each statement once, and is not closed.
type lentConn struct {
	driverConn
	prepared *preparedOnce
}

func (c *lentConn) Close() error { return nil }

// ResetSession and IsValid are for between transactions.
func (c *lentConn) ResetSession(context.Context) error { return nil }

// IsValid: see ResetSession.
func (c *lentConn) IsValid() bool { return true }

func (c *lentConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if stmt, ok := c.prepared.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := c.driverConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if c.prepared.stmts == nil {
		c.prepared.stmts = make(map[string]keptStmt)
	}
	kept := keptStmt{driverStmt{stmt, c.Conn}}
	c.prepared.stmts[query] = kept
	return kept, nil
}

// preparedOnce are statements that stay prepared until the connection is closed,
// which ends them, too.
type preparedOnce struct{ stmts map[string]keptStmt }

// forget closes them, in case they are why something failed.
func (p *preparedOnce) forget() error {
	var errs []error
	for _, stmt := range p.stmts {
		if err := stmt.Stmt.Close(); !isConnectionLost(err) { // says nothing new
			errs = append(errs, err)
		}
	}
	p.stmts = nil
	return errors.Join(errs...)
}

// keptStmt outlives its use.
type keptStmt struct{ driverStmt }

func (keptStmt) Close() error { return nil }
