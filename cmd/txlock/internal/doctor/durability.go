package doctor

import (
	"context"
	"fmt"
)

func (e *examination) durability(context.Context) []Finding {
	return e.judged(subjectDurability, "whether commits last", judgeDurability)
}

func judgeDurability(s settings) (findings []Finding) {
	add := func(text, cure string) { findings = append(findings, Finding{Warning, subjectDurability, text, cure}) }
	const again = "the last commits are gone, locks as well as rows, and their epochs come again"
	switch s.global["innodb_flush_log_at_trx_commit"] {
	case "0":
		add("innodb_flush_log_at_trx_commit is 0: when the server or its machine crashes, "+again, s.setGlobal("innodb_flush_log_at_trx_commit", "1"))
	case "2":
		add("innodb_flush_log_at_trx_commit is 2: when the server's machine crashes, "+again, s.setGlobal("innodb_flush_log_at_trx_commit", "1"))
	}
	if every := s.global["sync_binlog"]; isOn(s.global["log_bin"]) && every != "" && every != "1" {
		add(fmt.Sprintf("sync_binlog is %s: when the machine crashes, the binary log lacks the last commits, or replicas have some that the server lost: after a failover epochs can come again", every), s.setGlobal("sync_binlog", "1"))
	}
	text := "each COMMIT is on disk when it is answered: a crash of this server loses none"
	if isOn(s.global["log_bin"]) {
		text += " (a failover to a replica that lags behind still does)"
	}
	return orOK(findings, subjectDurability, text)
}
