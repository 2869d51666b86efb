package txlock

import (
	"context"
	"database/sql"
	"errors"

	"github.com/gox-helix/gox-helix/lockdb"
)

// Inspect returns what the database says of key, as committed: it locks nothing
// and waits for nobody, so what it says may be over when it returns. Decide by
// acquiring, not by looking.
//
// It fails with a [NotFoundError] for a key that has no row: it was never acquired,
// or it was purged since. Further errors are [ErrNotMigrated], [ErrInvalidKey],
// [ErrTxAborted] for a lost connection, and what the context or the driver said.
//
// It is one statement in a transaction of its own, in READ COMMITTED, which is
// rolled back.
func (l *Locker) Inspect(ctx context.Context, key string) (*Info, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	var row *lockdb.InspectLockRow
	err := l.read(ctx, "inspect", key, sql.LevelReadCommitted, func(q *lockdb.Queries) (err error) {
		row, err = q.InspectLock(ctx, lockdb.Hex(key))
		if errors.Is(err, sql.ErrNoRows) {
			row, err = nil, nil
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case row == nil:
		return nil, &NotFoundError{Key: key}
	}
	info := newInfo(lockdb.ListLocksRow(*row))
	return &info, nil
}
