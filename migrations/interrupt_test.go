package migrations_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
)

var errInterrupted = errors.New("interrupted here")

// interrupted is a connector of one connection that fails every statement from
// the one after the nth that changes something, as if the process was killed there.
type interrupted struct {
	driver.Connector
	left   int                      // statements that may still change something
	at     func()                   // called in place of the next one, or of an answer, if any
	before func(query string) error // called before each statement, if any: an error is its answer
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

func (c *interruptedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.connector.left < 0 {
		return nil, c.connector.interrupt()
	}
	if c.changes(query) {
		if c.connector.left--; c.connector.left < 0 {
			return nil, c.connector.interrupt()
		}
	}
	if c.connector.before != nil {
		if err := c.connector.before(query); err != nil {
			return nil, err
		}
	}
	return c.driverConn.ExecContext(ctx, query, args)
}

func (c *interruptedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
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
func (c *interruptedConn) changes(query string) bool {
	if !strings.HasPrefix(query, "EXECUTE") {
		return changes(query)
	}
	return strings.HasPrefix(query, "EXECUTE helix_step") && changes(c.prepared())
}

// prepared is what the session is to execute.
func (c *interruptedConn) prepared() string {
	rows, err := c.driverConn.QueryContext(context.Background(), `SELECT @helix_statement`, nil)
	if err != nil {
		return err.Error()
	}
	value := make([]driver.Value, 1)
	if err := errors.Join(rows.Next(value), rows.Close()); err != nil {
		return err.Error()
	}
	text, _ := value[0].([]byte)
	return string(text)
}

// changes is false for what only the session can see.
func changes(query string) bool {
	for line := range strings.Lines(query) {
		if verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); verb != "" && verb != "--" {
			return !slices.Contains([]string{"SET", "PREPARE", "DEALLOCATE", "DO", "SELECT", "START"}, verb)
		}
	}
	return true
}
