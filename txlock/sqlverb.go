package txlock

import (
	"slices"
	"strings"
)

// sqlStatement is what an SQL text means for a fence.
type sqlStatement struct {
	kind   sqlKind
	verb   string // its first word
	reason string // why it is refused
}

type sqlKind int

const (
	// sqlRefused is what may end the transaction, and what is not known.
	sqlRefused sqlKind = iota
	// sqlReads only reads.
	sqlReads
	// sqlWrites is what belongs into a transaction: it writes, or locks, or puts
	// what it reads somewhere.
	sqlWrites
	// sqlSavepoint sets, releases or rolls back to a savepoint.
	sqlSavepoint
	// sqlSets changes a setting of the session that no fence depends on.
	sqlSets
	// sqlCalls runs a procedure, which may do anything.
	sqlCalls
)

const (
	reasonCommits = "commits the open transaction, and ends its fence: send it through the base database"
	reasonControl = "begins or ends a transaction, and with it a fence: use BeginTx, Commit and Rollback"
	reasonSet     = "may change what a fence relies on: set it in the DSN"
	reasonUnknown = "is not known to leave a fence in place: send it through the base database"
	reasonCall    = "may commit, which ends the fence: see AllowCalls, or send it through the base database"
)

// sqlReasons are those of statements that are refused, by their first word.
var sqlReasons = map[string]string{
	"BEGIN": reasonControl, "START": reasonControl, "COMMIT": reasonControl, "ROLLBACK": reasonControl, "XA": reasonControl,

	"ALTER": reasonCommits, "CREATE": reasonCommits, "DROP": reasonCommits, "RENAME": reasonCommits, "TRUNCATE": reasonCommits,
	"GRANT": reasonCommits, "REVOKE": reasonCommits, "LOCK": reasonCommits, "UNLOCK": reasonCommits, "ANALYZE": reasonCommits,
	"OPTIMIZE": reasonCommits, "REPAIR": reasonCommits, "CHECK": reasonCommits, "CACHE": reasonCommits, "FLUSH": reasonCommits,
	"LOAD": reasonCommits, "INSTALL": reasonCommits, "UNINSTALL": reasonCommits,

	"SET": reasonSet,
	"USE": "changes the database of a pooled connection: name it in the DSN",
}

