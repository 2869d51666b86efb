package doctor

import (
	"context"
	"fmt"
	"strings"
)

func (e *examination) privileges(context.Context) []Finding {
	return e.judged(subjectPrivileges, "the privileges of this user", func(s settings) []Finding { return judgePrivileges(s, e.access) })
}

func judgePrivileges(s settings, a access) (findings []Finding) {
	if a.err != nil {
		return []Finding{unseen(subjectPrivileges, "the privileges of "+s.account, a.err)}
	}
	for _, purge := range []bool{false, true} {
		for _, table := range []string{tableLocks, tableFloor} {
			findings = append(findings, a.lacking(s, table, purge)...)
		}
	}
	for _, o := range []outcome{missing, refused, failed} {
		if what, reason := a.unknown(o); reason != nil {
			f := unseen(subjectPrivileges, fmt.Sprintf("whether %s may %s", s.account, what), reason)
			if o == missing {
				f.Cure = "migrate (see tables), then run txlock doctor again"
			}
			findings = append(findings, f)
		}
	}
	return orOK(findings, subjectPrivileges, s.account+" has what lock traffic and purging need")
}

// unknown is what probes of an outcome have not told, and the reason of one of them.
func (a access) unknown(o outcome) (what string, reason error) {
	var perTable []string
	count := 0
	for _, table := range []string{tableLocks, tableFloor} {
		var privileges []string
		for _, p := range a.probed {
			if p.table == table && outcomeOf(p.err) == o {
				privileges = append(privileges, p.privilege)
				if reason == nil {
					reason = p.err
				}
			}
		}
		if len(privileges) > 0 {
			count += len(privileges)
			perTable = append(perTable, enumerate(privileges)+" on "+table)
		}
	}
	if count == len(a.probed) {
		return "use the tables", reason
	}
	return strings.Join(perTable, ", "), reason
}

// lacking says what is denied on a table, to lock traffic or to a purge.
func (a access) lacking(s settings, table string, purge bool) []Finding {
	var privileges []string
	for _, p := range a.probed {
		if p.table == table && p.purge == purge && outcomeOf(p.err) == denied {
			privileges = append(privileges, p.privilege)
		}
	}
	if len(privileges) == 0 {
		return nil
	}
	level, means := Problem, map[string]string{
		tableLocks: "acquiring, keeping or seeing locks fails",
		tableFloor: "acquiring a key for the first time fails",
	}[table]
	if purge {
		level, means = Warning, "lock traffic does not need it, but a purge fails"
	}
	return []Finding{{
		level, subjectPrivileges,
		fmt.Sprintf("%s may not %s on %s: %s", s.account, enumerate(privileges), table, means),
		fmt.Sprintf("GRANT %s ON %s.%s TO %s;", strings.Join(privileges, ", "), quoteName(s.database), table, quoteAccount(s.account)),
	}}
}

// quoteAccount quotes what CURRENT_USER() says: the host is behind the last @.
func quoteAccount(account string) string {
	at := strings.LastIndex(account, "@")
	if at < 0 {
		return quoteText(account)
	}
	return quoteText(account[:at]) + "@" + quoteText(account[at+1:])
}

// quoteText quotes a user or a host; as a name, where what a text takes for itself
// depends on sql_mode.
func quoteText(s string) string {
	if strings.ContainsAny(s, `'\`) {
		return quoteName(s)
	}
	return "'" + s + "'"
}

// quoteName quotes a name as SQL does.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
