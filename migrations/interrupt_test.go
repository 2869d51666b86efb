package migrations_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
)

var errInterrupted = errors.New("interrupted here")

// interrupted is a connector of one connection that fails every statement from
// the one after the nth that changes something, as if the process was killed there.
type interrupted struct {
	driver.Connector
	left int    // statements that may still change something
	at   func() // called in place of the next one, if any
}

func (c *interrupted) interrupt() error {
	if c.at != nil {
		c.at()
	}
	return errInterrupted
}

func (c *interrupted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	return &interruptedConn{Conn: conn, connector: c}, err
}

type interruptedConn struct {
	driver.Conn
	connector *interrupted
}

func (c *interruptedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

func (c *interruptedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *interruptedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.connector.left < 0 {
		return nil, c.connector.interrupt()
	}
	if changes(query) {
		if c.connector.left--; c.connector.left < 0 {
			return nil, c.connector.interrupt()
		}
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

// changes is false for what only the session can see.
func changes(query string) bool {
	for line := range strings.Lines(query) {
		if verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); verb != "" && verb != "--" {
			return verb != "SET" && verb != "PREPARE" && verb != "DEALLOCATE"
		}
	}
	return true
}
