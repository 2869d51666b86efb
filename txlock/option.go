package txlock

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Option sets up a [Locker]; an invalid one makes [New] fail.
type Option func(*config) error

type config struct {
	owner        string
	ttl          time.Duration
	multiWriter  bool
	singleWriter bool
	attempts     int
	txOptions    *sql.TxOptions
	observers    []Observer
	poll         time.Duration
	verify       func(db *sql.DB) error // once, if at all
}

// WithOwner names the holder in every lease of the Locker, 1 to 255 bytes. The
// default is made of the host's name, the process id and a random part, new for
// every Locker. A stable name lets a restarted worker take back its own leases
// with [Reclaim]; two processes must never share one.
func WithOwner(owner string) Option {
	return func(c *config) error {
		if reason := nameReason(owner); reason != "" {
			return &InvalidError{Kind: ErrInvalidArgument, Value: "WithOwner(" + quoteName(owner) + ")", Reason: reason}
		}
		c.owner = owner
		return nil
	}
}

// WithTTL sets the time to live of leases that are acquired without [TTL], from
// [MinTTL] to [MaxTTL]. The default is [DefaultTTL].
func WithTTL(ttl time.Duration) Option {
	return func(c *config) error {
		c.ttl = ttl
		return checkTTL(ttl)
	}
}

// WithMultiWriter is for a cluster on which more than one server takes writes: Galera, or
// Group Replication in multi-primary mode. Row locks are not replicated there; writes are
// certified at COMMIT. So every lock and every fence writes the key's row. Fenced
// transactions of one lease wait for each other, and each renews the lease. On Galera the
// DSN must say interpolateParams=true: see Limits in the package's documentation.
func WithMultiWriter() Option {
	return func(c *config) error {
		c.multiWriter = true
		return nil
	}
}

// WithSingleWriter says that all programs that use these locks write to the same server,
// also if that is a node of a cluster. The Locker then does not look at the server: without
// this option or [WithMultiWriter], its first lock or fence, and the first after a lost
// connection, sends SHOW GLOBAL VARIABLES and fails with [ErrMultiWriter] where several
// servers may take writes.
func WithSingleWriter() Option {
	return func(c *config) error {
		c.singleWriter = true
		return nil
	}
}

// WithMaxAttempts bounds how often the forms that begin a transaction of their
// own ([Locker.Do], [Lease.InTx], [Locker.TryAcquire], [Lease.Renew],
// [Lease.Release]) run it when the server aborts it, from 1 to 1000. The default
// is 10, with a random pause of up to 5 ms before the second attempt, doubling up
// to 500 ms.
func WithMaxAttempts(n int) Option {
	return func(c *config) error {
		if n < 1 || n > 1000 {
			return &InvalidError{Kind: ErrInvalidArgument, Value: fmt.Sprintf("WithMaxAttempts(%d)", n), Reason: "must be from 1 to 1000"}
		}
		c.attempts = n
		return nil
	}
}

// WithVerify makes [New] compare the tables once with what this version needs, as
// migrations.Verify does: at start-up an error then names every difference and
// its cure, rather than the first statement that trips over one. New fails with a
// migrations.DriftError, which matches [ErrNotMigrated] where migrations have not
// run or were interrupted, and with what the server said if it could not be asked
// within ctx.
//
// It is six statements, on one connection or several, which only read.
func WithVerify(ctx context.Context) Option {
	return func(c *config) error {
		if ctx == nil {
			return invalidNil("context.Context", "give WithVerify the context of the start-up")
		}
		c.verify = func(db *sql.DB) error { return verify(ctx, db) }
		return nil
	}
}

