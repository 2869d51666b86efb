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

// Error names each difference, and a cure of several once.
func (e *DriftError) Error() string {
	var b strings.Builder
	if n := len(e.Differences); n == 1 {
		b.WriteString("one difference between the tables and what this version needs")
	} else {
		fmt.Fprintf(&b, "%d differences between the tables and what this version needs", n)
	}
	for i, d := range e.Differences {
		b.WriteString("\n- " + d.what())
		if i+1 == len(e.Differences) || e.Differences[i+1].Cure != d.Cure {
			b.WriteString("; cure: " + d.Cure)
		}
	}
	return b.String()
}

// String is one line, without its end.
func (d Difference) String() string { return d.what() + "; cure: " + d.Cure }

func (d Difference) what() string {
	what := d.Table
	if d.Column != "" {
		what += "." + d.Column
	}
	return fmt.Sprintf("%s: is %s; should be %s", what, d.Got, d.Want)
}
