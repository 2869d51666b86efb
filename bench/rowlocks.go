package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/ground"
)

// rowLocks are what InnoDB has locked while the business runs, before that itself
// locks anything: by performance_schema.data_locks, which MySQL alone has.
type rowLocks struct {
	Contender string
	Locks     string
}

func (b *bench) rowLocks(ctx context.Context, c contender.Contender, e contender.Env, db *sql.DB) (r rowLocks, err error) {
	r.Contender = c.Name
	lock, err := c.Open(ctx, e)
	if err != nil {
		return r, fmt.Errorf("opening %s: %w", c.Name, err)
	}
	defer func() {
		if closeErr := lock.Close(); err == nil {
			err = closeErr
		}
	}()
	for range 3 { // by then the key is known to who remembers keys
		if err := lock.Do(ctx, 0, ground.Key(0), func(ctx context.Context, tx *sql.Tx) error {
			var connection int64
			if err := tx.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&connection); err != nil {
				return err
			}
			return db.QueryRowContext(ctx, `SELECT COALESCE(GROUP_CONCAT(CONCAT(object_name, ' ', lock_mode) ORDER BY object_name, lock_type DESC, lock_mode SEPARATOR '; '), 'none')
				FROM performance_schema.data_locks JOIN performance_schema.threads USING (thread_id) WHERE processlist_id = ?`, connection).Scan(&r.Locks)
		}); err != nil {
			return r, fmt.Errorf("%s, its row locks: %w", c.Name, err)
		}
	}
	return r, nil
}
