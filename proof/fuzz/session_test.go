package fuzz_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// session is a pool of one kind of session on a server, which counts what is sent.
type session struct {
	name string
	db   *sql.DB
	sent *atomic.Int64
}

// kindsOfSession are settings of a DSN that could come between a key and its row.
func kindsOfSession() map[string]func(*mysql.Config) error {
	charset := func(name string) func(*mysql.Config) error {
		return func(c *mysql.Config) error { return c.Apply(mysql.Charset(name, "")) }
	}
	return map[string]func(*mysql.Config) error{
		"plain":        func(*mysql.Config) error { return nil },
		"interpolated": func(c *mysql.Config) error { c.InterpolateParams = true; return nil },
		"found rows":   func(c *mysql.Config) error { c.ClientFoundRows, c.ParseTime = true, true; return nil },
		"latin1":       charset("latin1"),
		"gbk":          charset("gbk"),
		"sjis":         charset("sjis"),
		"time zone": func(c *mysql.Config) error {
			c.Params = map[string]string{"time_zone": "'-11:30'"}
			return nil
		},
		"no escapes": func(c *mysql.Config) error {
			c.InterpolateParams = true
			c.Params = map[string]string{"sql_mode": "'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'"}
			return nil
		},
	}
}

// sessions are pools of every kind, in the order of their names, on a database that
// nobody else sees.
func sessions(tb testing.TB, s *servertest.Instance) []session {
	tb.Helper()
	database := s.MigratedDatabase(tb)
	kinds := kindsOfSession()
	all := make([]session, 0, len(kinds))
	for _, name := range sortedKeys(kinds) {
		one := session{name: string(s.Engine) + ", " + name, sent: new(atomic.Int64)}
		config := s.Config().Clone()
		config.DBName = database
		if err := kinds[name](config); err != nil {
			tb.Fatal(err)
		}
		if config.Params == nil {
			config.Params = make(map[string]string)
		}
		config.Params["innodb_lock_wait_timeout"] = "2" // nothing is to wait, and an input has ten seconds
		connector, err := mysql.NewConnector(config)
		if err != nil {
			tb.Fatal(err)
		}
		one.db = sql.OpenDB(countingConnector{connector, one.sent})
		tb.Cleanup(func() {
			if err := one.db.Close(); err != nil {
				tb.Error(err)
			}
		})
		all = append(all, one)
	}
	return all
}

// countingConnector counts the calls that send something.
type countingConnector struct {
	driver.Connector
	sent *atomic.Int64
}

func (c countingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(mysqlConn)
	if !ok {
		return nil, errors.Join(errors.New("the driver's connection is not what it was"), conn.Close())
	}
	return countingConn{full, c.sent}, nil
}

// mysqlConn is what the driver's connections are.
type mysqlConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
}

type countingConn struct {
	mysqlConn
	sent *atomic.Int64
}

func (c countingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.sent.Add(1)
	return c.mysqlConn.BeginTx(ctx, opts)
}

func (c countingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.sent.Add(1)
	return c.mysqlConn.PrepareContext(ctx, query)
}

func (c countingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.sent.Add(1)
	return c.mysqlConn.ExecContext(ctx, query, args)
}

func (c countingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.sent.Add(1)
	return c.mysqlConn.QueryContext(ctx, query, args)
}

// statementName is the name that sqlc puts before a statement; of any other
// statement, its text.
func statementName(query string) string {
	rest, ours := strings.CutPrefix(query, "-- name: ")
	if !ours {
		return query
	}
	name, _, _ := strings.Cut(rest, " ")
	return name
}
