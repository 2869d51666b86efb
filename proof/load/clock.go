package load

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/proof/history"
)

// Clock is what the server's clock shows to the worker's sessions, each time that one
// is taken out of the pool (SET timestamp). Its zero value is the server's own.
type Clock struct {
	// Chaos is how far it is off at most, forward or back, anew each time.
	Chaos time.Duration `json:",omitempty"`
	// Begin is the time, in seconds since 1970, that it shows at the monotonic Since,
	// from which it runs on.
	Begin, Since int64 `json:",omitempty"`
}

func (c *Clock) statement() string {
	switch {
	case c.Chaos != 0:
		off := rand.N(2*c.Chaos) - c.Chaos
		return fmt.Sprintf("SET timestamp = UNIX_TIMESTAMP(SYSDATE(6)) + (%s)", strconv.FormatFloat(off.Seconds(), 'f', 6, 64))
	case c.Begin != 0:
		now := float64(c.Begin) + time.Duration(history.Now()-c.Since).Seconds()
		return "SET timestamp = " + strconv.FormatFloat(now, 'f', 6, 64)
	}
	return "SET timestamp = DEFAULT"
}

// clocked connects sessions whose clock is set.
type clocked struct {
	driver.Connector
	clock *atomic.Pointer[Clock]
}

// mysqlConn is what a connection of the driver can do.
type mysqlConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

func (c clocked) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	able, ok := conn.(mysqlConn)
	if !ok {
		return nil, fmt.Errorf("a %T of the driver is not what it used to be", conn)
	}
	session := &clockedConn{mysqlConn: able, clock: c.clock}
	if err := session.set(ctx); err != nil {
		_ = conn.Close() // the error says more
		return nil, err
	}
	return session, nil
}

type clockedConn struct {
	mysqlConn
	clock *atomic.Pointer[Clock]
	isSet bool
}

// ResetSession is called whenever the pool gives the connection out again.
func (c *clockedConn) ResetSession(ctx context.Context) error {
	if err := c.mysqlConn.ResetSession(ctx); err != nil {
		return err
	}
	if c.set(ctx) != nil {
		return driver.ErrBadConn // take another
	}
	return nil
}

func (c *clockedConn) set(ctx context.Context) error {
	clock := c.clock.Load()
	if *clock == (Clock{}) && !c.isSet {
		return nil
	}
	c.isSet = true
	_, err := c.ExecContext(ctx, clock.statement(), nil)
	return err
}

func connector(dsn string, clock *atomic.Pointer[Clock]) (driver.Connector, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	config.Logger = &mysql.NopLogger{} // faults are the point
	base, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return clocked{Connector: base, clock: clock}, nil
}
