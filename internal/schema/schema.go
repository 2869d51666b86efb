// Package schema compares the tables of a database with what the library needs.
// It knows nothing of goose, so that package txlock can use it.
package schema

import (
	"context"
	"errors"

	"github.com/gox-helix/gox-helix/lockdb"
)

// DriftError says in what a database differs from what the library needs.
type DriftError struct {
	Differences []Difference
}

// Difference is one of them.
type Difference struct {
	Table  string // helix_locks, ...
	Column string // empty where the difference is the table's
	Want   string
	Got    string
	Cure   string // what to do, in words or SQL
}

func (e *DriftError) Error() string { return "" }

func Verify(ctx context.Context, db lockdb.DBTX) error { return errors.ErrUnsupported }
