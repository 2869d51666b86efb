package main

import (
	"context"
	"database/sql"
	"fmt"
)

// queryCountKeys is for a progress bar; it reads the whole primary key. All else
// that is sent is the library's, but for what the doctor asks.
const queryCountKeys = "SELECT COUNT(*) FROM helix_locks"

func countKeys(ctx context.Context, db *sql.DB) (n int64, err error) {
	if err := db.QueryRowContext(ctx, queryCountKeys).Scan(&n); err != nil {
		return 0, fmt.Errorf("cannot count the keys: %w", err)
	}
	return n, nil
}
