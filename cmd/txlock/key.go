package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// quote is a key or an owner as it is shown: as it is, or quoted as Go and C quote
// where that would be unclear.
func quote(s string) string {
	unclear := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == '"' || r == '\\' }
	if s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, unclear) {
		return s
	}
	return strconv.Quote(s)
}

func (a *app) addQuotedFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.flags.quoted, "quoted", false, `a KEY that begins with " is quoted, as ls shows keys that cannot be printed`)
}

// key is the one that an argument names.
func (a *app) key(arg string) (string, error) {
	if !a.flags.quoted || !strings.HasPrefix(arg, `"`) {
		return arg, nil
	}
	key, err := strconv.Unquote(arg)
	if err != nil {
		return "", usageErrorf(`%s is not quoted as ls quotes keys ("...", with \x00 for a byte): %w`, arg, err)
	}
	return key, nil
}
