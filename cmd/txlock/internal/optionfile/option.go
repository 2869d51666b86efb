package optionfile

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Options are what the files say.
type Options struct {
	values   map[string]value
	files    []string
	warnings []string
	user     string
	sockets  []string
	sets     int // how many options were set, one that is written twice being two
}

// value is that of an option, where it was written last.
type value struct {
	text    string
	given   bool // "name=" gives one, "name" does not
	negated bool // skip-name, disable-name
	place   string
	order   int // later is higher
}

// Load reads the files. A file that is not there, or that may not be read, is left
// out, but for DefaultsFile.
func Load(s Sources) (*Options, error) {
	o := &Options{values: map[string]value{}, user: s.User, sockets: slices.Clone(s.Sockets)}
	r := &reader{groups: s.groups(), home: s.Home, option: o.set}
	var err error
	if s.DefaultsFile != "" {
		err = r.read(expandHome(s.DefaultsFile, s.Home))
		if skipped, ok := notRead(err); ok {
			err = fmt.Errorf("optionfile: the file of --defaults-file is not read: %w: correct that, or name another", skipped)
		}
	} else {
		files := slices.Clone(s.System)
		if s.Home != "" {
			files = append(files, filepath.Join(s.Home, ".my.cnf"))
		}
		for _, file := range files {
			if err = r.optional(file); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	o.files, o.warnings = r.files, r.warnings
	return o, nil
}

// Files are those that were read, in order.
func (o *Options) Files() []string { return slices.Clone(o.files) }

// Warnings are about what was left out, such as a file that everybody may write to.
func (o *Options) Warnings() []string { return slices.Clone(o.warnings) }

// String has the names of the options and where they are, but no value: so a
// password does not get into a log.
func (o *Options) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(o.values)) {
		all = append(all, name+" ("+o.values[name].place+")")
	}
	return strings.Join(all, ", ")
}

// GoString is [Options.String], for %#v.
func (o *Options) GoString() string { return o.String() }

func (o *Options) set(place string, l line) {
	name, negated := canonical(l.name)
	o.sets++
	o.values[name] = value{text: l.value, given: l.hasValue, negated: negated, place: place, order: o.sets}
}

// canonical is the one name of an option, without the prefixes that the clients
// know.
func canonical(name string) (_ string, negated bool) {
	name = strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "loose-")
	prefix, rest, _ := strings.Cut(name, "-")
	switch {
	case prefix == "enable" && isSwitch(rest):
		return rest, false
	case (prefix == "skip" || prefix == "disable") && (isSwitch(rest) || rest == "password"):
		return rest, true
	}
	return name, false
}

func isSwitch(name string) bool {
	switch name {
	case "ssl", "ssl-verify-server-cert", "enable-cleartext-plugin", "compress":
		return true
	}
	return false
}

// text is the value of an option that needs one, empty if the option is not there.
func (o *Options) text(name string) (string, error) {
	v, ok := o.values[name]
	if ok && !v.given {
		return "", v.wrong(fmt.Sprintf("%s has no value: write %s=VALUE", name, name))
	}
	return v.text, nil
}

// on is what a switch was set to, false if it is not there.
func (o *Options) on(name string) (bool, error) {
	v, ok := o.values[name]
	on := ok
	if v.given {
		switch strings.ToLower(v.text) {
		case "1", "on", "true":
		case "0", "off", "false":
			on = false
		default:
			return false, v.wrong(name + " is neither ON nor OFF: write one of them")
		}
	}
	return on != v.negated, nil
}

// wrong is an error about a value, which is not in it: who knows what was written
// there by mistake.
func (v value) wrong(what string) error { return &placedError{v.place, errors.New(what)} }
