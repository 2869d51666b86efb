package txlock

import (
	"context"
	"database/sql"

	"github.com/gox-helix/gox-helix/lockdb"
)

// Retire marks a key as deletable, in a short transaction of its own, so that the
// next [Locker.Purge] deletes its row. It must be free: never acquired, released,
// revoked, or under a lease that has expired, which is thereby lost. Whoever
// acquires the key later makes it live again.
//
// It fails with a [HeldError] if a lease is active. It waits for open transactions
// that have the row locked, and fails with [ErrBusy] if they did not end within the
// server's innodb_lock_wait_timeout, with [ErrCommitUnknown] if the connection was
// lost while COMMIT was under way (retire again), and otherwise as
// [Locker.TryAcquire] does. For a key that has no row there is nothing to retire,
// and it succeeds; with [WithMultiWriter] it makes the row that is missing, as
// [Locker.Revoke] does.
//
// It is three round trips: BEGIN, the statement, COMMIT; and two statements more to make a
// row.
func (l *Locker) Retire(ctx context.Context, key string) (err error) {
	if err := checkKey(key); err != nil {
		return err
	}
	ctx, seen := l.observe(ctx, Operation{Name: OpRetire, Key: key, Keys: 1})
	attempts := 0
	defer func() { seen.end(Result{Err: err, Attempts: attempts}) }()
	return l.run(ctx, job{op: "retire", key: key}, func(tx *sql.Tx) (int64, error) {
		attempts++
		q, err := l.queriesFor(tx, "retire", key)
		if err != nil {
			return 0, err
		}
		answer, err := retire(ctx, q, key)
		if err == nil && answer == noRow && l.multiWriter {
			if err = ensureHere(ctx, q, key); err == nil {
				answer, err = retire(ctx, q, key)
			}
		}
		switch {
		case err != nil:
			return 0, l.failed(tx, "retire", key, err)
		case answer < 0:
			return 0, heldError(key, answer)
		}
		return 0, nil
	})
}

// retire answers one for done, noRow where there is nothing to do, and else as an
// acquisition of a held key.
func retire(ctx context.Context, q *lockdb.Queries, key string) (int64, error) {
	res, err := q.RetireKey(ctx, lockdb.Hex(key))
	if err != nil {
		return 0, err
	}
	affected, err := res.RowsAffected()
	switch {
	case err != nil:
		return 0, err
	case affected > 0:
		return 1, nil
	}
	return res.LastInsertId()
}
