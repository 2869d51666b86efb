package schema

import (
	"context"
	"fmt"

	"github.com/gox-helix/gox-helix/lockdb"
)

// State is what helix_locks is.
type State int

// What it can be.
const (
	Missing State = iota // or not visible
	Current              // of this version's shape, though it may differ in details
	Older                // of an older version's shape
	Closed               // an older one has been set aside, and its adoption is not at its end
	Unknown              // not ours
)

// Shape is what helix_locks is, and what of an older version is there.
type Shape struct {
	State    State
	HasAside bool // helix_locks_older is there
	HasEpoch bool // the older table, by either name, has a column epoch
	Foreign  bool // a helix_locks_closed is there that is not ours
}

// Look asks the catalog for it, in two statements.
func Look(ctx context.Context, db lockdb.DBTX) (Shape, error) {
	q := lockdb.New(db)
	tables, err := q.ListTables(ctx)
	if err != nil {
		return Shape{}, fmt.Errorf("look at helix_locks: %w", err)
	}
	rows, err := q.ListColumns(ctx)
	if err != nil {
		return Shape{}, fmt.Errorf("look at helix_locks: %w", err)
	}
	var s Shape
	for _, t := range tables {
		s.HasAside = s.HasAside || t.Name == aside
	}
	columns := byTable(rows)
	older := columns["helix_locks"]
	s.State = stateOf(older)
	if s.State == Closed {
		older = columns[aside]
	}
	_, s.HasEpoch = typesOf(older)["epoch"]
	closed := columns["helix_locks_closed"]
	s.Foreign = len(closed) > 0 && stateOf(closed) != Closed
	return s, nil
}

// byTable groups columns, in their order.
func byTable(rows []*lockdb.ListColumnsRow) map[string][]*lockdb.ListColumnsRow {
	columns := map[string][]*lockdb.ListColumnsRow{}
	for _, c := range rows {
		columns[c.TableName] = append(columns[c.TableName], c)
	}
	return columns
}

// typesOf are the types of a table's columns, by name.
func typesOf(columns []*lockdb.ListColumnsRow) map[string]string {
	types := map[string]string{}
	for _, c := range columns {
		types[c.ColumnName] = c.ColumnType
	}
	return types
}

func stateOf(columns []*lockdb.ListColumnsRow) State {
	types := typesOf(columns)
	switch {
	case len(types) == 0:
		return Missing
	case types["lease_id"] != "":
		return Current
	case types["being_adopted"] != "":
		return Closed
	case isOlder(types):
		return Older
	}
	return Unknown
}

// isOlder reports whether these are the columns of one of the two older shapes, one of
// which has no epoch.
func isOlder(types map[string]string) bool {
	want := []string{"id", "lock_key", "owner_id", "expires_at", "status", "created_at", "updated_at"}
	if types["epoch"] != "" {
		want = append(want, "epoch")
	}
	for _, name := range want {
		if types[name] == "" {
			return false
		}
	}
	return len(types) == len(want) && types["expires_at"] == "timestamp"
}

// unfinished tells of a helix_locks that is to be adopted, nil of any other.
func (l *live) unfinished() *Difference {
	d := &Difference{Table: "helix_locks", Want: "a table of this version", missing: true}
	switch stateOf(l.columns["helix_locks"]) {
	case Older:
		d.Got, d.Cure = "one of an older version", "take it over with its locks: txlock migrate adopt, or migrations.Adopt"
	case Closed:
		d.Got, d.Cure = "set aside as helix_locks_older, by an adoption that is under way or was interrupted", "call it again: txlock migrate adopt, or migrations.Adopt"
	case Missing, Current, Unknown:
		return nil
	}
	return d
}
