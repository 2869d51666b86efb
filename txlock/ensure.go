package txlock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
)

// ensurePatience bounds what a call with NoWait spends on making a fresh key's row.
const ensurePatience = time.Second

// ensure makes the row of a key that may be fresh, free, in short transactions of
// its own, so that it can be locked without waiting: an insert would wait for
// another transaction's insert of the same key, and a locking read of a row that
// is not there keeps others from inserting.
func (l *Locker) ensure(ctx context.Context, op, key string) error {
	return ensuring(ctx, key, func(ctx context.Context) error {
		// Uncommitted, so as to see a row that another transaction is about to insert.
		missing := false
		err := l.read(ctx, op, key, sql.LevelReadUncommitted, func(q *lockdb.Queries) error {
			row, err := inspect(ctx, q, key)
			missing = row == nil
			return err
		})
		if err != nil || !missing {
			return err
		}
		return l.transact(ctx, job{op: op, key: key}, func(q *lockdb.Queries) error { return ensureHere(ctx, q, key) })
	})
}

// ensureHere makes the row of a key in an open transaction. On a server of several
// that take writes a key seems fresh until the transaction that made its row
// arrives from another one: then COMMIT finds the two in conflict.
func ensureHere(ctx context.Context, q *lockdb.Queries, key string) error {
	made, err := q.MakeKey(ctx, lockdb.Hex(key))
	switch {
	case isDuplicate(err):
		return nil
	case err == nil && made == 0:
		return errNoFloor
	}
	return err
}

// ensureMany is ensure for the keys of up to a thousand leases.
func (l *Locker) ensureMany(ctx context.Context, op string, leases []*Lease) error {
	key := leases[0].key
	return ensuring(ctx, key, func(ctx context.Context) error {
		var missing []int64
		err := l.read(ctx, op, key, sql.LevelReadUncommitted, func(q *lockdb.Queries) (err error) {
			missing, err = q.MissingKeys(ctx, entries(leases))
			return err
		})
		if err != nil || len(missing) == 0 {
			return err
		}
		fresh := make([]*Lease, len(missing))
		for i, place := range missing {
			fresh[i] = leases[place]
		}
		key = fresh[0].key
		return l.transact(ctx, job{op: op, key: key}, func(q *lockdb.Queries) error {
			return q.EnsureKeys(ctx, entries(fresh))
		})
	})
}

// ensureUnlessKnown is ensure for a key that an open transaction, which may have the pool's
// only connection, is to lock with NoWait or Shared.
func (l *Locker) ensureUnlessKnown(ctx context.Context, op, key string, a acquisition) error {
	if a.ensured || !a.noWait && !a.shared || l.known.has(key) {
		return nil
	}
	option := "NoWait()"
	if a.shared {
		option = "Shared()"
	}
	if err := l.roomToEnsure(op, key, option); err != nil {
		return err
	}
	return l.ensure(ctx, op, key)
}

// roomToEnsure fails where a transaction beside the caller's could never begin.
func (l *Locker) roomToEnsure(op, key, option string) error {
	if s := l.db.Stats(); s.MaxOpenConnections == 1 && s.InUse == 1 {
		return &InvalidError{Kind: ErrInvalidArgument, Value: option, Reason: fmt.Sprintf("%s %q: a key that may be fresh takes a second connection, and the pool has one: allow two (SetMaxOpenConns), or leave it out", op, key)}
	}
	return nil
}

// ensureFirst lets a job with NoWait or Shared ensure its key before its transaction has
// taken a connection.
func (l *Locker) ensureFirst(j job, a *acquisition) job {
	if a.noWait || a.shared {
		a.ensured = true
		j.before = func(ctx context.Context) error {
			if l.known.has(j.key) {
				return nil
			}
			return l.ensure(ctx, j.op, j.key)
		}
	}
	return j
}

// ensuring runs work for at most ensurePatience.
func ensuring(ctx context.Context, key string, work func(ctx context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, ensurePatience)
	defer cancel()
	err := work(within)
	if err != nil && ctx.Err() == nil && (within.Err() != nil || IsRetryable(err) || errors.Is(err, ErrCommitUnknown)) {
		// Neither ErrTxAborted nor ErrCommitUnknown: those would be said of the
		// transaction that is to have the lock.
		return &BusyError{Key: key, Err: fmt.Errorf("its row could not be made within %v, for want of a free connection or because of another transaction (%w): %s", ensurePatience, errNoWait, err.Error())}
	}
	return err
}

// read runs a plain read in a transaction of its own, since in a session without
// autocommit it would leave one open.
func (l *Locker) read(ctx context.Context, op, key string, isolation sql.IsolationLevel, work func(q *lockdb.Queries) error) (err error) {
	if l.closed.Load() {
		return closedError(op, key)
	}
	tx, err := l.db.BeginTx(ctx, &sql.TxOptions{Isolation: isolation})
	if err != nil {
		return l.beginError(op, key, err)
	}
	defer func() {
		if rollbackErr := tx.Rollback(); err == nil && rollbackErr != nil && !errors.Is(rollbackErr, sql.ErrTxDone) {
			err = statementError(op, key, rollbackErr)
		}
	}()
	if err := work(l.queries.Load().WithTx(tx)); err != nil {
		return statementError(op, key, err)
	}
	return nil
}
