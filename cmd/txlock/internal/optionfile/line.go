package optionfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

type lineKind int

const (
	noLine lineKind = iota // empty, or a comment
	groupLine
	optionLine
	directiveLine
)

// line is what one line of a file says. Its name and value are as they are
// written, quotes and escapes apart.
type line struct {
	kind     lineKind
	name     string // of the group, option or directive
	value    string // of the option or directive
	hasValue bool   // "name=" has, "name" has none
}

const (
	blanks = " \t\n\v\f\r"
	bom    = "\ufeff"

	maxLine = 64 << 10
)

var (
	errGroup   = errors.New("a group has no closing bracket: write it as [client]")
	errOutside = errors.New("an option is in no group: put it below a line [client]")
	errLong    = fmt.Errorf("a line has more than %d bytes: see whether this is an option file", maxLine)
)

// parse calls each for every line of a file that says something, with its number,
// and returns the number of the line that an error is about.
func parse(in io.Reader, each func(number int, l line) error) (number int, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	inGroup := false
	for lines.Scan() {
		number++
		text := lines.Text()
		if number == 1 {
			text = strings.TrimPrefix(text, bom)
		}
		l, err := parseLine(text)
		if err != nil {
			return number, err
		}
		switch {
		case l.kind == noLine:
			continue
		case l.kind == groupLine:
			inGroup = true
		case l.kind == optionLine && !inGroup:
			return number, errOutside
		}
		if err := each(number, l); err != nil {
			return number, err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return number + 1, errLong
	}
	return number + 1, lines.Err()
}

func parseLine(text string) (line, error) {
	text, _, _ = strings.Cut(text, "\x00") // where a string of C ends
	text = strings.TrimLeft(text, blanks)
	if text == "" {
		return line{}, nil
	}
	switch text[0] {
	case '#', ';':
		return line{}, nil
	case '!':
		text = strings.Trim(withoutComment(text[1:]), blanks)
		end := strings.IndexAny(text+" ", blanks)
		return line{kind: directiveLine, name: text[:end], value: strings.TrimLeft(text[end:], blanks)}, nil
	case '[':
		name, _, closed := strings.Cut(text[1:], "]")
		if !closed {
			return line{}, errGroup
		}
		return line{kind: groupLine, name: strings.TrimRight(name, blanks)}, nil
	}
	name, value, hasValue := strings.Cut(withoutComment(text), "=")
	return line{
		kind:     optionLine,
		name:     strings.TrimRight(name, blanks),
		value:    unescape(unquote(strings.Trim(value, blanks))),
		hasValue: hasValue,
	}, nil
}

// withoutComment cuts a line at the first # that is not between quotes. Only
// between quotes does a backslash take their meaning away.
func withoutComment(text string) string {
	var quote byte
	escaped := false
	for i := range len(text) {
		c := text[i]
		switch {
		case quote == 0 && c == '#':
			return text[:i]
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote && !escaped:
			quote = 0
		}
		escaped = c == '\\' && !escaped
	}
	return text
}

func unquote(value string) string {
	last := len(value) - 1
	if last > 0 && (value[0] == '"' || value[0] == '\'') && value[last] == value[0] {
		return value[1:last]
	}
	return value
}

// unescape leaves a backslash before anything that has no meaning after it.
func unescape(value string) string {
	return strings.NewReplacer(
		`\b`, "\b", `\t`, "\t", `\n`, "\n", `\r`, "\r", `\s`, " ",
		`\\`, `\`, `\"`, `"`, `\'`, `'`,
	).Replace(value)
}
