package migrations

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pressly/goose/v3/lock"

	"github.com/gox-helix/gox-helix/lockdb"
)

const (
	// A wait is made of slices, so that the server does not go on waiting for long in
	// the name of a client that has gone.
	lockSlice = 1 // second

	unlockPatience = 10 * time.Second
)

// NewSessionLocker returns a locker for goose, for anyone's migrations on MySQL
// or MariaDB: a named lock (GET_LOCK) on the connection that goose migrates with.
// It needs no table and no second connection. The server releases the lock when
// that connection ends, however the process does.
//
// Named locks are the server's, not the database's: the default name is made of
// the name of the database. They are local to a node: where processes migrate
// through several nodes of Galera or Group Replication, use [NewLeaseLocker]; and
// a proxy that shares one connection among many clients breaks them.
//
// Locking takes two statements, and one more for each second of waiting. It fails
// with [ErrLockTimeout] if another connection still has the lock after
// [LockWait]. Unlocking is one statement, and fails with [ErrLockLost] if the
// lock was not held any more. goose does not ask in between.
func NewSessionLocker(opts ...LockOption) (lock.SessionLocker, error) {
	c, err := newLockConfig(opts)
	if err != nil {
		return nil, err
	}
	if c.pool != nil {
		return nil, errors.New("migrations: LockPool is for NewLeaseLocker: a named lock is on the connection that goose gives")
	}
	return &sessionLocker{lockConfig: c, held: map[*sql.Conn]heldName{}}, nil
}

type sessionLocker struct {
	lockConfig

	mu   sync.Mutex
	held map[*sql.Conn]heldName
}

// heldName is what a connection was locked with.
type heldName struct {
	name  string
	ended func() error // of the context of the lock
}

func (l *sessionLocker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	q := lockdb.New(conn)
	name, err := l.lockName(ctx, q)
	if err != nil {
		return fmt.Errorf("migrations: lock: %w", err)
	}
	deadline := time.Now().Add(l.wait)
	for slice := int32(0); ; slice = lockSlice { // the first try waits for nobody
		answer, err := q.GetNamedLock(ctx, lockdb.GetNamedLockParams{Name: name, Seconds: slice})
		switch {
		case err == nil && answer.Int64 == 1:
			l.mu.Lock()
			l.held[conn] = heldName{name, ctx.Err}
			l.mu.Unlock()
			return nil
		case isServerError(err, 3058):
			return fmt.Errorf("migrations: lock %q: this connection and another wait for each other's named locks: take no other named lock around migrations: %w", name, err)
		case err != nil:
			// The answer may have been lost on its way.
			return fmt.Errorf("migrations: lock %q: %w", name, errors.Join(err, release(ctx, q, name)))
		case !answer.Valid:
			return fmt.Errorf("migrations: lock %q: the server refused the wait, being short of memory or told to end it: try again", name)
		case !time.Now().Before(deadline):
			holder, err := q.NamedLockHolder(ctx, name)
			return errors.Join(fmt.Errorf("%w: %q, for %v, in connection %d: wait for its end, or look at what it does (SHOW PROCESSLIST) and KILL it", ErrLockTimeout, name, l.wait, holder.Int64), err)
		}
	}
}

// release gives back what may or may not be held, whatever has become of ctx.
func release(ctx context.Context, q *lockdb.Queries, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockPatience)
	defer cancel()
	_, err := q.ReleaseNamedLock(ctx, name)
	if isConnectionLost(err) {
		return nil // then the server has released it
	}
	return err
}

func (l *sessionLocker) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockPatience)
	defer cancel()
	q := lockdb.New(conn)
	l.mu.Lock()
	held, ok := l.held[conn]
	delete(l.held, conn)
	l.mu.Unlock()
	if !ok {
		name, err := l.lockName(ctx, q)
		if err != nil {
			return lostError(name, err)
		}
		held.name = name
	}
	answer, err := q.ReleaseNamedLock(ctx, held.name)
	switch {
	case err == nil && answer.Int64 == 1:
		return nil
	case ok && held.ended() != nil && isConnectionLost(err):
		return nil // the end of its context has ended the connection, and so the lock
	}
	return lostError(held.name, err)
}

func lostError(name string, err error) error {
	lost := fmt.Errorf("%w: %q was not held any more when it was to be released: its connection was lost or changed, by the network, by KILL or by a proxy; "+
		"another process may have migrated at the same time: compare the tables with what you expect", ErrLockLost, name)
	if err != nil {
		return fmt.Errorf("%w: %w", lost, err)
	}
	return lost
}

// lockName is at most 64 characters, which is what MySQL allows.
func (l *sessionLocker) lockName(ctx context.Context, q *lockdb.Queries) (string, error) {
	if l.name != "" {
		return l.name, nil
	}
	database, err := q.CurrentDatabase(ctx)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(database))
	return "goose:" + hex.EncodeToString(hash[:16]), nil
}
