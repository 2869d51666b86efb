package schema

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/lockdb"
)

// Collision is a set of keys that the collation of an older helix_locks took for
// one lock, and that are different locks now, in the order of their bytes.
type Collision struct {
	Keys []string
}

const noSuchTable = 1146

// Collisions finds them in the table that a migration has set aside, or in
// helix_locks before its migration. Without an older table there are none.
func Collisions(ctx context.Context, db lockdb.DBTX) ([]Collision, error) {
	q := lockdb.New(db)
	var found []Collision
	last := int64(0)
	add := func(nth int64, keyHex string) error {
		key, err := hex.DecodeString(keyHex)
		if err != nil {
			return err
		}
		if nth != last || len(found) == 0 {
			found = append(found, Collision{})
		}
		last = nth
		c := &found[len(found)-1]
		c.Keys = append(c.Keys, string(key))
		return nil
	}
	aside, err := q.OlderCollisions(ctx)
	if err == nil {
		for _, row := range aside {
			if err := add(row.Nth, row.KeyHex); err != nil {
				return nil, fmt.Errorf("gox-helix: collisions in helix_locks_older: %w", err)
			}
		}
		return found, nil
	}
	if !isMissing(err) {
		return nil, fmt.Errorf("gox-helix: collisions in helix_locks_older: %w", err)
	}
	rows, err := q.Collisions(ctx)
	if err != nil && !isMissing(err) {
		return nil, fmt.Errorf("gox-helix: collisions in helix_locks: %w", err)
	}
	for _, row := range rows {
		if err := add(row.Nth, row.KeyHex); err != nil {
			return nil, fmt.Errorf("gox-helix: collisions in helix_locks: %w", err)
		}
	}
	return found, nil
}

func isMissing(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == noSuchTable
}
