package migrations

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/pressly/goose/v3/lock"

	"github.com/gox-helix/gox-helix/txlock"
)

const leaseKey = "goose:migrations"

// NewLeaseLocker returns a locker for goose, for anyone's migrations on a cluster
// of MySQL or MariaDB whose processes may migrate through different nodes
// (Galera, Group Replication), where the named locks of [NewSessionLocker] are
// local to a node: a lease in helix_locks, kept alive while goose migrates, seen
// by all nodes. Where the holder is killed, the next one migrates after [LockTTL]
// at the latest.
//
// helix_locks must be there: for other migrations than this package's, call [Up]
// first; without the table locking fails with [txlock.ErrNotMigrated]. [Up]
// itself, and [Down], given this locker, take the session's lock where the table
// is not there or is going away: then one process migrates on each node. These
// migrations are written so that two of them destroy nothing; where one fails
// because of the other it is tried again.
//
// goose has one connection of its pool while it locks; the lease and its
// heartbeats need another, now and then. From a pool limited to one connection
// locking fails at once with [ErrPoolTooSmall]: see [LockPool]. Locking fails
// with [ErrLockTimeout] if there was neither the lease nor a connection for
// [LockWait]. Unlocking fails with [ErrLockLost] if the lease could not be kept:
// goose cannot be stopped in between, so another process may have migrated at the
// same time.
//
// goose has a locker with a table of its own (lock.NewMySQLTableLocker, since v3.28), which
// needs no helix_locks. Differences that matter, as of v3.29: its leases are by the clock of
// each session, so that sessions in different time zones do not exclude each other; it needs
// parseTime in the DSN; and a holder that lost it learns so by the text of an error at
// Unlock, after a minute of tries.
func NewLeaseLocker(opts ...LockOption) (lock.Locker, error) {
	c, err := newLockConfig(opts)
	if err != nil {
		return nil, err
	}
	c.name = cmp.Or(c.name, leaseKey)
	return &leaseLocker{lockConfig: c, turn: make(chan struct{}, 1)}, nil
}

type leaseLocker struct {
	lockConfig

	turn chan struct{} // full while locked: providers that share the locker queue

	mu   sync.Mutex
	held *heldLease
}

type heldLease struct {
	*txlock.Lease
	locker *txlock.Locker
}

func (l *leaseLocker) Lock(ctx context.Context, db *sql.DB) (err error) {
	pool, err := l.leasePool(db)
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, l.wait)
	defer cancel()
	select {
	case l.turn <- struct{}{}:
	default:
		select {
		case l.turn <- struct{}{}:
		case <-wait.Done():
			return l.waitError(ctx, pool, wait.Err())
		}
	}
	defer func() {
		if err != nil {
			<-l.turn
		}
	}()
	locker, err := txlock.New(pool, txlock.WithTTL(l.ttl), txlock.WithMultiWriter())
	if err != nil {
		return fmt.Errorf("migrations: lock: %w", err)
	}
	var lease *txlock.Lease
	if l.wait == 0 {
		lease, err = locker.TryAcquire(ctx, l.name)
	} else {
		lease, err = locker.Acquire(wait, l.name)
	}
	if err == nil {
		// The heartbeats end in Unlock, which goose calls also after ctx has ended.
		err = lease.KeepAlive(context.WithoutCancel(ctx))
	}
	if err != nil {
		return errors.Join(l.waitError(ctx, pool, err), locker.Close())
	}
	l.hold(&heldLease{lease, locker})
	return nil
}

// hold notes a lease, or none, and returns what was noted before.
func (l *leaseLocker) hold(lease *heldLease) *heldLease {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.held
	l.held = lease
	return before
}

func (l *leaseLocker) waitError(ctx context.Context, pool *sql.DB, err error) error {
	switch {
	case errors.Is(err, txlock.ErrNotMigrated):
		return fmt.Errorf("migrations: lock %q: call migrations.Up before migrations of other tables: %w", l.name, err)
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, txlock.ErrHeld):
		return fmt.Errorf("migrations: lock %q: %w", l.name, err)
	}
	stats := pool.Stats()
	return fmt.Errorf("%w: %q, for %v, with %d of at most %d connections of the pool in use (0: no limit): "+
		"wait for its end, or see who has it with txlock's Inspect: %w", ErrLockTimeout, l.name, l.wait, stats.InUse, stats.MaxOpenConnections, err)
}

func (l *leaseLocker) Unlock(ctx context.Context, _ *sql.DB) error {
	held := l.hold(nil)
	if held == nil {
		return errors.New("migrations: unlock: it is not locked: call Lock first")
	}
	defer func() { <-l.turn }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockPatience)
	defer cancel()
	var lost error
	if cause := context.Cause(held.Context()); cause != nil {
		lost = l.lostError(cause)
	}
	err := held.Release(ctx)
	switch {
	case lost != nil: // known already
		err = nil
	case errors.Is(err, txlock.ErrLost):
		lost, err = l.lostError(err), nil
	case err != nil:
		err = fmt.Errorf("migrations: unlock %q: the lease runs out after %v at most: %w", l.name, l.ttl, err)
	}
	return errors.Join(lost, err, held.locker.Close())
}

func (l *leaseLocker) lostError(cause error) error {
	return fmt.Errorf("%w: the lease %q could not be kept while migrations ran; another process may have migrated at the same time: "+
		"compare the tables with what you expect: %w", ErrLockLost, l.name, cause)
}

// leasePool is one that has a connection to spare while goose has its own.
func (l *leaseLocker) leasePool(db *sql.DB) (*sql.DB, error) {
	switch {
	case l.pool != nil:
		return l.pool, nil
	case db == nil:
		return nil, errors.New("migrations: lock: no *sql.DB: give the pool of the database to migrate")
	case db.Stats().MaxOpenConnections == 1:
		return nil, fmt.Errorf("%w: allow it two (SetMaxOpenConns), or give the locker a pool of its own (LockPool)", ErrPoolTooSmall)
	}
	return db, nil
}

// usable reports whether there is a table to hold the lease in.
func (l *leaseLocker) usable(ctx context.Context, db *sql.DB) (bool, error) {
	pool := l.pool
	if pool == nil {
		pool = db
	}
	locker, err := txlock.New(pool)
	if err != nil {
		return false, err
	}
	err = read(func() error {
		_, err := locker.Inspect(ctx, l.name)
		return err
	})
	switch {
	case errors.Is(err, txlock.ErrNotMigrated):
		return false, locker.Close()
	case errors.Is(err, txlock.ErrNotFound):
		err = nil
	}
	return err == nil, errors.Join(err, locker.Close())
}
