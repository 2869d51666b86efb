package migrations_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

var errInterrupted = errors.New("interrupted here")

// interrupted is a connector of one connection that fails every statement from
// the one after the nth that changes something, as if the process was killed there.
type interrupted struct {
	driver.Connector
	left   int                      // statements that may still change something
	at     func()                   // called in place of the next one, or of an answer, if any
	before func(query string) error // called before each statement, if any: an error is its answer
	answer func(query string) error // the same before each query
	after  func(query string) bool  // called after each query, if any: true takes its answer away
}

func (c *interrupted) interrupt() error {
	if c.at != nil {
		c.at()
	}
	return errInterrupted
}

func (c *interrupted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	able, ok := conn.(driverConn)
	if !ok {
		return nil, errors.New("the driver's connections have changed")
	}
	return &interruptedConn{able, c}, nil
}

// driverConn is what the driver's connections are.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.QueryerContext
	driver.ExecerContext
}

type interruptedConn struct {
	driverConn
	connector *interrupted
}

// BeginTx makes COMMIT a statement like any other.
func (c *interruptedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.driverConn.BeginTx(ctx, opts)
	return &interruptedTx{tx, c}, err
}

type interruptedTx struct {
	driver.Tx
	conn *interruptedConn
}

func (tx *interruptedTx) Commit() error {
	if err := tx.conn.pass("COMMIT"); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Tx.Commit()
}

// pass is called before each statement.
func (c *interruptedConn) pass(query string) error {
	if c.connector.left < 0 {
		return c.connector.interrupt()
	}
	if changes(query) {
		if c.connector.left--; c.connector.left < 0 {
			return c.connector.interrupt()
		}
	}
	if c.connector.before != nil {
		return c.connector.before(query)
	}
	return nil
}

func (c *interruptedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.pass(query); err != nil {
		return nil, err
	}
	return c.driverConn.ExecContext(ctx, query, args)
}

func (c *interruptedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.connector.answer != nil {
		if err := c.connector.answer(query); err != nil {
			return nil, err
		}
	}
	rows, err := c.driverConn.QueryContext(ctx, query, args)
	if err != nil || c.connector.after == nil {
		return rows, err
	}
	if c.connector.after(query) {
		return nil, errors.Join(rows.Close(), c.connector.interrupt())
	}
	return rows, nil
}

// changes is false for what only the session can see.
func changes(query string) bool {
	for line := range strings.Lines(query) {
		if verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); verb != "" && verb != "--" {
			return !slices.Contains([]string{"SET", "SELECT"}, verb)
		}
	}
	return true
}

func (d *database) connector(opts ...func(*mysql.Config)) driver.Connector {
	d.Helper()
	config := d.server.Config()
	config.DBName = d.name
	for _, opt := range opts {
		opt(config)
	}
	return ok[driver.Connector](d.T)(mysql.NewConnector(config))
}

// through opens a pool of one connection.
func (d *database) through(connector driver.Connector) *sql.DB {
	d.Helper()
	db := d.pool(connector)
	db.SetMaxOpenConns(1)
	return db
}

func (d *database) pool(connector driver.Connector) *sql.DB {
	d.Helper()
	db := sql.OpenDB(connector)
	d.Cleanup(func() {
		if err := db.Close(); err != nil {
			d.Error(err)
		}
	})
	return db
}

func (d *database) interruptedAfter(n int) *sql.DB {
	d.Helper()
	return d.through(&interrupted{Connector: d.connector(), left: n})
}

// clear drops every table.
func (d *database) clear() {
	d.Helper()
	if all := d.tables(); len(all) > 0 {
		d.exec("DROP TABLE " + strings.Join(all, ", "))
	}
}
