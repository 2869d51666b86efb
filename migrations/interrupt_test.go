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

func (c *interruptedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.connector.left < 0 {
		return nil, c.connector.interrupt()
	}
	if changes(query) {
		if c.connector.left--; c.connector.left < 0 {
			return nil, c.connector.interrupt()
		}
	}
	return c.driverConn.ExecContext(ctx, query, args)
}

// changes is false for what only the session can see.
func changes(query string) bool {
	for line := range strings.Lines(query) {
		if verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); verb != "" && verb != "--" {
			return verb != "SET" && verb != "PREPARE" && verb != "DEALLOCATE" && !strings.HasPrefix(query, "EXECUTE helix_look")
		}
	}
	return true
}
