package schema

import (
	"context"
	"fmt"
	"slices"

	"github.com/gox-helix/gox-helix/lockdb"
)

// halfWay tells what migrations have left or not begun, nil where helix_locks is of
// the new shape, or nothing was ever there. The states are those at the head of the
// migration that creates helix_locks.
func (l *live) halfWay() *Difference {
	_, there := l.engines["helix_locks"]
	_, aside := l.engines[aside]
	_, back := l.engines[back]
	older := isOlder(l.columns["helix_locks"])
	d := &Difference{Table: "helix_locks", Want: "a table of the new shape", missing: true}
	switch {
	case there && !older:
		return nil
	case there && aside && back:
		d.Got, d.Cure = "of an older client's shape, beside helix_locks_older", againCure+"migrations.DownTo or goose down"
	case there && aside:
		d.Got, d.Cure = "of an older client's shape, beside helix_locks_older", againCure+"migrations.Up or goose up"
	case back && (there || aside):
		d.Got, d.Cure = "given back to an older client, or about to be", backCure
	case there:
		d.Got, d.Cure = "of an older client's shape", takeCure
	case aside:
		d.Got, d.Cure = "set aside as helix_locks_older", finishCure
	case back:
		d.Got, d.Cure = "there by the name of helix_locks_newer alone", "RENAME TABLE helix_locks_newer TO helix_locks;"
	default:
		return nil
	}
	return d
}

// Older reports whether helix_locks is one that the migrations are to take over, or
// was, when they set it aside.
func Older(ctx context.Context, db lockdb.DBTX) (bool, error) {
	q := lockdb.New(db)
	tables, err := q.ListTables(ctx)
	if err != nil {
		return false, fmt.Errorf("gox-helix: look for an older helix_locks: %w", err)
	}
	columns, err := q.ListColumns(ctx)
	if err != nil {
		return false, fmt.Errorf("gox-helix: look for an older helix_locks: %w", err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(tables, func(t *lockdb.ListTablesRow) bool { return t.Name == name })
	}
	columns = slices.DeleteFunc(columns, func(c *lockdb.ListColumnsRow) bool { return c.TableName != "helix_locks" })
	return isOlder(columns) || has(aside) && !has("helix_locks"), nil
}

// isOlder reports whether these are the columns of a helix_locks that the
// migrations take over.
func isOlder(columns []*lockdb.ListColumnsRow) bool {
	has := map[string]bool{}
	for _, c := range columns {
		has[c.ColumnName] = true
	}
	return has["id"] && has["lock_key"] && !has["lease_id"]
}
