package txlock

import (
	"context"
	"database/sql"
	"math"

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
	var row *lockdb.ListKeysRow
	err := l.read(ctx, "inspect", key, sql.LevelReadCommitted, func(q *lockdb.Queries) (err error) {
		row, err = inspect(ctx, q, key)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case row == nil:
		return nil, &NotFoundError{Key: key}
	}
	info := newInfo(*row)
	return &info, nil
}

// inspect reads the row of key by a plain read, or nil if there is none.
func inspect(ctx context.Context, q *lockdb.Queries, key string) (*lockdb.ListKeysRow, error) {
	rows, err := q.ListKeys(ctx, lockdb.ListKeysParams{
		FromHex:            lockdb.Hex(key),
		BeforeHex:          lockdb.Hex(key + "\x00"),
		Statuses:           anyStatus,
		MaxRemainingMicros: math.MaxInt64,
		Limit:              1,
	})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}
