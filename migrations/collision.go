package migrations

import (
	"context"
	"database/sql"
	"errors"

	"github.com/gox-helix/gox-helix/internal/schema"
)

// Collision is a set of keys that the collation of an older helix_locks took for
// one lock (which differ in case, accents or trailing spaces, say), and that are
// different locks now: let all programs use one spelling.
type Collision = schema.Collision

// Collisions lists the keys of an older helix_locks that will be, or since the
// migration are, locks of their own: at the migration each of them gets the
// holder and the highest epoch of all. It looks at helix_locks_older, which the
// migration leaves, or before the migration at helix_locks. Where there is no
// older table, there are none.
//
// It is one statement or two, which read the whole table and need SELECT on it.
func Collisions(ctx context.Context, db *sql.DB) ([]Collision, error) {
	if db == nil {
		return nil, errors.New("migrations: collisions: no *sql.DB: give the pool of the database to look at")
	}
	return schema.Collisions(ctx, db)
}

// warn logs the collisions of an older helix_locks that is about to be taken over.
func (c config) warn(ctx context.Context, conn *sql.Conn) error {
	if c.logger == nil {
		return nil
	}
	older, err := schema.Older(ctx, conn)
	if err != nil || !older {
		return err
	}
	found, err := schema.Collisions(ctx, conn)
	for _, collision := range found {
		c.logger.WarnContext(ctx, "migrations: keys of one older lock become locks of their own: let all programs use one spelling", "keys", collision.Keys)
	}
	return err
}
