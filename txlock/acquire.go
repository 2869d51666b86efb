package txlock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
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
// ROLLBACK TO a savepoint that is older than the call undoes the acquisition, as
// ROLLBACK does, but the lock on the row may stay.
//
// It is one statement; two where a remembered key has been purged, or where the
// first waited for the row for more than half the TTL; three to take over a lease with
// [Reclaim]. It changes LAST_INSERT_ID(), as an insert does: take ids from
// [sql.Result.LastInsertId].
func (l *Locker) AcquireTx(ctx context.Context, tx *sql.Tx, key string, opts ...AcquireOption) (lease *Lease, err error) {
	a, err := l.leaseOptions(key, opts)
	if err != nil {
		return nil, err
	}
	within, seen := l.observe(ctx, Operation{Name: OpAcquire, Key: key, Keys: 1, TTL: a.ttl})
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: lease.epochOrZero(), Attempts: 1}) }()
	lease, err = l.acquireLease(within, tx, key, a)
	lease.inherit(ctx)
	return lease, err
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
// In a pool of one connection, which a transaction of the caller has, it waits until
// ctx ends, as all forms with a transaction of their own do.
//
// It is three round trips: BEGIN, the statement, COMMIT.
func (l *Locker) TryAcquire(ctx context.Context, key string, opts ...AcquireOption) (*Lease, error) {
	a, err := l.leaseOptions(key, opts)
	if err != nil {
		return nil, err
	}
	return l.observeAcquire(ctx, key, a, false, l.tryAcquire)
}

// observeAcquire acquires in one of the ways that have transactions of their own.
func (l *Locker) observeAcquire(ctx context.Context, key string, a acquisition, waits bool, acquire func(ctx context.Context, key string, a acquisition) (*Lease, int, error)) (lease *Lease, err error) {
	within, seen := l.observe(ctx, Operation{Name: OpAcquire, Key: key, Keys: 1, TTL: a.ttl, Waits: waits})
	attempts := 0
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: lease.epochOrZero(), Attempts: attempts}) }()
	lease, attempts, err = acquire(within, key, a)
	lease.inherit(ctx)
	return lease, err
}

// tryAcquire is TryAcquire after validation, and unobserved.
func (l *Locker) tryAcquire(ctx context.Context, key string, a acquisition) (lease *Lease, attempts int, err error) {
	err = l.run(ctx, l.ensureFirst(job{op: "acquire", key: key}, &a), func(tx *sql.Tx) (int64, error) {
		attempts++
		le, err := l.acquireLease(ctx, tx, key, a)
		if err != nil {
			return 0, err
		}
		lease = le
		return le.epoch, nil
	})
	if err != nil {
		return nil, attempts, err
	}
	return lease, attempts, nil
}

// acquireLease is AcquireTx after validation, and unobserved.
func (l *Locker) acquireLease(ctx context.Context, tx *sql.Tx, key string, a acquisition) (*Lease, error) {
	le := newLease(ctx, l, key, a.ttl)
	asked := time.Now()
	var err error
	le.epoch, err = l.acquire(ctx, tx, "acquire", key, a, lockdb.AcquireLeaseParams{
		LeaseID:   le.id,
		Status:    lockdb.StatusActive,
		TtlMicros: a.ttl.Microseconds(),
	})
	if err != nil {
		return nil, err
	}
	if le.waited(asked) {
		if asked, err = le.renew(ctx, tx); err != nil {
			return nil, err
		}
	}
	le.extend(asked)
	return le, nil
}

// acquire acquires key and returns the epoch won. It fills in the names.
func (l *Locker) acquire(ctx context.Context, tx *sql.Tx, op, key string, a acquisition, p lockdb.AcquireLeaseParams) (int64, error) {
	q, err := l.queriesFor(tx, op, key)
	if err != nil {
		return 0, err
	}
	p.KeyHex, p.OwnerHex = lockdb.Hex(key), lockdb.Hex(l.owner)
	if err := l.ensureUnlessKnown(ctx, op, key, a); err != nil {
		return 0, err
	}
	send := l.acquireWaiting
	if a.noWait {
		send = l.acquireNoWait
	}
	answer, err := send(ctx, q, key, p)
	if err == nil && a.reclaim && answer < 0 && answer != noFreeRow {
		answer, err = reclaim(ctx, q, p)
	}
	if err != nil {
		return 0, l.failed(tx, op, key, err)
	}
	switch answer {
	case noRow:
		return 0, noFloorError(op, key)
	case noFreeRow:
		return 0, &BusyError{Key: key, Err: errNoWait}
	}
	return epochOrHeld(key, answer)
}

