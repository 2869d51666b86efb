package testserver

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// debianMirror is the mirror that this machine's own apt uses for Debian's
// main archive, as the machine may reach no other; empty where it has none.
func debianMirror(etcApt string) string {
	parts, _ := filepath.Glob(filepath.Join(etcApt, "sources.list.d", "*"))
	// Other vendors name their suites after Debian's: its own files first.
	slices.SortStableFunc(parts, func(a, b string) int { return debianFirst(a) - debianFirst(b) })
	for _, file := range append([]string{filepath.Join(etcApt, "sources.list")}, parts...) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // not there, or a directory
		}
		var uri string
		switch filepath.Ext(file) {
		case ".sources":
			uri = mirrorFromStanzas(string(text))
		case ".list":
			uri = mirrorFromLines(string(text))
		}
		if uri != "" {
			return uri
		}
	}
	return ""
}

func debianFirst(file string) int {
	if strings.HasPrefix(filepath.Base(file), "debian.") {
		return 0
	}
	return 1
}

// isDebianMain reports whether a source is Debian's main archive: a suite of
// its own name, which excludes the security and update archives.
func isDebianMain(suites, components []string) bool {
	return slices.Contains(components, "main") && slices.ContainsFunc(suites, func(s string) bool {
		switch s {
		case "oldoldstable", "oldstable", "stable", "testing", "unstable",
			"buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid":
			return true
		}
		return false
	})
}

// mirrorFromStanzas reads the deb822 form.
func mirrorFromStanzas(text string) string {
	fields, last := make(map[string][]string), ""
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "": // a stanza ends
			if uri := mirrorFromFields(fields); uri != "" {
				return uri
			}
			fields, last = make(map[string][]string), ""
		case line[0] == ' ' || line[0] == '\t': // goes on with the last field
			fields[last] = append(fields[last], strings.Fields(line)...)
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(name))
			fields[last] = strings.Fields(value)
		}
	}
	return ""
}

func mirrorFromFields(fields map[string][]string) string {
	enabled := fields["enabled"]
	if len(enabled) > 0 && slices.Contains([]string{"no", "false", "without", "off", "disable"}, strings.ToLower(enabled[0])) {
		return ""
	}
	if !slices.Contains(fields["types"], "deb") || !isDebianMain(fields["suites"], fields["components"]) {
		return ""
	}
	return firstURI(fields["uris"])
}

// mirrorFromLines reads the one-line form: deb [options] uri suite component...
func mirrorFromLines(text string) string {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || (rest[0] != ' ' && rest[0] != '\t') {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			_, rest, _ = strings.Cut(rest, "]")
		}
		words := strings.Fields(rest)
		if len(words) < 3 || !isDebianMain(words[1:2], words[2:]) {
			continue
		}
		if uri := firstURI(words[:1]); uri != "" {
			return uri
		}
	}
	return ""
}

func firstURI(uris []string) string {
	for _, uri := range uris {
		// An image of one release on a disc holds no other suite.
		if strings.Contains(uri, ":/") && !strings.HasPrefix(uri, "cdrom:") {
			return uri
		}
	}
	return ""
}
