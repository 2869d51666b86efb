package txlock_test

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/go-sql-driver/mysql"
)

// countingConnector tells of each statement before it is sent, and how many rows
// it has read.
type countingConnector struct {
	config   *mysql.Config
	database string
	read     func(query string, rows int)
	before   func(query string)
}

func (c countingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	config := c.config.Clone()
	config.DBName, config.InterpolateParams, config.Logger = c.database, true, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	read, before := c.read, c.before
	if read == nil {
		read = func(string, int) {}
	}
	if before == nil {
		before = func(string) {}
	}
	full, ok := conn.(mysqlConn)
	if !ok {
		return nil, errors.Join(errors.New("the driver's connection is not what it was"), conn.Close())
	}
	return countingConn{full, read, before}, nil
}

func (c countingConnector) Driver() driver.Driver { return mysql.MySQLDriver{} }

type mysqlConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
}

type countingConn struct {
	mysqlConn
	read   func(query string, rows int)
	before func(query string)
}

func (c countingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.before(query)
	return c.mysqlConn.ExecContext(ctx, query, args)
}

func (c countingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.before(query)
	rows, err := c.mysqlConn.QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return &countingRows{Rows: rows, done: func(n int) { c.read(query, n) }}, nil
}

type countingRows struct {
	driver.Rows
	n    int
	done func(n int)
}

func (r *countingRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if err == nil {
		r.n++
	}
	return err
}

func (r *countingRows) Close() error {
	r.done(r.n)
	return r.Rows.Close()
}
