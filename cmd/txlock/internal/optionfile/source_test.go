package optionfile

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func load(t *testing.T, s Sources) *Options {
	t.Helper()
	o, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// text is the value of an option, "-" if it is not there.
func text(o *Options, name string) string {
	if v, ok := o.values[name]; ok {
		return v.text
	}
	return "-"
}

func TestPlaces(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are none on Windows")
	}
	wantLines(t, "files", SystemFiles(), "/etc/my.cnf", "/etc/mysql/my.cnf")
	wantLines(t, "sockets", SocketFiles(), "/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")
}

func TestLaterWins(t *testing.T) {
	home := t.TempDir()
	first := write(t, "first.cnf", "[client]\nhost=first\nuser=first\nport=1\ndatabase\n")
	second := write(t, "second.cnf", "[client]\nuser=second\nport=2\n")
	put(t, filepath.Join(home, ".my.cnf"), "[client]\nport=3\nport=4\n")
	o := load(t, Sources{System: []string{first, second}, Home: home})
	want(t, "host", text(o, "host"), "first")
	want(t, "user", text(o, "user"), "second")
	want(t, "port", text(o, "port"), "4")
	wantLines(t, "files", o.Files(), first, second, filepath.Join(home, ".my.cnf"))
	wantLines(t, "warnings", o.Warnings())

	t.Chdir(home)
	o = load(t, Sources{System: []string{first, second}})
	want(t, "port without a home", text(o, "port"), "2")

	o = load(t, Sources{System: []string{first}, Home: home, DefaultsFile: second})
	want(t, "port of the defaults file", text(o, "port"), "2")
	wantLines(t, "files", o.Files(), second)

	// Whatever group it is in, and with a value or without.
	file := write(t, "my.cnf", "[txlock]\nhost=txlock\n[client]\nhost=client\nuser=x\n[txlock]\nuser\n[client]\n")
	o = load(t, Sources{DefaultsFile: file})
	want(t, "host", text(o, "host"), "client")
	want(t, "user has a value", o.values["user"].given, false)
}

func TestGroups(t *testing.T) {
	file := write(t, "my.cnf", `
[client]
a=1
[client-server]
b=1
[client-mariadb]
c=1
[txlock]
d=1
[Client_X]
e=1
[txlock_x]
f=1
[client-server_x]
g=1
[client-mariadb_x]
h=1
[client_server]
i=1
[mysql]
j=1
[clientx]
k=1
[_x]
l=1
`)
	want(t, "options", load(t, Sources{DefaultsFile: file}).String(),
		"a ("+file+":3), b ("+file+":5), c ("+file+":7), d ("+file+":9)")
	names := func(o *Options) (all string) {
		for _, option := range strings.Split(o.String(), ", ") {
			all += option[:1]
		}
		return all
	}
	want(t, "with _x", names(load(t, Sources{DefaultsFile: file, GroupSuffix: "_x"})), "abcdefgh")
	want(t, "with x", names(load(t, Sources{DefaultsFile: file, GroupSuffix: "x"})), "abcdk")
}

func TestMissingFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), "")
	o := load(t, Sources{})
	want(t, "options", o.String(), "")
	o = load(t, Sources{System: []string{filepath.Join(dir, "no"), filepath.Join(dir, "no", "no"), filepath.Join(dir, "file", "no")}, Home: filepath.Join(dir, "file")})
	wantLines(t, "files", o.Files())
	wantLines(t, "warnings", o.Warnings())

	missing := filepath.Join(dir, "no")
	for _, s := range []Sources{{DefaultsFile: missing}, {DefaultsFile: missing, System: []string{filepath.Join(dir, "file")}}} {
		_, err := Load(s)
		if err == nil || err.Error() != "optionfile: the file of --defaults-file is not read: open "+missing+": no such file or directory: correct that, or name another" {
			t.Errorf("error %v", err)
		}
	}
}