// classifySQL says what a text means for a fence. It allows what it knows. What
// depends on the session's quoting rules is refused.
func classifySQL(text string) sqlStatement {
	s := classifySQLWith(text, sqlEscapes{single: true, double: true})
	if !strings.Contains(text, `\`) {
		return s
	}
	for _, escapes := range []sqlEscapes{{}, {single: true}, {double: true}} {
		if classifySQLWith(text, escapes) != s {
			return sqlStatement{verb: s.verb, reason: `has a backslash in quotes, and what that means depends on sql_mode: use parameters`}
		}
	}
	if s.kind != sqlRefused && strings.Contains(text, ";") && hasSplitCharacter(text) {
		return sqlStatement{verb: s.verb, reason: `has a backslash after a character that is not ASCII, and what that means depends on the character set: use parameters`}
	}
	return s
}

// hasSplitCharacter reports whether a backslash could be the second half of a
// character, as it can in GBK, Big5 and Shift JIS.
func hasSplitCharacter(text string) bool {
	for i := 1; i < len(text); i++ {
		if text[i] == '\\' && text[i-1] >= 0x80 {
			return true
		}
	}
	return false
}

func classifySQLWith(text string, escapes sqlEscapes) sqlStatement {
	f := readSQL(&sqlTokens{text: text, escapes: escapes})
	s := sqlStatement{verb: f.verb()}
	switch {
	case f.trouble != "":
		s.reason = f.trouble + ", and what follows cannot be told: leave that out, or send it through the base database"
	case f.several:
		s.reason = "is followed by another statement: send one at a time"
	case s.verb == "":
		s.reason = "is empty, or begins with something that is no keyword"
	default:
		s.kind = f.kind()
		if s.kind == sqlRefused {
			s.reason = reasonUnknown
			if known, ok := sqlReasons[s.verb]; ok {
				s.reason = known
			}
		}
	}
	return s
}

// sqlFacts is what is looked at in a statement.
type sqlFacts struct {
	opening bool       // it begins with a parenthesis
	head    []sqlToken // its first tokens, after opening parentheses; of SET all
	main    string     // after WITH: what the statement is
	several bool
	trouble string

	into, locks       bool // INTO, or FOR UPDATE and the like
	analyzes, changes bool // ANALYZE; a word that changes rows
}

const (
	sqlHead    = 4
	sqlHeadSet = 200 // a longer SET is refused
)

func readSQL(x *sqlTokens) *sqlFacts {
	f := &sqlFacts{}
	depth := 0
	ended := false
	var last sqlToken
	for t := x.next(); t.kind != sqlEnd; t = x.next() {
		if ended {
			f.several = true
			break
		}
		switch {
		case t.isByte(";"):
			ended = true
		case len(f.head) == 0 && t.isByte("("):
			f.opening = true
		case len(f.head) < sqlHead, f.head[0].isWord("SET") && len(f.head) < sqlHeadSet:
			f.head = append(f.head, t)
		}
		f.note(last, t, depth)
		switch {
		case t.isByte("("):
			depth++
		case t.isByte(")"):
			depth--
		}
		last = t
	}
	f.trouble = x.trouble
	return f
}

// note looks at a token, the one before it, and how deep in parentheses it is.
func (f *sqlFacts) note(last, t sqlToken, depth int) {
	switch {
	case t.isWord("INTO"):
		f.into = true
	case last.isWord("FOR") && t.isWord("UPDATE", "SHARE"), last.isWord("LOCK") && t.isWord("IN"):
		f.locks = true
	case t.isWord("ANALYZE"):
		f.analyzes = true
	}
	if t.isWord("INSERT", "REPLACE", "UPDATE", "DELETE") {
		f.changes = true
	}
	if f.main == "" && depth == 0 {
		switch {
		case t.isWord("SELECT", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE"):
			f.main = t.text
		case last.isByte(")") && t.isByte("("): // a query in parentheses
			f.main = "SELECT"
		}
	}
}

func (f *sqlFacts) verb() string {
	if len(f.head) == 0 || f.head[0].kind != sqlWord {
		return ""
	}
	return f.head[0].text
}

// is reports whether the statement's tokens after its verb begin with one of
// these words.
func (f *sqlFacts) is(place int, words ...string) bool {
	return len(f.head) > place && f.head[place].isWord(words...)
}

func (f *sqlFacts) kind() sqlKind {
	verb := f.verb()
	if f.opening && !f.is(0, "SELECT", "VALUES", "TABLE", "WITH") {
		return sqlRefused
	}
	if verb == "WITH" {
		if f.opening { // then it is a query, and main is something behind it
			return f.query()
		}
		verb = f.main
	}
	switch verb {
	case "SELECT", "VALUES", "TABLE":
		return f.query()
	case "SHOW":
		return sqlReads
	case "EXPLAIN", "DESCRIBE", "DESC":
		if f.analyzes && f.changes { // that does it
			return sqlRefused
		}
		return sqlReads
	case "INSERT", "REPLACE", "UPDATE", "DELETE", "DO":
		return sqlWrites
	case "LOAD":
		if f.is(1, "DATA", "XML") {
			return sqlWrites
		}
	case "CREATE":
		if f.is(1, "TEMPORARY") && f.is(2, "TABLE") {
			return sqlWrites
		}
	case "DROP":
		if f.is(1, "TEMPORARY") && f.is(2, "TABLE", "TABLES") {
			return sqlWrites
		}
	case "SAVEPOINT":
		return sqlSavepoint
	case "RELEASE":
		if f.is(1, "SAVEPOINT") {
			return sqlSavepoint
		}
	case "ROLLBACK":
		if f.is(1, "TO") || f.is(1, "WORK") && f.is(2, "TO") {
			return sqlSavepoint
		}
	case "SET":
		return kindOfSet(f.head[1:])
	case "CALL":
		return sqlCalls
	}
	return sqlRefused
}

func (f *sqlFacts) query() sqlKind {
	if f.into || f.locks {
		return sqlWrites
	}
	return sqlReads
}

// kindOfSet reads the assignments of a SET. A value with a parenthesis may have a
// subquery or a function in it, which may write.
func kindOfSet(tokens []sqlToken) sqlKind {
	if len(tokens) == 0 || len(tokens) >= sqlHeadSet-1 {
		return sqlRefused
	}
	if tokens[0].isWord("NAMES") {
		if len(tokens) > 1 && tokens[1].isWord("UTF8", "UTF8MB3", "UTF8MB4", "LATIN1", "ASCII", "BINARY") {
			return sqlSets
		}
		return sqlRefused
	}
	kind := sqlSets
	for begin := 0; begin < len(tokens); {
		end, depth := begin, 0
		for ; end < len(tokens) && (depth > 0 || !tokens[end].isByte(",")); end++ {
			switch {
			case tokens[end].isByte("("):
				depth++
				kind = sqlWrites
			case tokens[end].isByte(")"):
				depth--
			}
		}
		if !isHarmlessAssignment(tokens[begin:end]) {
			return sqlRefused
		}
		begin = end + 1
	}
	return kind
}

func isHarmlessAssignment(tokens []sqlToken) bool {
	at := 0
	for at < len(tokens) && tokens[at].isByte("@") {
		at++
	}
	switch at {
	case 0: // name, SESSION name
		if len(tokens) > 1 && tokens[0].isWord("SESSION", "LOCAL") && !tokens[1].isByte("=") {
			at++
		}
	case 1: // @name, which is the program's own
		return len(tokens) > 1 && (tokens[1].kind == sqlWord || tokens[1].kind == sqlQuoted)
	case 2: // @@name, @@SESSION.name
		if len(tokens) > 3 && tokens[2].isWord("SESSION", "LOCAL") && tokens[3].isByte(".") {
			at += 2
		}
	}
	if len(tokens) < at+2 || tokens[at].kind != sqlWord {
		return false
	}
	assigns := tokens[at+1].isByte("=") || tokens[at+1].isByte(":") && len(tokens) > at+2 && tokens[at+2].isByte("=")
	return assigns && slices.Contains(harmlessVariables, tokens[at].text)
}

// harmlessVariables are those that change neither what a statement says, nor when
// a transaction ends, nor what of it is kept.
var harmlessVariables = []string{
	"CTE_MAX_RECURSION_DEPTH", "FOREIGN_KEY_CHECKS", "GROUP_CONCAT_MAX_LEN", "INNODB_LOCK_WAIT_TIMEOUT", "JOIN_BUFFER_SIZE",
	"LC_TIME_NAMES", "LOCK_WAIT_TIMEOUT", "MAX_EXECUTION_TIME", "MAX_HEAP_TABLE_SIZE", "MAX_STATEMENT_TIME", "NET_READ_TIMEOUT",
	"NET_WRITE_TIMEOUT", "OPTIMIZER_SWITCH", "SORT_BUFFER_SIZE", "SQL_SAFE_UPDATES", "SQL_SELECT_LIMIT", "TIME_ZONE",
	"TMP_TABLE_SIZE", "TRANSACTION_ISOLATION", "TX_ISOLATION", "UNIQUE_CHECKS", "WAIT_TIMEOUT",
}
