package txlock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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
// first waited for the row for more than half the TTL; three to take over an expired
// lease that was kept alive ([Lease.KeepAlive]). It sets the session's
// LAST_INSERT_ID(), as any insert does: take ids from [sql.Result.LastInsertId].
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

// LockTx excludes every other LockTx, [Locker.Do] and acquisition of key from
// here to the end of the caller's transaction. There is nothing to release: the
// lock ends with tx, at commit and at rollback alike, and with its connection; for
// a fresh key also with ROLLBACK TO an older savepoint. The key's epoch rises if
// tx commits.
//
// Lock before the first read of tx: under REPEATABLE READ what it read before is
// older than the lock. While another transaction has the lock, the server makes
// each statement wait, up to its innodb_lock_wait_timeout (50 s by default) or until
// ctx ends, which costs the connection and so the transaction.
//
// It fails as [Locker.AcquireTx] does, with [ErrHeld] if anyone has an active
// lease of key, and takes no option that a lease alone could use. It takes as many
// statements as AcquireTx, but one more for a remembered key that a lease has, or had
// until it expired, and sets LAST_INSERT_ID(), as that does.
func (l *Locker) LockTx(ctx context.Context, tx *sql.Tx, key string, opts ...AcquireOption) error {
	a, err := l.lockOptions(key, opts)
	if err != nil {
		return err
	}
	_, err = l.lock(ctx, tx, key, a)
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
	le := newLease(ctx, l, key, a)
	p := lockdb.AcquireLockParams{
		LeaseID:   le.rowID(),
		Status:    lockdb.StatusActive,
		TtlMicros: a.ttl.Microseconds(),
	}
	if a.reclaim {
		p.ReclaimHex = lockdb.Hex(l.owner)
	}
	asked := time.Now()
	var err error
	if le.epoch, err = l.acquire(ctx, tx, "acquire", key, a.wait, p); err != nil {
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

// lock is LockTx after validation; it returns the epoch of the lock.
func (l *Locker) lock(ctx context.Context, tx *sql.Tx, key string, a acquisition) (epoch int64, err error) {
	ctx, seen := l.observe(ctx, Operation{Name: OpLock, Key: key, Keys: 1})
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: epoch, Attempts: 1}) }()
	return l.acquire(ctx, tx, "lock", key, a.wait, lockdb.AcquireLockParams{
		LeaseID:   rand.Int64(),
		Status:    lockdb.StatusInactive,
		TtlMicros: 0, // see package lockdb: a later expiry would keep status 1
	})
}