// What is there but cannot be read.
func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	loop, closed := filepath.Join(dir, "loop.cnf"), filepath.Join(dir, "closed.cnf")
	if err := os.Symlink("loop.cnf", loop); err != nil {
		t.Fatal(err)
	}
	put(t, closed, "[client]\nuser=x\n")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	for file, reason := range map[string]string{
		loop:   "open " + loop + ": too many levels of symbolic links",
		dir:    dir + " is a directory",
		closed: "open " + closed + ": permission denied",
	} {
		if file == closed && os.Getuid() == 0 {
			continue // root may
		}
		if _, err := Load(Sources{DefaultsFile: file}); err == nil || err.Error() != "optionfile: the file of --defaults-file is not read: "+reason+": correct that, or name another" {
			t.Errorf("defaults file: %v", err)
		}
		next := write(t, "next.cnf", "[client]\n!include "+file+"\nhost=next\n")
		o := load(t, Sources{System: []string{file, next}})
		wantLines(t, "files", o.Files(), next)
		wantLines(t, "warnings", o.Warnings(), "not read: "+reason, next+":2: not included: "+reason)
		want(t, "host", text(o, "host"), "next")
	}
	if err := os.Symlink(loop, filepath.Join(dir, ".my.cnf")); err != nil {
		t.Fatal(err)
	}
	wantLines(t, "warnings", load(t, Sources{Home: dir}).Warnings(), "not read: open "+filepath.Join(dir, ".my.cnf")+": too many levels of symbolic links")
}

func TestWorldWritableFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such permission")
	}
	file := write(t, "my.cnf", "[client]\nhost=elsewhere\n")
	if err := os.Chmod(file, 0o602); err != nil {
		t.Fatal(err)
	}
	reason := "everybody may write to " + file + " (chmod o-w ends that)"
	o := load(t, Sources{System: []string{file}})
	want(t, "host", text(o, "host"), "-")
	wantLines(t, "files", o.Files())
	wantLines(t, "warnings", o.Warnings(), "not read: "+reason)
	if _, err := Load(Sources{DefaultsFile: file}); err == nil || !strings.HasSuffix(err.Error(), reason+": correct that, or name another") {
		t.Errorf("defaults file: %v", err)
	}
	outer := write(t, "outer.cnf", "[client]\n!include "+file+"\n!includedir "+filepath.Dir(file)+"\n")
	o = load(t, Sources{DefaultsFile: outer})
	wantLines(t, "warnings", o.Warnings(), outer+":2: not included: "+reason, outer+":3: not included: "+reason)

	// By a link, which everybody may write to by its permissions.
	link := filepath.Join(t.TempDir(), "link.cnf")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	wantLines(t, "warnings", load(t, Sources{System: []string{link}}).Warnings(), "not read: everybody may write to "+link+" (chmod o-w ends that)")
	for _, mode := range []os.FileMode{0o664, 0o444, 0o600} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		want(t, mode.String(), text(load(t, Sources{System: []string{link}}), "host"), "elsewhere")
	}
	// What is no regular file, such as this or a pipe of the shell's.
	want(t, "options of "+os.DevNull, load(t, Sources{DefaultsFile: os.DevNull}).String(), "")
}

