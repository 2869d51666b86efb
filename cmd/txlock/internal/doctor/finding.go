package doctor

import (
	"fmt"
	"strings"
)

// Level says how bad a finding is.
type Level int8

// The levels, from good to bad.
const (
	OK      Level = iota // as it should be
	Note                 // good to know
	Warning              // the locks work, but something that may happen breaks a promise or an operation
	Problem              // the locks do not work, or do not hold
)

// String is ok, note, warning or problem.
func (l Level) String() string {
	switch l {
	case OK:
		return "ok"
	case Note:
		return "note"
	case Warning:
		return "warning"
	case Problem:
		return "problem"
	}
	return fmt.Sprintf("level %d", int8(l))
}

// Finding is one thing that was found.
type Finding struct {
	Level   Level
	Subject string // one of those in the package's documentation
	Text    string // what is, and what it means for the locks
	Cure    string // what to do, in SQL or a command where there is one; empty for OK
}

const (
	subjectVersion    = "version"
	subjectTables     = "tables"
	subjectIsolation  = "isolation"
	subjectDurability = "durability"
	subjectWaiting    = "waiting"
	subjectStatements = "statements"
	subjectWrites     = "writes"
	subjectCluster    = "cluster"
	subjectClock      = "clock"
	subjectNamedLocks = "named-locks"
	subjectPrivileges = "privileges"
)

const askAgain = "do as it says, then run txlock doctor again"

// unseen is the finding of a check that could not be made.
func unseen(subject, what string, err error) Finding {
	f := Finding{Note, subject, fmt.Sprintf("%s could not be looked at, because: %s", what, oneLine(err)), askAgain}
	if outcomeOf(err) == refused {
		f.Cure = "connect to a server that takes writes (see writes and cluster), then run txlock doctor again"
	}
	return f
}

// oneLine is the text of an error that may be several.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// orOK is the findings, or that all is well.
func orOK(findings []Finding, subject, text string) []Finding {
	if len(findings) > 0 {
		return findings
	}
	return []Finding{{Level: OK, Subject: subject, Text: text}}
}
