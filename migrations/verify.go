package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/gox-helix/gox-helix/internal/schema"
)

// DriftError says in what a database differs from what this version needs.
type DriftError = schema.DriftError

// Difference is one of them, with its cure.
type Difference = schema.Difference

// Verify compares the tables of the database of db with what this version of the
// library needs, whoever made them: columns, types, nullability, keys, engine, the
// CHECK that refuses older programs, the absence of triggers, and the rows that the
// library relies on; and it knows an older table, and an adoption that was interrupted. It
// fails with a [DriftError] that names every difference and its cure, or with what the
// server said.
//
// It is six statements, which read the catalog and one table, on MySQL and
// MariaDB; the user needs some privilege on the tables to see them there, and
// SELECT on helix_lock_floor. It sees triggers only with the privilege TRIGGER, and
// on MariaDB the CHECK only with more than SELECT in the whole database.
func Verify(ctx context.Context, db *sql.DB) error {
	if db == nil {
		return errors.New("migrations: verify: no *sql.DB: give the pool of the database to look at")
	}
	if err := schema.Verify(ctx, db); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	return nil
}
