package doctor

import (
	"context"
	"fmt"
	"strings"
)

func (e *examination) isolation(context.Context) []Finding {
	return e.judged(subjectIsolation, "the isolation level", judgeIsolation)
}

func judgeIsolation(s settings) (findings []Finding) {
	name := s.either("transaction_isolation", "tx_isolation")
	level := s.session[name]
	add := func(l Level, text, cure string) {
		findings = append(findings, Finding{l, subjectIsolation, text, cure})
	}
	cure := s.cure(name, "'REPEATABLE-READ'")
	switch level {
	case "READ-UNCOMMITTED":
		add(Warning, "transactions run in READ UNCOMMITTED: locks hold in it, but what a transaction reads under its lock may be another's that is never committed", cure)
	case "SERIALIZABLE":
		add(Note, "transactions run in SERIALIZABLE: locks hold in it, but each plain read locks what it reads, so that transactions wait for each other, and are aborted, more often", cure)
	}
	if !isOn(s.session["autocommit"]) {
		add(Note, "autocommit is off: what a program sends outside of a transaction stays open, with its row locks, on a connection that goes back to its pool; the locks' own statements are all in transactions", s.cure("autocommit", "ON"))
	}
	text := fmt.Sprintf("transactions run in %s: acquire the lock before the first read", strings.ReplaceAll(level, "-", " "))
	if level == "READ-COMMITTED" {
		text = "transactions run in READ COMMITTED: what they read under a lock is not older than the lock"
	} else if isOn(s.session["innodb_snapshot_isolation"]) {
		// On by default from 11.6 on. It matters to who reads first alone, and txlock
		// knows the error.
		text += ", or the server may abort the transaction (error 1020, innodb_snapshot_isolation), and it has to be run again, as Do does"
	}
	return orOK(findings, subjectIsolation, text)
}
