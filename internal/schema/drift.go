package schema

import (
	"fmt"
	"strings"
)

// DriftError says in what a database differs from what this version of gox-helix
// needs.
type DriftError struct {
	Differences []Difference // at least one
}

// Difference is one of them.
type Difference struct {
	Table   string // helix_locks, ...
	Column  string // empty where it is not about one column
	Got     string // what is there, in words
	Want    string // what is needed, in words
	Cure    string // what to do: SQL if it ends in a semicolon, words otherwise
	missing bool
}

// NotMigrated reports whether what is wrong is that migrations have not run, or
// not to their end.
func (e *DriftError) NotMigrated() bool {
	for _, d := range e.Differences {
		if d.missing {
			return true
		}
	}
	return false
}

func (e *DriftError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "gox-helix: %d differences between the tables and what this version needs", len(e.Differences))
	if len(e.Differences) == 1 {
		b.Reset()
		b.WriteString("gox-helix: one difference between the tables and what this version needs")
	}
	for _, d := range e.Differences {
		b.WriteString("\n- " + d.String())
	}
	return b.String()
}

// String is one line, without its end.
func (d Difference) String() string {
	what := d.Table
	if d.Column != "" {
		what += "." + d.Column
	}
	return fmt.Sprintf("%s: is %s; should be %s; cure: %s", what, d.Got, d.Want, d.Cure)
}