// WithTxOptions sets the isolation level of the business transactions that
// [Locker.Do] and [Lease.InTx] begin. The default is the server's own. Read-only
// transactions are refused: they cannot lock.
func WithTxOptions(opts sql.TxOptions) Option {
	return func(c *config) error {
		if opts.ReadOnly {
			return &InvalidError{Kind: ErrInvalidArgument, Value: "WithTxOptions(ReadOnly)", Reason: "read-only transactions cannot lock: leave ReadOnly out"}
		}
		switch opts.Isolation {
		case sql.LevelDefault, sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable:
		default:
			return &InvalidError{Kind: ErrInvalidArgument, Value: "WithTxOptions(" + opts.Isolation.String() + ")", Reason: "MySQL and MariaDB have no such isolation level"}
		}
		c.txOptions = &opts
		return nil
	}
}

// WithObserver lets o see what the Locker does. It can be given more than once:
// the first one starts first and ends last.
func WithObserver(o Observer) Option {
	return func(c *config) error {
		if o == nil {
			return &InvalidError{Kind: ErrInvalidArgument, Value: "WithObserver(nil)", Reason: "leave it out"}
		}
		c.observers = append(c.observers, o)
		return nil
	}
}

// WithPollInterval bounds how long a waiting [Locker.Acquire] sleeps before it asks
// again, and so how late it notices a release in another process, from 1 ms to 1 h.
// The default is 1 s.
func WithPollInterval(d time.Duration) Option {
	return func(c *config) error {
		if d < time.Millisecond || d > time.Hour {
			return &InvalidError{Kind: ErrInvalidArgument, Value: "WithPollInterval(" + d.String() + ")", Reason: "must be from 1ms to 1h"}
		}
		c.poll = d
		return nil
	}
}

func newConfig(opts []Option) (config, error) {
	c := config{ttl: DefaultTTL, attempts: 10, poll: time.Second}
	for i, opt := range opts {
		if opt == nil {
			return config{}, &InvalidError{Kind: ErrInvalidArgument, Value: fmt.Sprintf("nil (number %d)", i+1), Reason: "leave it out"}
		}
		if err := opt(&c); err != nil {
			return config{}, err
		}
	}
	if c.singleWriter && c.multiWriter {
		return config{}, &InvalidError{Kind: ErrInvalidArgument, Value: "WithSingleWriter()", Reason: "contradicts WithMultiWriter: leave one out"}
	}
	if c.owner == "" {
		owner, err := defaultOwner()
		if err != nil {
			return config{}, err
		}
		c.owner = owner
	}
	return c, nil
}

// AcquireOption sets up one acquisition; an invalid one makes the call fail
// before anything is sent.
type AcquireOption func(*acquisition)

// acquisition is what one call asks for.
type acquisition struct {
	ttl      time.Duration
	ttlSet   bool
	reclaim  bool
	newEpoch bool
	shared   bool
	noWait   bool
	ensured  bool // the key's row is there: see ensureFirst
}

// TTL sets the time to live of this lease, from [MinTTL] to [MaxTTL], counted on
// the server's clock from its acquisition and from each of its renewals, to the
// microsecond. Renew when a third of it is gone, so that two attempts may fail.
func TTL(ttl time.Duration) AcquireOption {
	return func(a *acquisition) { a.ttl, a.ttlSet = ttl, true }
}

// Reclaim also takes a lease that this Locker's own owner holds, so that a
// restarted worker with a stable name ([WithOwner]) need not wait out its own
// TTL. The older lease is thereby lost, also where another goroutine of this
// process has it.
func Reclaim() AcquireOption {
	return func(a *acquisition) { a.reclaim = true }
}

// NewEpoch lets a lock ([Locker.Do], [Locker.LockTx]) raise the key's epoch, which
// [EpochFromContext] then returns: a fencing token for what lies outside the database. The
// lock then writes the key's row.
func NewEpoch() AcquireOption {
	return func(a *acquisition) { a.newEpoch = true }
}