// What the statements answer, beside what epochOrHeld reads.
const (
	noRow     = 0
	noFreeRow = math.MinInt64 // skipped
)

// acquireWaiting acquires, or waits for the row, and returns the server's answer.
func (l *Locker) acquireWaiting(ctx context.Context, q *lockdb.Queries, key string, p lockdb.AcquireLeaseParams) (int64, error) {
	known := l.known.has(key)
	if known {
		answer, _, err := answerOf(q.AcquireKnownLease(ctx, lockdb.AcquireKnownLeaseParams(p)))
		if err != nil || answer != noRow {
			return answer, err
		}
		// Purged since: an update that finds no row locks the gap, and must not be what
		// comes first when the transaction is run again.
		l.known.forget(key)
	}
	answer, affected, err := answerOf(q.AcquireLease(ctx, p))
	if err == nil && (affected == 2 || known && answer < 0) {
		// A row was there; one that was inserted may vanish with the transaction.
		// Only the next statement's cost hangs on it.
		l.known.add(key)
	}
	return answer, err
}

// acquireNoWait is acquireWaiting that does not wait.
func (l *Locker) acquireNoWait(ctx context.Context, q *lockdb.Queries, key string, p lockdb.AcquireLeaseParams) (int64, error) {
	answer, affected, err := answerOf(q.AcquireLeaseNoWait(ctx, lockdb.AcquireLeaseNoWaitParams(p)))
	switch {
	case err != nil:
		return 0, err
	case answer == noRow: // locked, or purged since
		l.known.forget(key)
		return noFreeRow, nil
	case affected == 2:
		l.known.add(key)
	}
	return answer, nil
}

// reclaim acquires a key that was held, if this owner holds it, or it is free by now: in
// READ COMMITTED an update that was refused has not kept the row locked.
func reclaim(ctx context.Context, q *lockdb.Queries, p lockdb.AcquireLeaseParams) (int64, error) {
	if _, err := q.EndOwnLease(ctx, lockdb.EndOwnLeaseParams{KeyHex: p.KeyHex, OwnerHex: p.OwnerHex}); err != nil {
		return 0, err
	}
	answer, _, err := answerOf(q.AcquireKnownLease(ctx, lockdb.AcquireKnownLeaseParams(p)))
	return answer, err
}

// answerOf reads what an acquiring statement says in its OK packet. Rows that were
// changed without an answer are the work of a trigger, whose own statements hide
// it.
func answerOf(res sql.Result, err error) (answer, affected int64, _ error) {
	if err != nil {
		return 0, 0, err
	}
	if answer, err = res.LastInsertId(); err != nil {
		return 0, 0, err
	}
	if affected, err = res.RowsAffected(); err != nil {
		return 0, 0, err
	}
	if answer == 0 && affected > 0 {
		return 0, 0, errHiddenAnswer
	}
	return answer, affected, nil
}

var errHiddenAnswer = errors.New("a trigger on helix_locks hides the statement's LAST_INSERT_ID(): drop it, and change the table's schema with tools that need none")

// epochOrHeld reads the answer of an acquiring statement: see package lockdb.
func epochOrHeld(key string, answer int64) (int64, error) {
	if answer > 0 {
		return answer, nil
	}
	return 0, heldError(key, answer)
}

func heldError(key string, answer int64) *HeldError {
	return &HeldError{Key: key, RetryAfter: micros(-answer)}
}

// errNoFloor says that a key could not be made a row for.
var errNoFloor = errors.New("helix_lock_floor has no row for the key's shard: txlock migrate verify, or migrations.Verify, says how to restore it")

func noFloorError(op, key string) error {
	return fmt.Errorf("txlock: %s %q: %w: %w", op, key, ErrNotMigrated, errNoFloor)
}
