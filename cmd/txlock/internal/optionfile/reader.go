package optionfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// maxNested is how deep files may include one another, as with the clients.
const maxNested = 10

// reader reads files and what they include.
type reader struct {
	groups   []string
	home     string
	option   func(place string, l line) // is called for each option of the groups, in order
	files    []string
	warnings []string
	nested   []string // the files that are being read, each included by the one before
}

// notReadError is why a file was left out, which some callers let pass.
type notReadError struct{ err error }

func (e *notReadError) Error() string { return e.err.Error() }
func (e *notReadError) Unwrap() error { return e.err }

// missing reports that there is no such file, be it that its directory is a file.
func (e *notReadError) missing() bool {
	return errors.Is(e.err, fs.ErrNotExist) || errors.Is(e.err, syscall.ENOTDIR)
}

func notRead(err error) (*notReadError, bool) {
	var e *notReadError
	return e, errors.As(err, &e)
}

// optional reads a file of which it does not matter whether it is there.
func (r *reader) optional(path string) error {
	err := r.read(path)
	if skipped, ok := notRead(err); ok {
		if !skipped.missing() {
			r.warn("", skipped)
		}
		return nil
	}
	return err
}

func (r *reader) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &notReadError{err}
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return &notReadError{err}
	case info.IsDir():
		return &notReadError{fmt.Errorf("%s is a directory", path)}
	case runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o002 != 0:
		// Anyone could send us to a server of theirs.
		return &notReadError{fmt.Errorf("everybody may write to %s (chmod o-w ends that)", path)}
	}
	if !slices.Contains(r.files, path) {
		r.files = append(r.files, path)
	}
	r.nested = append(r.nested, path)
	defer func() { r.nested = r.nested[:len(r.nested)-1] }()
	wanted := false
	number, err := parse(f, func(number int, l line) error {
		place := fmt.Sprintf("%s:%d", path, number)
		switch l.kind {
		case groupLine:
			wanted = slices.ContainsFunc(r.groups, func(g string) bool { return strings.EqualFold(g, l.name) })
		case directiveLine:
			return r.directive(place, l)
		case optionLine:
			if wanted {
				r.add(place, l)
			}
		default: // parse leaves them out
		}
		return nil
	})
	var placed *placedError
	if err != nil && !errors.As(err, &placed) {
		return &placedError{fmt.Sprintf("%s:%d", path, number), err}
	}
	return err
}

func (r *reader) add(place string, l line) {
	if strings.ContainsAny(l.name, blanks) {
		// Not the name: it may be "password secret".
		r.warn(place, errors.New("ignored, as the name of an option has no blanks: write name=value"))
		return
	}
	r.option(place, l)
}

// directive does !include and !includedir. Relative paths are from the working
// directory, as with the clients.
func (r *reader) directive(place string, l line) error {
	switch l.name {
	case "include", "includedir":
	default:
		r.warn(place, errors.New("ignored: there are only !include FILE and !includedir DIRECTORY"))
		return nil
	}
	if l.value == "" {
		return fmt.Errorf("!%s names nothing: write a path after it", l.name)
	}
	path := expandHome(l.value, r.home)
	if l.name == "include" {
		return r.include(place, path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("!includedir: %w: correct the path, or delete the line", err)
	}
	for _, entry := range entries { // which are sorted
		if strings.HasSuffix(entry.Name(), ".cnf") && !entry.IsDir() {
			if err := r.include(place, filepath.Join(path, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) include(place, path string) error {
	chain := func(from int) string { return strings.Join(r.nested[from:], " -> ") + " -> " + path }
	if i := slices.Index(r.nested, path); i >= 0 {
		return fmt.Errorf("a file includes itself (%s): delete one of the lines", chain(i))
	}
	if len(r.nested) > maxNested {
		return fmt.Errorf("files include one another more than %d deep (%s): delete one of the lines", maxNested, chain(0))
	}
	err := r.read(path)
	if skipped, ok := notRead(err); ok {
		r.warn(place, fmt.Errorf("not included: %w", skipped))
		return nil
	}
	return err
}

func (r *reader) warn(place string, err error) {
	if place == "" {
		r.warnings = append(r.warnings, "not read: "+err.Error())
		return
	}
	r.warnings = append(r.warnings, place+": "+err.Error())
}

// placedError is a mistake in a file.
type placedError struct {
	place string
	err   error
}

func (e *placedError) Error() string { return "optionfile: " + e.place + ": " + e.err.Error() }
func (e *placedError) Unwrap() error { return e.err }

func expandHome(path, home string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && home != "" {
		return filepath.Join(home, rest)
	}
	return path
}
