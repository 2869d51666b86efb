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
	owner       string
	ttl         time.Duration
	multiWriter bool
	attempts    int
	txOptions   *sql.TxOptions
	observers   []Observer
	poll        time.Duration
	verify      func(db *sql.DB) error // once, if at all
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

// WithMultiWriter makes every fence a write, one more row change for each fenced
// transaction. It is needed where more than one server of a cluster takes writes
// (Galera, Group Replication in multi-primary mode): shared row locks are not
// replicated, writes are certified at COMMIT. It costs fenced transactions of one
// lease their concurrency: they wait for each other. On Galera the DSN must say
// interpolateParams=true: see Limits in the package's documentation.
func WithMultiWriter() Option {
	return func(c *config) error {
		c.multiWriter = true
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
// transactions are refused: a lock is a write.
func WithTxOptions(opts sql.TxOptions) Option {
	return func(c *config) error {
		if opts.ReadOnly {
			return &InvalidError{Kind: ErrInvalidArgument, Value: "WithTxOptions(ReadOnly)", Reason: "a lock is a write: leave ReadOnly out"}
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
	ttl     time.Duration
	ttlSet  bool
	reclaim bool
	kept    bool
	wait    wait
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

// Kept says that the lease will be kept alive: [Lease.KeepAlive], to be called once
// the transaction that acquired it has committed, need then not mark it first, and
// sends nothing itself. [Locker.Run] does so by itself. After its
// expiry, whoever takes such a lease over needs two more statements.
func Kept() AcquireOption {
	return func(a *acquisition) { a.kept = true }
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
// was purged after this Locker has seen it. To take over an expired lease that
// was kept alive, it may have to wait for a heartbeat's transaction that is just
// extending it, which takes no longer than two statements. In a pool of one connection,
// which the caller's transaction has, the forms that take one fail with an
// [InvalidError].
func NoWait() AcquireOption {
	return func(a *acquisition) { a.wait = noWait }
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
	case a.kept:
		return a, &InvalidError{Kind: ErrInvalidArgument, Value: "Kept()", Reason: "a lock leaves no lease behind to keep alive: leave it out"}
	}
	return a, nil
}
