package txlock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/gox-helix/gox-helix/lockdb"
)

// LockTx excludes every other LockTx, [Locker.Do] and acquisition of key from here to the
// end of the caller's transaction. There is nothing to release: the lock ends with tx, at
// commit and at rollback alike, and with its connection. It writes nothing, except the row
// of a fresh key; a key whose lease expired without a release; and with [NewEpoch] or
// [WithMultiWriter].
//
// Lock before the first read of tx: under REPEATABLE READ what it read before is older
// than the lock. While another transaction has the lock, the server makes each statement
// wait, up to its innodb_lock_wait_timeout (50 s by default) or until ctx ends, which
// costs the connection and so the transaction.
//
// ROLLBACK TO a savepoint that is older than the call may end the lock.
//
// It fails as [Locker.AcquireTx] does: with [ErrHeld] if anyone has an active lease of key;
// with [ErrMultiWriter] on a cluster that the Locker was not told of. [TTL] and [Reclaim]
// are for leases: [ErrInvalidArgument].
//
// It is one statement for a key that is not under a lease; two for one that is, or whose
// row was purged. LAST_INSERT_ID() changes with a key that this Locker has not seen, a lease
// in the way, NewEpoch and WithMultiWriter.
func (l *Locker) LockTx(ctx context.Context, tx *sql.Tx, key string, opts ...AcquireOption) error {
	a, err := l.lockOptions(key, opts)
	if err != nil {
		return err
	}
	_, err = l.lock(ctx, tx, key, a)
	return err
}

// lock is LockTx after validation. It returns the new epoch, if one was asked for.
func (l *Locker) lock(ctx context.Context, tx *sql.Tx, key string, a acquisition) (epoch int64, err error) {
	ctx, seen := l.observe(ctx, Operation{Name: OpLock, Key: key, Keys: 1})
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: epoch, Attempts: 1}) }()
	switch {
	case a.newEpoch:
		return l.acquire(ctx, tx, "lock", key, a, noLease)
	case l.multiWriter: // a lock that writes is certified
		_, err = l.acquire(ctx, tx, "lock", key, a, noLease)
		return 0, err
	}
	return 0, l.lockRow(ctx, tx, key, a)
}

// noLease is what a lock that writes leaves behind.
var noLease = lockdb.AcquireLeaseParams{Status: lockdb.StatusInactive, TtlMicros: lockdb.LongPast}

// lockRow locks a key by the server's lock on its row.
func (l *Locker) lockRow(ctx context.Context, tx *sql.Tx, key string, a acquisition) error {
	q, err := l.queriesFor(tx, "lock", key)
	if err != nil {
		return err
	}
	if err := l.ensureUnlessKnown(ctx, "lock", key, a); err != nil {
		return err
	}
	if err := l.checkServer(ctx, q); err != nil {
		return l.failed(tx, "lock", key, err)
	}
	r := rowLock{locker: l, tx: tx, q: q, key: key, keyHex: lockdb.Hex(key)}
	var status int8
	switch {
	case a.shared:
		status, err = r.share(ctx)
	case a.noWait:
		status, err = r.lockNoWait(ctx)
	default:
		status, err = r.lock(ctx)
	}
	if err == nil && status == lockdb.StatusActive {
		err = r.endExpired(ctx)
	}
	return err
}

// rowLock is the lock of one key's row in a transaction.
type rowLock struct {
	locker      *Locker
	tx          *sql.Tx
	q           *lockdb.Queries
	key, keyHex string
}

func (r *rowLock) failed(err error) error { return r.locker.failed(r.tx, "lock", r.key, err) }

// lock locks the row, and makes one that is missing. It returns the row's status.
func (r *rowLock) lock(ctx context.Context) (int8, error) {
	known := r.locker.known
	if known.has(r.key) {
		status, err := r.q.LockKey(ctx, r.keyHex)
		switch {
		case err == nil:
			return status, nil
		case !errors.Is(err, sql.ErrNoRows):
			return 0, r.failed(err)
		}
		// Purged since: a locking read that finds no row locks the gap, and must not be
		// what comes first when the transaction is run again.
		known.forget(r.key)
	}
	answer, _, err := answerOf(r.q.EnsureKey(ctx, r.keyHex))
	switch {
	case err != nil:
		return 0, r.failed(err)
	case answer == noRow:
		return r.withoutAnswer(ctx)
	case answer == rowMade: // and may vanish with the transaction
		return lockdb.StatusInactive, nil
	}
	status := int8(answer - 1)
	r.remember(status)
	return status, nil
}

// withoutAnswer asks again where there is no floor, or a trigger on helix_locks has hidden
// the answer.
func (r *rowLock) withoutAnswer(ctx context.Context) (int8, error) {
	status, err := r.q.LockKey(ctx, r.keyHex)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, noFloorError("lock", r.key)
	case err != nil:
		return 0, r.failed(err)
	}
	return status, nil
}

// remember remembers a key whose row will stay.
func (r *rowLock) remember(status int8) {
	if status == lockdb.StatusInactive {
		r.locker.known.add(r.key)
	}
}

// rowMade is what EnsureKey answers for a new row; else it is one more than the status.
const rowMade = 4

// lockNoWait is lock that does not wait.
func (r *rowLock) lockNoWait(ctx context.Context) (int8, error) {
	status, err := r.q.LockKeyNoWait(ctx, r.keyHex)
	switch {
	case errors.Is(err, sql.ErrNoRows): // locked, or purged since
		r.locker.known.forget(r.key)
		return 0, &BusyError{Key: r.key, Err: errNoWait}
	case err != nil:
		return 0, r.failed(err)
	}
	r.remember(status)
	return status, nil
}

// share takes the shared lock.
func (r *rowLock) share(ctx context.Context) (int8, error) {
	row, err := r.q.ShareKey(ctx, r.keyHex)
	switch {
	case errors.Is(err, sql.ErrNoRows): // purged since: exclusive, this once
		r.locker.known.forget(r.key)
		return r.lock(ctx)
	case err != nil:
		return 0, r.failed(err)
	case row.ReadOnly != 0:
		return 0, fmt.Errorf("txlock: lock %q: %s", r.key, hints[erOptionPrevents])
	case row.Status == lockdb.StatusActive && row.RemainingMicros > 0:
		return 0, heldError(r.key, -row.RemainingMicros)
	}
	r.remember(row.Status)
	return row.Status, nil
}

// endExpired takes over a key whose lease has expired, so that its late holder is fenced.
// It fails if the lease has not.
func (r *rowLock) endExpired(ctx context.Context) error {
	p := lockdb.AcquireKnownLeaseParams(noLease)
	p.KeyHex, p.OwnerHex = r.keyHex, lockdb.Hex(r.locker.owner)
	answer, _, err := answerOf(r.q.AcquireKnownLease(ctx, p))
	switch {
	case err != nil:
		return r.failed(err)
	case answer == noRow:
		return noFloorError("lock", r.key)
	}
	_, err = epochOrHeld(r.key, answer)
	return err
}
