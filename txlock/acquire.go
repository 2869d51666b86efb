package txlock

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
)

// AcquireTx acquires a lease of key in the caller's transaction: others see it
// when, and only if, tx commits. If tx is rolled back, the lease never was.
//
// Acquire before the first read of tx: under REPEATABLE READ what it read before
// is older than the lock. The row of the key stays locked until tx ends, so keep
// tx short; other acquirers of the key wait for it in the server, up to its
// innodb_lock_wait_timeout.
//
// It fails with [ErrHeld] if another lease is active, be it of this same owner
// (but see [Reclaim]). tx stays usable, but keeps the row locked, which stalls
// the holder's renewals: end it soon, and acquire no other key first. Further,
// each with nothing acquired: [ErrBusy], [ErrTxAborted], [ErrNotMigrated],
// [ErrInvalidKey], [ErrInvalidTTL], [ErrInvalidArgument], and what the context or
// the driver said.
//
// It is one statement for a key that this Locker has seen in the table, or that
// is fresh to it; two where a remembered key has been purged. It sets the
// session's LAST_INSERT_ID(), as any insert does: take ids from
// [sql.Result.LastInsertId].
func (l *Locker) AcquireTx(ctx context.Context, tx *sql.Tx, key string, opts ...AcquireOption) (*Lease, error) {
	a, err := l.leaseOptions(key, opts)
	if err != nil {
		return nil, err
	}
	return l.acquireLease(ctx, tx, key, a)
}

// LockTx excludes every other LockTx, [Locker.Do] and acquisition of key from
// here to the end of the caller's transaction. There is nothing to release: the
// lock ends with tx, at commit and at rollback alike, and with its connection.
// The key's epoch rises if tx commits.
//
// Lock before the first read of tx: under REPEATABLE READ what it read before is
// older than the lock. While another transaction has the lock, the server makes
// this call wait, up to its innodb_lock_wait_timeout (50 s by default) or until
// ctx ends, which costs the connection and so the transaction.
//
// It fails as [Locker.AcquireTx] does, with [ErrHeld] if anyone has an active
// lease of key, and takes no option that a lease alone could use. It is one
// statement, and sets LAST_INSERT_ID(), as AcquireTx does.
func (l *Locker) LockTx(ctx context.Context, tx *sql.Tx, key string, opts ...AcquireOption) error {
	if err := l.lockOptions(key, opts); err != nil {
		return err
	}
	_, err := l.lock(ctx, tx, key)
	return err
}

// TryAcquire acquires a lease of key in a short transaction of its own, and
// returns once that is committed.
//
// It fails with [ErrHeld] at once if another lease is active; but while another
// transaction has the row locked, the server makes it wait, and it fails with
// [ErrBusy] in the end. A transaction that the server aborts is run again (see
// [WithMaxAttempts]); [ErrCommitUnknown] says that the lease may exist: it then
// expires by itself. Further errors are those of [Locker.AcquireTx].
//
// It is three round trips: BEGIN, the statement, COMMIT.
func (l *Locker) TryAcquire(ctx context.Context, key string, opts ...AcquireOption) (*Lease, error) {
	a, err := l.leaseOptions(key, opts)
	if err != nil {
		return nil, err
	}
	var lease *Lease
	err = l.run(ctx, job{op: "acquire", key: key}, func(tx *sql.Tx) (int64, error) {
		le, err := l.acquireLease(ctx, tx, key, a)
		if err != nil {
			return 0, err
		}
		lease = le
		return le.epoch, nil
	})
	if err != nil {
		return nil, err
	}
	return lease, nil
}

func (l *Locker) acquireLease(ctx context.Context, tx *sql.Tx, key string, a acquisition) (*Lease, error) {
	asked := time.Now()
	epoch, err := l.acquire(ctx, tx, "acquire", lockdb.AcquireLockParams{
		LockKey:      []byte(key),
		OwnerID:      []byte(l.owner),
		Status:       lockdb.StatusActive,
		TtlMicros:    a.ttl.Microseconds(),
		ReclaimOwner: reclaimOwner(l.owner, a.reclaim),
	})
	if err != nil {
		return nil, err
	}
	le := &Lease{locker: l, key: key, owner: l.owner, epoch: epoch, ttl: a.ttl}
	le.extend(asked)
	return le, nil
}

// lock is LockTx after validation; it returns the epoch of the lock.
func (l *Locker) lock(ctx context.Context, tx *sql.Tx, key string) (int64, error) {
	return l.acquire(ctx, tx, "lock", lockdb.AcquireLockParams{
		LockKey:      []byte(key),
		OwnerID:      []byte(l.owner),
		Status:       lockdb.StatusInactive,
		TtlMicros:    0, // see package lockdb: a later expiry would keep status 1
		ReclaimOwner: reclaimOwner(l.owner, false),
	})
}

// reclaimOwner is the owner whose lease may be taken though it is active; empty
// matches nobody.
func reclaimOwner(owner string, reclaim bool) []byte {
	if !reclaim {
		return []byte{}
	}
	return []byte(owner)
}

// acquire sends the one statement that acquires, and returns the epoch won.
func (l *Locker) acquire(ctx context.Context, tx *sql.Tx, op string, p lockdb.AcquireLockParams) (int64, error) {
	key := string(p.LockKey)
	q, err := l.in(tx, op, key)
	if err != nil {
		return 0, err
	}
	if l.known.has(key) {
		answer, err := q.AcquireKnownLock(ctx, lockdb.AcquireKnownLockParams{
			LockKey:      p.LockKey,
			OwnerID:      p.OwnerID,
			Status:       p.Status,
			TtlMicros:    p.TtlMicros,
			ReclaimOwner: p.ReclaimOwner,
		})
		if err != nil {
			return 0, l.failed(tx, op, key, err)
		}
		if answer != 0 {
			return epochOrHeld(key, answer)
		}
		l.known.forget(key) // purged since
	}

	res, err := q.AcquireLock(ctx, p)
	if err != nil {
		return 0, l.failed(tx, op, key, err)
	}
	answer, err := res.LastInsertId()
	if err != nil {
		return 0, l.failed(tx, op, key, err)
	}
	if answer == 0 {
		return 0, fmt.Errorf("txlock: %s %q: %w: helix_lock_floor has no row for the key's shard: %s", op, key, ErrNotMigrated, migrateHint)
	}
	// Two affected rows say that a row was updated, one that it was inserted (and
	// may vanish with the transaction). Only the next statement's cost hangs on it.
	if n, err := res.RowsAffected(); err == nil && n == 2 {
		l.known.add(key)
	}
	return epochOrHeld(key, answer)
}

// epochOrHeld reads the answer of an acquiring statement: see package lockdb.
func epochOrHeld(key string, answer int64) (int64, error) {
	if answer > 0 {
		return answer, nil
	}
	return 0, &HeldError{Key: key, RetryAfter: time.Duration(-answer-1) * time.Microsecond}
}