func TestInclude(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.MkdirAll(filepath.Join("sub", "d", "dir.cnf"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"own.cnf":      "[client]\nuser=own\n[mysqld]\n",
		"own #1.cnf":   "[client]\nuser=no\n",
		"relative.cnf": "[client]\nuser=of the working directory\n",
		"empty":        "",
		"sub/nest.cnf": "[client]\nhost=nest\n!include relative.cnf\n",
		"sub/d/10.cnf": "[client]\norder=10\nten=10\n",
		"sub/d/9.cnf":  "[client]\norder=9\n",
		"sub/d/B.cnf":  "[client]\norder=B\n",
		"sub/d/.a.cnf": "[client]\nhidden=1\norder=.a\n",
		"sub/d/x.CNF":  "[client]\norder=x.CNF\n",
		"sub/d/y.ini":  "[client]\norder=y.ini\n",
		"sub/d/z.cnf~": "[client]\norder=z.cnf~\n",
		"sub/d/zcnf":   "[client]\norder=zcnf\n",
		".mytilde.cnf": "[client]\nuser=tilde\n",
		"~mine.cnf":    "[client]\nuser=~mine\n",
	} {
		put(t, name, text)
	}
	abs := func(name string) string { return filepath.Join(dir, name) }
	for name, test := range map[string]struct {
		text     string
		user     string // "-" for none
		warnings []string
	}{
		"absolute":              {"!include " + abs("own.cnf"), "own", nil},
		"in another group":      {"[mysqld]\n!include own.cnf", "own", nil},
		"blanks":                {" ! \tinclude\t  own.cnf \t\r", "own", nil},
		"a comment":             {"!include own.cnf # here", "own", nil},
		"a # in the name":       {"!include own #1.cnf", "-", []string{"file.cnf:1: not included: open own: no such file or directory"}},
		"quotes are of it":      {`!include "own.cnf"`, "-", []string{`file.cnf:1: not included: open "own.cnf": no such file or directory`}},
		"missing":               {"[client]\n\n!include no.cnf", "-", []string{"file.cnf:3: not included: open no.cnf: no such file or directory"}},
		"its group ends there":  {"[client]\n!include own.cnf\nuser=after", "after", nil},
		"ours does not begin":   {"[client]\nuser=before\n!include own.cnf", "own", nil},
		"twice":                 {"[client]\n!include own.cnf\nuser=x\n!include own.cnf", "own", nil},
		"from the working dir.": {"!include sub/nest.cnf", "of the working directory", nil},
		"home":                  {"!include ~/.mytilde.cnf", "tilde", nil},
		"a ~ in the name":       {"!include ~mine.cnf", "~mine", nil},
		"unknown":               {"!inkclude own.cnf", "-", []string{"file.cnf:1: ignored: there are only !include FILE and !includedir DIRECTORY"}},
		"capitals":              {"!INCLUDE own.cnf", "-", []string{"file.cnf:1: ignored: there are only !include FILE and !includedir DIRECTORY"}},
		"no blank":              {"!include=own.cnf", "-", []string{"file.cnf:1: ignored: there are only !include FILE and !includedir DIRECTORY"}},
		"a lone !":              {"!", "-", []string{"file.cnf:1: ignored: there are only !include FILE and !includedir DIRECTORY"}},
	} {
		t.Run(name, func(t *testing.T) {
			put(t, "file.cnf", test.text+"\n")
			o := load(t, Sources{DefaultsFile: "file.cnf", Home: dir})
			want(t, "user", text(o, "user"), test.user)
			wantLines(t, "warnings", o.Warnings(), test.warnings...)
		})
	}
	for _, d := range []string{abs("sub/d"), abs("sub/d") + "/", "sub/d", "./sub/d", "~/sub/d", "sub/d # comment"} {
		put(t, "file.cnf", "[client]\norder=before\n!includedir "+d+"\nuser=after\n")
		o := load(t, Sources{DefaultsFile: "file.cnf", Home: dir})
		var names []string
		for _, file := range o.Files() {
			names = append(names, filepath.Base(file))
		}
		wantLines(t, d, names, "file.cnf", ".a.cnf", "10.cnf", "9.cnf", "B.cnf")
		wantLines(t, "warnings", o.Warnings())
		want(t, "order", text(o, "order"), "B")
		want(t, "ten", text(o, "ten"), "10")
		want(t, "user", text(o, "user"), "after")
	}
	put(t, "file.cnf", "!include own.cnf\n!include own.cnf\n")
	wantLines(t, "files", load(t, Sources{DefaultsFile: "~/file.cnf", Home: dir}).Files(), abs("file.cnf"), "own.cnf")

	put(t, "outside.cnf", "user=x\n")
	put(t, "file.cnf", "[client]\n!include outside.cnf\n")
	if _, err := Load(Sources{DefaultsFile: "file.cnf"}); err == nil || err.Error() != "optionfile: outside.cnf:1: an option is in no group: put it below a line [client]" {
		t.Errorf("an included option before any group: %v", err)
	}
}

func TestIncludeWithoutEnd(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "a.cnf", "!include b.cnf\n")
	put(t, "b.cnf", "[client]\n!include c.cnf\n")
	put(t, "c.cnf", "\n\n!include b.cnf\n")
	_, err := Load(Sources{System: []string{"a.cnf"}})
	if err == nil || err.Error() != "optionfile: c.cnf:3: a file includes itself (b.cnf -> c.cnf -> b.cnf): delete one of the lines" {
		t.Errorf("a cycle: %v", err)
	}
	put(t, "b.cnf", "[client]\n!include ./b.cnf\n")
	_, err = Load(Sources{System: []string{"b.cnf"}})
	if err == nil || err.Error() != "optionfile: ./b.cnf:2: a file includes itself (./b.cnf -> ./b.cnf): delete one of the lines" {
		t.Errorf("a file that includes itself by another name: %v", err)
	}
	put(t, "c.cnf", "!includedir .\n")
	_, err = Load(Sources{System: []string{"./c.cnf"}})
	if err == nil || !strings.HasPrefix(err.Error(), "optionfile: a.cnf:1: ") && !strings.Contains(err.Error(), "itself") {
		t.Errorf("a directory that includes itself: %v", err)
	}

	for i := range 11 {
		put(t, fmt.Sprintf("%d.cnf", i), fmt.Sprintf("[client]\n!include %d.cnf\ndepth%d=1", i+1, i))
	}
	put(t, "11.cnf", "[client]\ndepth11=1\n")
	_, err = Load(Sources{System: []string{"0.cnf"}})
	if err == nil || !strings.HasPrefix(err.Error(), "optionfile: 10.cnf:2: files include one another more than 10 deep (0.cnf -> 1.cnf -> ") || !strings.HasSuffix(err.Error(), " -> 11.cnf): delete one of the lines") {
		t.Errorf("too deep: %v", err)
	}
	o := load(t, Sources{System: []string{"1.cnf"}})
	want(t, "the deepest that there can be", text(o, "depth11"), "1")
}

