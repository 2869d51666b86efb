package txlock

import (
	"context"

	"github.com/gox-helix/gox-helix/lockdb"
)

// Revoke ends whatever lease key is under, anyone's, in a short transaction of its
// own. From then on its holder is fenced: everything done with the lease fails with
// [ErrLost], and a heartbeat tells it within a third of its TTL. The key is free at
// once. Work of the holder that is not fenced may still be under way: revoke what
// you know to be dead, or to be fenced.
//
// It waits for open transactions that have the row locked, such as those that the
// lease fences; they were first, and may commit. It fails with [ErrBusy] if they
// did not end within the server's innodb_lock_wait_timeout, with
// [ErrCommitUnknown] if the connection was lost while COMMIT was under way (revoke
// again), and otherwise as [Locker.TryAcquire] does, but never with [ErrHeld]. For
// a key that has no row there is nothing to revoke, and for one that is free it
// only raises the epoch: both succeed. With [WithMultiWriter] it makes the row that
// is missing, since another server may have it already: then COMMIT finds that out.
//
// It is three round trips: BEGIN, the statement, COMMIT; and two statements more to
// make a row.
func (l *Locker) Revoke(ctx context.Context, key string) (err error) {
	if err := checkKey(key); err != nil {
		return err
	}
	ctx, seen := l.observe(ctx, Operation{Name: OpRevoke, Key: key, Keys: 1})
	attempts := 0
	defer func() { seen.end(Result{Err: err, Attempts: attempts}) }()
	err = l.transact(ctx, job{op: "revoke", key: key}, func(q *lockdb.Queries) error {
		attempts++
		n, err := q.RevokeKey(ctx, lockdb.Hex(key))
		if err == nil && n == 0 && l.multiWriter {
			if err = ensureHere(ctx, q, key); err == nil {
				_, err = q.RevokeKey(ctx, lockdb.Hex(key))
			}
		}
		return err
	})
	if err == nil {
		l.waiters.released(key)
	}
	return err
}