// acquire acquires key and returns the epoch won. It fills in the names.
func (l *Locker) acquire(ctx context.Context, tx *sql.Tx, op, key string, w wait, p lockdb.AcquireLockParams) (int64, error) {
	q, err := l.in(tx, op, key)
	if err != nil {
		return 0, err
	}
	p.KeyHex, p.OwnerHex = lockdb.Hex(key), lockdb.Hex(l.owner)
	if w == noWait {
		if err := l.ensureUnlessKnown(ctx, op, key); err != nil {
			return 0, err
		}
	}
	send := l.acquireWaiting
	if w != waitForRow {
		send = l.acquireNoWait
	}
	answer, err := send(ctx, q, key, p)
	if err == nil && answer == expiredUnlessExtended {
		answer, err = takeOver(ctx, q, w, p)
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

// wait says what to do about a row that another transaction has locked.
type wait int

const (
	waitForRow wait = iota // in the server
	noWait                 // refuse
	noWaitSeen             // refuse, and the row is known to be there
)

// What the statements answer, beside what epochOrHeld reads.
const (
	noRow     = 0
	noFreeRow = math.MinInt64 // skipped

	// A lease that has expired, by its row, and that may have been extended while
	// that was locked: see [Lease.KeepAlive].
	expiredUnlessExtended = -1
)

// acquireWaiting acquires, or waits for the row, and returns the server's answer.
func (l *Locker) acquireWaiting(ctx context.Context, q *lockdb.Queries, key string, p lockdb.AcquireLockParams) (int64, error) {
	known := p.ReclaimHex == "" && l.known.has(key)
	if known {
		answer, err := acquireKnown(ctx, q, p)
		if err != nil || answer != noRow {
			return answer, err
		}
		// Purged since, perhaps: an update that finds no row locks the gap, and must
		// not be what comes first when the transaction is run again.
		l.known.forget(key)
	}

	answer, affected, err := answerOf(q.AcquireLock(ctx, p))
	switch {
	case err != nil:
		return 0, err
	case affected == 2, known && answer < 0:
		// A row was there; one that was inserted may vanish with the transaction.
		// Only the next statement's cost hangs on it.
		l.known.add(key)
	}
	return answer, nil
}

// acquireKnown acquires a key whose row was seen. It answers noRow also for a lock
// of a key that is or was leased.
func acquireKnown(ctx context.Context, q *lockdb.Queries, p lockdb.AcquireLockParams) (int64, error) {
	if p.Status == lockdb.StatusInactive {
		answer, _, err := answerOf(q.LockKnownLock(ctx, lockdb.LockKnownLockParams{OwnerHex: p.OwnerHex, KeyHex: p.KeyHex}))
		return answer, err
	}
	answer, _, err := answerOf(q.AcquireKnownLock(ctx, knownParams(p, unmarked)))
	return answer, err
}

// acquireNoWait is acquireWaiting for those who would rather be refused.
func (l *Locker) acquireNoWait(ctx context.Context, q *lockdb.Queries, key string, p lockdb.AcquireLockParams) (int64, error) {
	answer, affected, err := answerOf(q.AcquireLockNoWait(ctx, lockdb.AcquireLockNoWaitParams{
		KeyHex:     p.KeyHex,
		OwnerHex:   p.OwnerHex,
		LeaseID:    p.LeaseID,
		Status:     p.Status,
		TtlMicros:  p.TtlMicros,
		ReclaimHex: p.ReclaimHex,
	}))
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

// takeOver acquires a key whose answer was expiredUnlessExtended. In READ COMMITTED
// that answer has left the row unlocked.
func takeOver(ctx context.Context, q *lockdb.Queries, w wait, p lockdb.AcquireLockParams) (int64, error) {
	dead, _, err := answerOf(q.ClaimExtension(ctx, p.KeyHex))
	switch {
	case err != nil:
		return 0, err
	case dead < 0:
		return dead, nil // extended: held
	case dead == 0 && w != waitForRow:
		return noFreeRow, nil
	}
	// If it was not claimed (zero), it is another's by now, and the answer says so.
	over := unmarked
	if dead > 0 {
		over = leaseIDs{-dead, -dead}
	}
	answer, _, err := answerOf(q.AcquireKnownLock(ctx, knownParams(p, over)))
	return answer, err
}

// leaseIDs are those from one to another, which are over once they have expired.
type leaseIDs struct{ from, to int64 }

// unmarked are the ids of leases that cannot have been extended.
var unmarked = leaseIDs{0, math.MaxInt64}

func knownParams(p lockdb.AcquireLockParams, over leaseIDs) lockdb.AcquireKnownLockParams {
	return lockdb.AcquireKnownLockParams{
		KeyHex:    p.KeyHex,
		OwnerHex:  p.OwnerHex,
		LeaseID:   p.LeaseID,
		Status:    p.Status,
		TtlMicros: p.TtlMicros,
		OverFrom:  over.from,
		OverTo:    over.to,
	}
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
	micros := min(-answer-1, math.MaxInt64/int64(time.Microsecond))
	return &HeldError{Key: key, RetryAfter: time.Duration(micros) * time.Microsecond}
}

func noFloorError(op, key string) error {
	return fmt.Errorf("txlock: %s %q: %w: helix_lock_floor has no row for the key's shard: run the INSERT of migrations/00002_fill_helix_lock_floor.sql again", op, key, ErrNotMigrated)
}
