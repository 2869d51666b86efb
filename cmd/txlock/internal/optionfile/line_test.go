package optionfile

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lines are options of [client] as they are written, and as my_print_defaults of
// MySQL 9.7 and MariaDB 10.11 prints them.
var lines = []struct{ written, printed string }{
	// names and values
	{"a", "--a"},
	{"a=", "--a="},
	{"a=1", "--a=1"},
	{"a = 1 ", "--a=1"},
	{"a\t=\t1\t", "--a=1"},
	{" \t\va=1\v\f", "--a=1"},
	{"a  =1", "--a=1"},
	{"a b=1", "--a b=1"},
	{"a=1=2", "--a=1=2"},
	{"a==1", "--a==1"},
	{"=1", "--=1"},
	{"a_b-c.d=1", "--a_b-c.d=1"},
	{"loose-a=1", "--loose-a=1"},
	{"a=1\r\nb=2\r\n", "--a=1\n--b=2"},
	{"a=1\rb=2", "--a=1\rb=2"},
	{"a=b\x00c\nd=1", "--a=b\n--d=1"},
	{"", ""},
	// comments
	{"#a=1\n  #b=1\n;c=1\n ;d=1", ""},
	{"a=1 # c", "--a=1"},
	{"a=1#c", "--a=1"},
	{"a#b=1", "--a"},
	{"a=1;c", "--a=1;c"},
	{"a=1 ; c", "--a=1 ; c"},
	{`a="x#y"`, "--a=x#y"},
	{`a='x#y'`, "--a=x#y"},
	{`a="x" # c`, "--a=x"},
	{`a="x"#`, "--a=x"},
	{`a="x#y`, `--a="x#y`},
	{`a=x"#y"`, `--a=x"#y"`},
	{`a=it's # c`, "--a=it's # c"},
	{`a="it's # c"`, "--a=it's # c"},
	{`a='it"s # c'`, `--a=it"s # c`},
	{`a="x\"#y"`, `--a=x"#y`},
	{`a='x\'#y'`, `--a=x'#y`},
	{`a=x\"#y"`, `--a=x"#y"`},
	{`a="x\" # c"`, `--a=x" # c`},
	{`a='a\' # c`, `--a='a' # c`},
	{`a=b\#c`, `--a=b\`},
	{`a=b\\#c`, `--a=b\`},
	{`a="b\\"#c`, `--a=b\`},
	{`a="b\#c"`, `--a=b\#c`},
	{`a="a" # "b"`, "--a=a"},
	{`a"#b=1`, `--a"#b=1`},
	{`a\"=#"1`, `--a\"=#"1`},
	// quotes
	{`a="x"`, "--a=x"},
	{`a='x'`, "--a=x"},
	{`a= "x" `, "--a=x"},
	{`a=" x "`, "--a= x "},
	{`a=""`, "--a="},
	{`a="`, `--a="`},
	{`a="'"`, "--a='"},
	{`a="x'`, `--a="x'`},
	{`a="x"y`, `--a="x"y`},
	{`a='x' 'y'`, "--a=x' 'y"},
	{`"a"=1`, `--"a"=1`},
	// escapes
	{`a=\b\t\n\r\\\s\"\'`, "--a=\b\t\n\r\\ \"'"},
	{`a=\q\0\a\N`, `--a=\q\0\a\N`},
	{`a=\\n`, `--a=\n`},
	{`a=\sx\s`, "--a= x "},
	{`a=C:\new`, "--a=C:\new"},
	{`a=x\`, `--a=x\`},
	{`a=x\ `, `--a=x\`},
	{`a="x\"`, `--a=x\`},
	{`a="\"`, `--a=\`},
	{`a\n=1`, `--a\n=1`},
	// groups
	{"[other]\na=1\n[client]\nb=2", "--b=2"},
	{" [client ]x # c\na=1", "--a=1"},
	{"[ client]\na=1", ""},
	{"[CLIENT]\na=1", "--a=1"},
	{"[client]]\na=1", "--a=1"},
	{"[cli]ent]\na=1", ""},
	{"[]\na=1", ""},
	{"[client#]\na=1", ""},
	{"[clientele]\na=1", ""},
	{"[clien]\na=1", ""},
	{"[other]\nx x\n=\n[client]\na=1", "--a=1"},
}

// printDefaults is what a reader finds in [client], as my_print_defaults prints it.
func printDefaults(t *testing.T, file string) (string, error) {
	t.Helper()
	var b strings.Builder
	r := &reader{groups: []string{"client"}, option: func(_ string, l line) {
		b.WriteString("--" + l.name)
		if l.hasValue {
			b.WriteString("=" + l.value)
		}
		b.WriteString("\n")
	}}
	err := r.read(file)
	return b.String(), err
}

func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	put(t, path, text)
	return path
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %#v, want %#v", what, got, want)
	}
}

func TestLines(t *testing.T) {
	for _, test := range lines {
		t.Run(test.written, func(t *testing.T) {
			file := write(t, "my.cnf", "[client]\n"+test.written+"\n")
			got, err := printDefaults(t, file)
			if strings.HasPrefix(test.printed, "--a b") { // which is warned of
				test.printed = ""
			}
			if want := strings.TrimLeft(test.printed+"\n", "\n"); got != want || err != nil {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		})
	}
}

// Whatever program is installed here: the table is what it says.
func TestClientsReadTheSame(t *testing.T) {
	program, err := exec.LookPath("my_print_defaults")
	if err != nil {
		t.Skip("there is no my_print_defaults to compare with")
	}
	for _, test := range lines {
		t.Run(test.written, func(t *testing.T) {
			file := write(t, "my.cnf", "[client]\n"+test.written+"\n")
			got, err := exec.CommandContext(t.Context(), program, "--defaults-file="+file, "client").Output()
			if want := strings.TrimLeft(test.printed+"\n", "\n"); string(got) != want || err != nil {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		})
	}
}

// Where clients stumble.
func TestBeyondTheClients(t *testing.T) {
	for name, test := range map[string]struct{ file, printed string }{
		"byte order mark":  {"\ufeff[client]\na=1\n", "--a=1\n"},
		"only there":       {"[client]\n\ufeffa=1\n", "--\ufeffa=1\n"},
		"no ASCII blanks":  {"[client]\na=à\nb=x\u00a0\nc=x\xa0\nd=x\u2003\n", "--a=à\n--b=x\u00a0\n--c=x\xa0\n--d=x\u2003\n"},
		"long lines":       {"[client]\na=" + strings.Repeat("x", 60000) + "\nb=1\n", "--a=" + strings.Repeat("x", 60000) + "\n--b=1\n"},
		"no end of a line": {"[client]\na=1", "--a=1\n"},
		"nothing":          {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := printDefaults(t, write(t, "my.cnf", test.file))
			if got != test.printed || err != nil {
				t.Errorf("%.99q, %v, want %.99q", got, err, test.printed)
			}
		})
	}
}

const secret = "V3ry-S3cret"

func TestSyntaxErrors(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"no group":             {"\n# c\npassword=" + secret + "\n[client]\n", ":3: an option is in no group: put it below a line [client]"},
		"an other's group":     {"[mysqld]\n[client\npassword=" + secret, ":2: a group has no closing bracket: write it as [client]"},
		"not even a group":     {"[client]\n[" + secret, ":2: a group has no closing bracket"},
		"in UTF-16":            {"\xff\xfe[\x00c\x00", ":1: an option is in no group"},
		"a byte order mark":    {"[client]\n\ufeff\n\ufeff[client]\n[", ":4: "},
		"too long":             {"[client]\npassword=" + secret + strings.Repeat("x", 70000) + "\n", ":2: a line has more than 65536 bytes: see whether this is an option file"},
		"include nothing":      {"[client]\n!include\n", ":2: !include names nothing: write a path after it"},
		"include a comment":    {"[client]\n!includedir # " + secret + "\n", ":2: !includedir names nothing"},
		"include no directory": {"[client]\n\n!includedir /no/such\n", ":3: !includedir: open /no/such: no such file or directory: correct the path, or delete the line"},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, "my.cnf", test.file)
			for _, s := range []Sources{{DefaultsFile: file}, {System: []string{file}}, {DefaultsFile: write(t, "outer.cnf", "!include "+file)}} {
				o, err := Load(s)
				if err == nil || !strings.HasPrefix(err.Error(), "optionfile: "+file+test.want) || strings.Contains(err.Error(), secret) {
					t.Errorf("options %v, error %v, want %s", o, err, test.want)
				}
			}
		})
	}
}

func TestCanonicalNames(t *testing.T) {
	for name, want := range map[string]string{
		"ssl_ca": "ssl-ca", "ssl-ca": "ssl-ca", "SSL-Ca": "ssl-ca", "loose_ssl_ca": "ssl-ca", "loose-ssl-ca": "ssl-ca",
		"ssl": "ssl", "skip-ssl": "-ssl", "disable_ssl": "-ssl", "enable-ssl": "ssl", "loose-skip-ssl": "-ssl",
		"skip-ssl-verify-server-cert": "-ssl-verify-server-cert",
		"enable-cleartext-plugin":     "enable-cleartext-plugin", "skip-enable-cleartext-plugin": "-enable-cleartext-plugin",
		"cleartext-plugin": "cleartext-plugin", "compress": "compress", "skip-compress": "-compress",
		"skip-password": "-password", "enable-password": "enable-password", "skip-host": "skip-host", "enable-host": "enable-host",
		"maximum-port": "maximum-port", "pass": "pass", "--user": "--user", "loose-": "", "": "",
	} {
		got, negated := canonical(name)
		if negated {
			got = "-" + got
		}
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// quote writes a value so that it is read back as it is.
func quote(value string) string {
	return `"` + strings.NewReplacer(
		"\b", `\b`, "\t", `\t`, "\n", `\n`, "\r", `\r`, `\`, `\\`, `"`, `\"`, `'`, `\'`,
	).Replace(value) + `"`
}

func FuzzParse(f *testing.F) {
	for _, test := range lines {
		f.Add("[client]\n"+test.written, test.printed)
	}
	f.Add("[", " # ' \" \\ \\s \r\n")
	f.Add("!include\n!", "à\xff\u00a0")
	f.Fuzz(func(t *testing.T, text, secret string) {
		// What text says goes no further than into a Config: it may not open files.
		o := &Options{values: map[string]value{}}
		number, err := parse(strings.NewReader(text), func(number int, l line) error {
			if l.kind == optionLine {
				o.set("x:1", l)
			}
			return nil
		})
		if last := strings.Count(text, "\n") + 2; number < 1 || number > last {
			t.Errorf("line %d of %d, %v", number, last, err)
		}
		for _, name := range []string{"ssl-ca", "ssl-cert", "ssl-key", "password"} {
			delete(o.values, name)
		}
		if strings.ContainsRune(secret, 0) || len(secret) > maxLine/4 {
			return
		}
		o.set("x:1", line{name: "password", value: secret, hasValue: true})
		if cfg, err := o.Config(); err == nil && cfg.Passwd != secret {
			t.Errorf("password %q, want %q", cfg.Passwd, secret)
		}

		var read []line
		_, err = parse(strings.NewReader("[client]\nname = "+quote(secret)+" # c\nnext"), func(_ int, l line) error {
			read = append(read, l)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []line{{groupLine, "client", "", false}, {optionLine, "name", secret, true}, {optionLine, "next", "", false}}; !slices.Equal(read, want) {
			t.Errorf("%+v, want %+v", read, want)
		}
	})
}