func TestNamesWithBlanks(t *testing.T) {
	file := write(t, "my.cnf", "[mysqld]\npassword x\n[client]\nuser=root\npassword "+secret+"\npassword\t"+secret+" = x\n")
	o := load(t, Sources{DefaultsFile: file})
	wantLines(t, "warnings", o.Warnings(),
		file+":5: ignored, as the name of an option has no blanks: write name=value",
		file+":6: ignored, as the name of an option has no blanks: write name=value")
	want(t, "options", o.String(), "user ("+file+":4)")
}

// Options end up in logs.
func TestNoSecretIsPrinted(t *testing.T) {
	file := write(t, "my.cnf", "[client]\npassword="+secret+"\n")
	o := load(t, Sources{DefaultsFile: file})
	var b strings.Builder
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		_, _ = fmt.Fprintf(&b, format+"\n", o)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "options", o)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "options", o)
	if strings.Contains(b.String(), secret) || strings.Count(b.String(), "password ("+file+":2)") < 5 {
		t.Errorf("printed:\n%s", b.String())
	}
}

func TestWhatIsReturnedIsTheCallers(t *testing.T) {
	file := write(t, "my.cnf", "[client]\n!x\n")
	o := load(t, Sources{DefaultsFile: file})
	o.Files()[0], o.Warnings()[0] = "", ""
	wantLines(t, "files", o.Files(), file)
	want(t, "warnings", strings.HasPrefix(o.Warnings()[0], file+":2: "), true)
}
