package doctor

import (
	"context"
	"fmt"
)

func (e *examination) writes(context.Context) []Finding {
	return e.judged(subjectWrites, "whether the server takes writes", func(s settings) []Finding { return judgeWrites(s, e.access) })
}

const connectToPrimary = "connect to the server that takes writes (the primary); if this is to be it: "

func judgeWrites(s settings, a access) (findings []Finding) {
	add := func(level Level, text, cure string) {
		findings = append(findings, Finding{level, subjectWrites, text, cure})
	}
	taken, refusal := a.write()
	var on []string
	for _, name := range []string{"read_only", "super_read_only"} {
		if isOn(s.global[name]) {
			on = append(on, name)
		}
	}
	cure := connectToPrimary + "SET GLOBAL read_only = OFF;" // which turns super_read_only off, too
	if s.isGroup() {
		cure = "connect to the member of the group that takes writes (see cluster)"
	}
	switch {
	case len(on) == 0:
	case taken:
		add(Warning, fmt.Sprintf("the server is read-only (%s), as replicas are, but this user may write nevertheless: a lock that is taken on a replica excludes nobody on its primary, and the replica differs from then on", enumerate(on)), cure)
	default:
		add(Problem, fmt.Sprintf("the server is read-only (%s), as replicas are: no lock can be acquired, renewed or released here", enumerate(on)), cure)
	}
	if isOn(s.global["innodb_read_only"]) {
		add(Problem, "innodb_read_only is on: InnoDB takes no writes, and no lock can be acquired, renewed or released here",
			connectToPrimary+"restart it without innodb-read-only")
	}
	if force := s.global["innodb_force_recovery"]; isOn(force) {
		add(Problem, fmt.Sprintf("innodb_force_recovery is %s: InnoDB is being repaired, and may refuse writes or lose them, so that locks fail or do not hold", force),
			"end the repair, and restart the server without innodb-force-recovery")
	}
	if isOn(s.global["offline_mode"]) {
		add(Problem, "offline_mode is on: the server ends the connections of all but its administrators, so that programs can have no locks", "SET GLOBAL offline_mode = OFF;")
	}
	if name := s.either("transaction_read_only", "tx_read_only"); isOn(s.session[name]) {
		add(Problem, name+" is on: transactions begin as read-only ones, and no lock can be acquired, renewed or released in them (error 1792)", s.cure(name, "OFF"))
	}
	if refusal != nil && len(findings) == 0 {
		add(Problem, fmt.Sprintf("the server refuses writes, so that no lock can be acquired, renewed or released here: %s", oneLine(refusal)), "connect to a server that takes writes (see cluster)")
	}
	text := "the server takes writes"
	if !taken {
		text = "no setting keeps the server from taking writes"
	}
	return orOK(findings, subjectWrites, text)
}
