package txlock

// sqlTokens reads the tokens of an SQL text, as far as it takes to tell what the
// text does: words, quoted things and single bytes, but no comments. It errs on
// the side of trouble: what the server might read otherwise stops it.
type sqlTokens struct {
	text    string
	pos     int
	escapes sqlEscapes
	trouble string // why the rest cannot be read
}

// sqlEscapes says in which quotes a backslash escapes. It depends on the
// session's sql_mode: NO_BACKSLASH_ESCAPES, ANSI_QUOTES.
type sqlEscapes struct{ single, double bool }

type sqlToken struct {
	kind sqlTokenKind
	text string // of a word, in upper case, and of a byte
}

type sqlTokenKind int

const (
	sqlEnd    sqlTokenKind = iota
	sqlWord                // a keyword, a name or a number
	sqlQuoted              // a string or a quoted name
	sqlByte                // anything else
)

func (t sqlToken) isWord(words ...string) bool {
	if t.kind != sqlWord {
		return false
	}
	for _, w := range words {
		if t.text == w {
			return true
		}
	}
	return false
}

func (t sqlToken) isByte(b string) bool { return t.kind == sqlByte && t.text == b }

// next returns the next token, sqlEnd at the end or where there is trouble.
func (x *sqlTokens) next() sqlToken {
	for x.trouble == "" && x.pos < len(x.text) {
		b := x.text[x.pos]
		switch {
		case isSQLSpace(b):
			x.pos++
		case b == '#', b == '-' && x.at(1) == '-' && x.isDashComment():
			x.skipLine()
		case b == '/' && x.at(1) == '*':
			x.skipComment()
		case b == '\'', b == '"', b == '`':
			x.skipQuoted(b)
			return sqlToken{kind: sqlQuoted}
		case isSQLWordByte(b):
			return x.word()
		case b < ' ', b == 0x7f:
			x.trouble = "has a control character outside of quotes"
		default:
			x.pos++
			return sqlToken{kind: sqlByte, text: x.text[x.pos-1 : x.pos]}
		}
	}
	return sqlToken{}
}

// at is the byte at this distance, 0 beyond the end.
func (x *sqlTokens) at(distance int) byte {
	if i := x.pos + distance; i < len(x.text) {
		return x.text[i]
	}
	return 0
}

// isDashComment reports whether two dashes begin a comment: where white space, a
// control character or the end follows.
func (x *sqlTokens) isDashComment() bool {
	after := x.at(2)
	if after >= 0x80 { // white space in some character sets
		x.trouble = "has two dashes before a character that is not ASCII"
	}
	return after <= ' ' || after == 0x7f
}

func (x *sqlTokens) skipLine() {
	for x.pos < len(x.text) && x.text[x.pos] != '\n' {
		x.pos++
	}
}

func (x *sqlTokens) skipComment() {
	kind := x.at(2)
	if kind == '!' || kind == 'M' && x.at(3) == '!' {
		x.trouble = "has an executable comment"
		return
	}
	for x.pos += 2; x.pos < len(x.text); x.pos++ {
		b := x.text[x.pos]
		switch {
		case b == '*' && x.at(1) == '/':
			x.pos += 2
			return
		case kind == '+' && (b == '\'' || b == '"' || b == '`'):
			x.trouble = "has quotes in an optimizer hint"
			return
		}
	}
	x.trouble = "has a comment without an end"
}

// skipQuoted skips to the closing quote. A doubled one closes and opens, which
// comes to the same.
func (x *sqlTokens) skipQuoted(quote byte) {
	escapes := quote == '\'' && x.escapes.single || quote == '"' && x.escapes.double
	for x.pos++; x.pos < len(x.text); x.pos++ {
		switch b := x.text[x.pos]; {
		case b == '\\' && escapes:
			x.pos++
		case b == quote:
			x.pos++
			return
		}
	}
	x.pos = len(x.text)
	x.trouble = "has a quote without an end"
}

func (x *sqlTokens) word() sqlToken {
	begin := x.pos
	for x.pos < len(x.text) && isSQLWordByte(x.text[x.pos]) {
		x.pos++
	}
	word := x.text[begin:x.pos]
	if word[0] == '$' { // MySQL quotes with $name$, too
		x.trouble = "has a dollar sign before a name"
		return sqlToken{}
	}
	const longest = 32 // no longer word is looked at
	if len(word) > longest {
		return sqlToken{kind: sqlWord}
	}
	return sqlToken{kind: sqlWord, text: upperASCII(word)}
}

// upperASCII leaves bytes that are not ASCII as they are.
func upperASCII(s string) string {
	for i := range len(s) {
		if 'a' <= s[i] && s[i] <= 'z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'a' <= b[i] && b[i] <= 'z' {
					b[i] -= 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func isSQLSpace(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

func isSQLWordByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_' || b == '$' || b >= 0x80
}
