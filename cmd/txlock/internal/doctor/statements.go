package doctor

import "context"

func (e *examination) statements(context.Context) []Finding {
	return e.judged(subjectStatements, "whether the server refuses statements of the locks", judgeStatements)
}

func judgeStatements(s settings) (findings []Finding) {
	add := func(level Level, text, cure string) {
		findings = append(findings, Finding{level, subjectStatements, text, cure})
	}
	if s.session["binlog_format"] == "STATEMENT" && isOn(s.global["log_bin"]) {
		add(Problem, "binlog_format is STATEMENT: the server refuses to write in READ COMMITTED (error 1665), as purging does and as your transactions may; and an acquisition that is refused with NoWait can be one on a replica", s.cure("binlog_format", "'ROW'"))
	}
	if s.isMariaDB() && isOn(s.session["sql_safe_updates"]) {
		add(Warning, "sql_safe_updates is on: MariaDB then refuses AcquireManyTx and purging (error 1175)", s.cure("sql_safe_updates", "OFF"))
	}
	return orOK(findings, subjectStatements, "no setting makes the server refuse statements of the locks")
}