// Shared lets a lock ([Locker.Do], [Locker.LockTx]) stand beside other shared ones. It
// excludes leases and locks that are not shared, and they exclude it. A waiting exclusive
// lock blocks later shared ones.
//
// A key that this Locker has not seen yet takes some more statements, in a transaction of
// its own that makes the key's row. A shared lock that meets a lease which expired without
// a release takes the key over, and is exclusive for that once; several that meet it at the
// same time may be aborted ([ErrTxAborted]), but for one.
//
// It fails with [ErrInvalidArgument] together with [NewEpoch] or [NoWait], and under
// [WithMultiWriter], since shared locks are not replicated. On a server that takes no
// writes, and in a read-only transaction, the server refuses it. It does not survive an XA
// PREPARE on MariaDB.
func Shared() AcquireOption {
	return func(a *acquisition) { a.shared = true }
}

// NoWait answers at once where another transaction has the row of the key locked:
// with [ErrBusy], nothing acquired and the transaction as usable as before. With
// [Locker.Acquire] and [Locker.Run] it also means not to wait for a lease to end:
// they fail with [ErrHeld] at once.
//
// The refused transaction keeps others from inserting fresh keys that sort right
// behind this one until it ends, unless it is in READ COMMITTED: end it soon.
//
// A key whose row this Locker has not seen yet takes some more statements, in
// short transactions of the pool given to [New], which make its row, free: that
// stays, whatever becomes of the caller's transaction. Where that cannot be done
// within a second, the answer is ErrBusy, too, and so is the first one for a key that
// was purged after this Locker has seen it. In a pool of one connection, which the
// caller's transaction has, the forms that take one fail with an [InvalidError].
func NoWait() AcquireOption {
	return func(a *acquisition) { a.noWait = true }
}

func applyAcquireOptions(a *acquisition, opts []AcquireOption) error {
	for i, opt := range opts {
		if opt == nil {
			return &InvalidError{Kind: ErrInvalidArgument, Value: fmt.Sprintf("nil (number %d)", i+1), Reason: "leave it out"}
		}
		opt(a)
	}
	return nil
}

// leaseOptions validates what a lease is asked for.
func (c *config) leaseOptions(key string, opts []AcquireOption) (acquisition, error) {
	a := acquisition{ttl: c.ttl}
	if err := checkKey(key); err != nil {
		return a, err
	}
	if err := applyAcquireOptions(&a, opts); err != nil {
		return a, err
	}
	switch {
	case a.newEpoch:
		return a, &InvalidError{Kind: ErrInvalidArgument, Value: "NewEpoch()", Reason: "every lease has a new epoch: leave it out"}
	case a.shared:
		return a, &InvalidError{Kind: ErrInvalidArgument, Value: "Shared()", Reason: "a lease has one holder: leave it out, or take a lock (Do, LockTx)"}
	}
	return a, checkTTL(a.ttl)
}

// lockOptions validates what a lock for the length of a transaction is asked
// for: it has no time to live, and nothing to reclaim.
func (c *config) lockOptions(key string, opts []AcquireOption) (acquisition, error) {
	var a acquisition
	if err := checkKey(key); err != nil {
		return a, err
	}
	if err := applyAcquireOptions(&a, opts); err != nil {
		return a, err
	}
	switch {
	case a.ttlSet:
		return a, &InvalidError{Kind: ErrInvalidArgument, Value: "TTL(" + a.ttl.String() + ")", Reason: "a lock lasts as long as its transaction: leave TTL out"}
	case a.reclaim:
		return a, &InvalidError{Kind: ErrInvalidArgument, Value: "Reclaim()", Reason: "a lock leaves no lease behind to reclaim: leave it out"}
	case a.shared && a.newEpoch:
		return a, &InvalidError{Kind: ErrInvalidArgument, Value: "Shared()", Reason: "an epoch has one holder: leave out Shared or NewEpoch"}
	case a.shared && a.noWait:
		return a, &InvalidError{Kind: ErrInvalidArgument, Value: "Shared()", Reason: "MySQL and MariaDB have no common way to ask for a shared lock without waiting: leave out Shared or NoWait"}
	case a.shared && c.multiWriter:
		return a, &InvalidError{Kind: ErrInvalidArgument, Value: "Shared()", Reason: "shared locks are not replicated, and WithMultiWriter says that several servers take writes: leave it out"}
	}
	return a, nil
}
