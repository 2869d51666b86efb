package txlock

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
)

// FencedConnector fences code that cannot be changed: an ORM, a generated data
// layer. Every transaction of
//
//	db := sql.OpenDB(txlock.FencedConnector(base, lease))
//
// verifies the lease as it begins, as [Lease.InTx] does, and every statement
// outside of a transaction that may write is given a fenced one of its own, or is
// refused. base connects to the same database as the pool given to [New], by
// another user if you like; its options, such as those of its DSN, stay as they
// are. Make one such pool for each lease, with few connections, and close it with
// the lease's work.
//
// # In a transaction
//
// Begin fails, and rolls back, with [ErrLost] if the lease is over, [ErrClosed]
// after [Locker.Close], [ErrBusy] or [ErrTxAborted] as [Lease.VerifyTx] does. The
// fence lasts until the transaction ends; so what would end it in between is
// refused with [ErrUnfenced], before it is sent: DDL, TRUNCATE, LOCK TABLES,
// BEGIN, COMMIT or ROLLBACK as text, SET autocommit, XA, CALL (see [AllowCalls]),
// several statements in one text, executable comments, and whatever else is not
// known to leave it in place. Savepoints, temporary tables, and SET of variables
// that a fence does not depend on, are as usual.
//
// When the server aborts the transaction (deadlock, conflict, lost connection,
// also while rows are read), or a statement's lock wait times out, which may do
// so, the statement's error is returned as it is, and all further ones fail with
// [ErrTxAborted], unsent: otherwise they would run in autocommit. Commit then rolls
// back and fails likewise. Only ROLLBACK TO a savepoint is sent after a timeout,
// since it proves that the transaction is still there, and if it succeeds all goes
// on. Commit fails with [ErrCommitUnknown] where the answer did not come.
//
// A read-only transaction is fenced, too, with a shared lock also under
// [WithMultiWriter].
//
// # Outside of a transaction
//
// What only reads (SELECT, SHOW, EXPLAIN, VALUES, TABLE, WITH ... SELECT) passes,
// and is not fenced; neither is what a stored function writes in a SELECT. Exec of
// what writes is sent as BEGIN, fence, statement, COMMIT, with the errors above,
// unless [RefuseBareWrites] is given. Query of such a statement (INSERT ...
// RETURNING, SELECT ... FOR UPDATE, SELECT ... INTO) is refused with [ErrUnfenced],
// as is everything that is refused in a transaction.
//
// # What it costs, and what it leaves
//
// A fence is one statement in the transaction: one round trip, since each
// connection keeps it prepared from its second fence on (or interpolates, where
// the DSN says interpolateParams). One prepared statement more counts towards the
// server's max_prepared_stmt_count for each connection. A bare write takes three
// round trips more than without.
//
// [database/sql.Conn.Raw] gives a fenced connection; its type is not that of base,
// and what base offers beyond package driver cannot be reached. db.Driver() is
// base's, and what it opens is not fenced.
//
// FencedConnector has no error to return: for a nil base or lease, or a nil
// option, each Connect fails with an [InvalidError]. It sends nothing by itself.
func FencedConnector(base driver.Connector, lease *Lease, opts ...FenceOption) driver.Connector {
	c := &fencedConnector{base: base, lease: lease}
	switch {
	case base == nil:
		c.invalid = invalidNil("driver.Connector", "give one for the database of the lease, such as mysql.NewConnector makes")
	case lease == nil || lease.locker == nil:
		c.invalid = invalidNil("*Lease", "acquire one first")
	}
	for i, opt := range opts {
		if opt == nil {
			c.invalid = &InvalidError{Kind: ErrInvalidArgument, Value: fmt.Sprintf("nil (number %d)", i+1), Reason: "leave it out"}
			break
		}
		opt(c)
	}
	return c
}

// FenceOption sets up a [FencedConnector].
type FenceOption func(*fencedConnector)

// RefuseBareWrites refuses what writes outside of a transaction with
// [ErrUnfenced], so that one that was forgotten comes to light.
func RefuseBareWrites() FenceOption {
	return func(c *fencedConnector) { c.refuseBareWrites = true }
}

// AllowCalls allows CALL, in a transaction or by Exec outside of one. Give it only
// where no procedure that is called commits, rolls back or runs DDL: that ends the
// fence without a word.
func AllowCalls() FenceOption {
	return func(c *fencedConnector) { c.allowCalls = true }
}

type fencedConnector struct {
	base             driver.Connector
	lease            *Lease
	invalid          error
	refuseBareWrites bool
	allowCalls       bool
}

// Connect opens a connection of the base.
func (c *fencedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.invalid != nil {
		return nil, c.invalid
	}
	conn, err := c.base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &fencedConn{driverConn: driverConn{conn}, connector: c}, nil
}

// Driver is that of the base.
func (c *fencedConnector) Driver() driver.Driver {
	if c.base == nil {
		return noDriver{c.invalid}
	}
	return c.base.Driver()
}

// Close closes the base if that can be closed; database/sql calls it.
func (c *fencedConnector) Close() error {
	if closer, ok := c.base.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// noDriver stands where no base was given.
type noDriver struct{ err error }

func (d noDriver) Open(string) (driver.Conn, error) { return nil, d.err }
