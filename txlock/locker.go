package txlock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/gox-helix/gox-helix/internal/schema"
	"github.com/gox-helix/gox-helix/lockdb"
)

// rememberedKeys bounds the memory of keys: with keys of a hundred bytes, some
// megabytes where it is ever full.
const rememberedKeys = 16384

// Locker acquires locks and leases under one owner, in one database. It is safe
// for use by many goroutines, which exclude each other as any two owners do. It keeps no
// connection. It runs goroutines only while it keeps leases alive ([Lease.KeepAlive],
// [Locker.Run]): one, and one for each heartbeat under way.
type Locker struct {
	config

	db      *sql.DB
	plain   *lockdb.Queries                // statements sent as text
	queries atomic.Pointer[lockdb.Queries] // plain, or prepared ones
	closed  atomic.Bool
	checked atomic.Bool // the server is one on which row locks suffice: see checkServer
	known   *knownKeys
	aborted abortedTxs
	waiters waiters
	keeper  *keeper
}

// New returns a Locker for the database of db, whose tables the migrations of
// this module have created. It sends nothing, but with [WithVerify]: otherwise a
// database that is not migrated shows as [ErrNotMigrated] at the first use, or in
// [Locker.Prepare].
//
// It fails with an [InvalidError] for an invalid option or a nil db, and where
// the host has no name to make an owner of.
func New(db *sql.DB, opts ...Option) (*Locker, error) {
	if db == nil {
		return nil, invalidNil("*sql.DB", "give the pool whose transactions are to be protected")
	}
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if c.verify != nil {
		if err := c.verify(db); err != nil {
			return nil, err
		}
		c.verify = nil
	}
	l := &Locker{config: c, db: db, plain: lockdb.New(db), known: newKnownKeys(rememberedKeys)}
	l.queries.Store(l.plain)
	l.keeper = newKeeper(l)
	return l, nil
}

// verify is schema.Verify in this package's words.
func verify(ctx context.Context, db *sql.DB) error {
	err := schema.Verify(ctx, db)
	var drift *schema.DriftError
	if errors.As(err, &drift) && drift.NotMigrated() {
		return fmt.Errorf("%w: %w", ErrNotMigrated, err)
	}
	if err != nil {
		return fmt.Errorf("txlock: %w", err)
	}
	return nil
}

// Owner returns the name under which this Locker holds.
func (l *Locker) Owner() string { return l.owner }

// Prepare prepares the statements of lock traffic on the server, so that each later
// operation on one key or lease, and each heartbeat, is one round trip even where
// the DSN does not say interpolateParams (the driver otherwise prepares, executes
// and closes: two round trips and a packet, as it still does for the operators'
// verbs, for AcquireManyTx, and for what is seldom needed). Each connection of the pool prepares a statement at its first use
// there and keeps it, which counts towards the server's
// max_prepared_stmt_count: at most twelve a connection.
//
// Call it once at start-up, after the migrations; transactions given to the
// Locker must then come from the db given to New. It takes a connection of the
// pool for as many round trips as there are statements, and fails with
// [ErrNotMigrated] if a table or a column is missing, or with what the server or
// the pool said.
func (l *Locker) Prepare(ctx context.Context) error {
	if l.closed.Load() {
		return ErrClosed
	}
	if l.queries.Load() != l.plain {
		return nil
	}
	p := &preparer{DB: l.db}
	q, err := lockdb.Prepare(ctx, p)
	if err != nil {
		return errors.Join(prepareError(err), p.close())
	}
	if !l.queries.CompareAndSwap(l.plain, q) {
		return p.close() // another call of Prepare was first
	}
	if l.closed.Load() {
		return errors.Join(ErrClosed, l.Close())
	}
	return nil
}

// Close ends the heartbeats of leases that are kept alive, waits for those that are
// under way to end, and closes what [Locker.Prepare] prepared. db stays open; leases
// stay held until they expire, and the [Lease.Context] of those that were kept ends
// with ErrClosed. Every later call fails with [ErrClosed], and so does an
// [Locker.Acquire] that is waiting. Close fails with
// what the driver says of closing statements; it can be called again.
func (l *Locker) Close() error {
	l.closed.Store(true)
	l.keeper.close()
	if q := l.queries.Swap(l.plain); q != l.plain {
		if err := q.Close(); err != nil {
			return fmt.Errorf("txlock: closing prepared statements: %w", err)
		}
	}
	return nil
}

// preparer keeps what was prepared, since lockdb.Prepare drops it where a later
// statement fails.
type preparer struct {
	*sql.DB
	stmts []*sql.Stmt
}

// PrepareContext prepares what is worth it; where it returns no statement, lockdb
// sends text.
func (p *preparer) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if !lockdb.IsHot(query) {
		return nil, nil
	}
	stmt, err := p.DB.PrepareContext(ctx, query)
	if err == nil {
		p.stmts = append(p.stmts, stmt)
	}
	return stmt, err
}

func (p *preparer) close() error {
	var errs []error
	for _, stmt := range p.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(errs...)
}

// queriesFor returns the queries for a transaction that may be used: the one check that
// every operation passes before it sends anything.
func (l *Locker) queriesFor(tx *sql.Tx, op, key string) (*lockdb.Queries, error) {
	switch {
	case l.closed.Load():
		return nil, closedError(op, key)
	case tx == nil:
		return nil, invalidNil("*sql.Tx", "begin a transaction first")
	}
	if cause := l.aborted.cause(tx); errors.Is(cause, ErrBusy) {
		return nil, &BusyError{Key: key, Err: errNotSent}
	} else if cause != nil {
		return nil, fmt.Errorf("txlock: %s %q: %w: %w: roll back and run it again from its start", op, key, cause, errNotSent)
	}
	return l.queries.Load().WithTx(tx), nil
}

// failed explains the failure of a statement in tx, and remembers the transaction
// if the server has rolled it back, or may have.
func (l *Locker) failed(tx *sql.Tx, op, key string, err error) error {
	l.noteConnection(err)
	err = statementError(op, key, err)
	for _, cause := range []error{ErrTxAborted, ErrBusy} {
		if errors.Is(err, cause) {
			l.aborted.add(tx, cause)
		}
	}
	return err
}

// noteConnection lets checkServer look again after a lost connection: the next one may be
// to another server.
func (l *Locker) noteConnection(err error) {
	if isConnectionLost(err) {
		l.checked.Store(false)
	}
}

var errNotSent = errors.New("nothing was sent, because of what an earlier call said of this transaction")

func closedError(op, key string) error {
	return fmt.Errorf("txlock: %s %q: %w: make another with New", op, key, ErrClosed)
}

func invalidNil(what, next string) error {
	return &InvalidError{Kind: ErrInvalidArgument, Value: "nil " + what, Reason: next}
}
