package optionfile

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// options are those of a file's [client].
func options(t *testing.T, s Sources, text string) (o *Options, file string) {
	t.Helper()
	s.DefaultsFile = write(t, "my.cnf", "[client]\n"+text+"\n")
	return load(t, s), s.DefaultsFile
}

func config(t *testing.T, s Sources, text string) *mysql.Config {
	t.Helper()
	o, _ := options(t, s, text)
	cfg, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// wantError wants that of a file's [client], from its place on, and no secret in it.
func wantError(t *testing.T, s Sources, text, want string) {
	t.Helper()
	o, file := options(t, s, text)
	cfg, err := o.Config()
	if err == nil || !strings.HasPrefix(err.Error(), "optionfile: "+file+want) {
		t.Errorf("%s: error %v, want %s", text, err, want)
	}
	if err != nil && (cfg != nil || strings.Contains(err.Error(), secret)) {
		t.Errorf("%s: config %v, error %v", text, cfg, err)
	}
}

func TestConfigByDefault(t *testing.T) {
	cfg := config(t, Sources{}, "")
	defaults := mysql.NewConfig()
	defaults.Net, defaults.Addr, defaults.TLSConfig = "tcp", "127.0.0.1:3306", "preferred"
	want(t, "DSN", cfg.FormatDSN(), defaults.FormatDSN())
	want(t, "native passwords", cfg.AllowNativePasswords, true)
	want(t, "TLS", cfg.TLS, (*tls.Config)(nil))
	want(t, "options of a file for all programs", config(t, Sources{}, `
default-character-set=latin1
init-command=DROP DATABASE x
max_allowed_packet=1G
no-auto-rehash
prompt=\u@\h>
tls-version=TLSv1.3
ssl-crl=/no/such
`).FormatDSN(), defaults.FormatDSN())
}

func TestAccount(t *testing.T) {
	system := Sources{User: "system"}
	for text, user := range map[string]string{
		"": "system", "user=": "system", "user=own": "own", "user = \"o w'n\"": "o w'n", "user=x\nuser=": "system",
		"skip-user": "system", "loose-user=own": "own",
	} {
		want(t, text+": user", config(t, system, text).User, user)
	}
	want(t, "no user at all", config(t, Sources{}, "").User, "")
	for text, password := range map[string]string{
		"": "", "password=": "", `password=""`: "", "password=p;w": "p;w", "password=p#w": "p", "password='p#w'": "p#w",
		"password=p=w": "p=w", `password="\"\\\'#\s"`: `"\'# `, "PASSWORD=x": "x", "pass=x": "", "password=é:@/?&%": "é:@/?&%",
		"password=x\nskip-password": "", "password=x\nloose-disable-password": "", "skip-password\npassword=x": "x", "password\npassword=x": "x",
	} {
		want(t, text+": password", config(t, system, text).Passwd, password)
	}
	wantError(t, system, "user", ":2: user has no value: write user=VALUE")
	wantError(t, system, "password="+secret+"\npassword", ":3: password has no value, and nobody is asked for it here: write it into the file, as password=\"...\"")
}

func TestSwitches(t *testing.T) {
	compressed := func(cfg *mysql.Config) bool { return strings.Contains(cfg.FormatDSN(), "compress=true") }
	cleartext := func(cfg *mysql.Config) bool { return cfg.AllowCleartextPasswords }
	for name, is := range map[string]func(*mysql.Config) bool{"compress": compressed, "enable-cleartext-plugin": cleartext} {
		for text, on := range map[string]bool{
			"": false, "NAME": true, "NAME=1": true, "NAME=ON": true, "NAME=on": true, "NAME=True": true,
			"NAME=0": false, "NAME=OFF": false, "NAME=false": false, "skip-NAME": false, "disable-NAME": false,
			"skip-NAME=0": true, "disable-NAME=1": false, "enable-NAME": true, "enable-NAME=0": false,
			"loose-NAME": true, "loose_skip_NAME": false, "NAME\nskip-NAME": false, "skip-NAME\nNAME": true,
			"no-NAME": false, "NAMEd": false, "skipNAME": false,
		} {
			text = strings.ReplaceAll(text, "NAME", name)
			want(t, text, is(config(t, Sources{}, text)), on)
		}
		for _, text := range []string{"=" + secret, "=", "=2", "=yes"} {
			wantError(t, Sources{}, name+text, ":2: "+name+" is neither ON nor OFF: write one of them")
		}
	}
}

func TestSession(t *testing.T) {
	want(t, "database", config(t, Sources{}, "database=d b").DBName, "d b")
	want(t, "database", config(t, Sources{}, "database=").DBName, "")
	wantError(t, Sources{}, "database", ":2: database has no value: write database=VALUE")
	for text, timeout := range map[string]time.Duration{
		"": 0, "connect-timeout=0": 0, "connect_timeout=5": 5 * time.Second, "connect-timeout=43200": 12 * time.Hour,
		"connect-timeout=43201": 12 * time.Hour, "connect-timeout=18446744073709551615": 12 * time.Hour,
	} {
		want(t, text, config(t, Sources{}, text).Timeout, timeout)
	}
	for _, text := range []string{"=", "=-1", "=1.5", "=5s", "=18446744073709551616", "=" + secret} {
		wantError(t, Sources{}, "connect-timeout"+text, ":2: connect-timeout is no number of seconds: write 0 for none, or more")
	}
	wantError(t, Sources{}, "connect-timeout", ":2: connect-timeout has no value: write connect-timeout=VALUE")
}

func TestAddress(t *testing.T) {
	t.Chdir(t.TempDir()) // the path of a socket is short
	for _, name := range []string{"a.sock", "b.sock"} {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	}
	put(t, "file.sock", "")
	no := Sources{Sockets: []string{"no.sock", "file.sock"}}
	ab := Sources{Sockets: []string{"no.sock", "file.sock", ".", "a.sock", "b.sock"}}
	for _, test := range []struct {
		s       Sources
		text    string
		address string
	}{
		{ab, "", "unix a.sock"},
		{no, "", "tcp 127.0.0.1:3306"},
		{ab, "host=", "unix a.sock"},
		{ab, "host=localhost", "unix a.sock"},
		{ab, "host=localhost\nport=3307", "unix a.sock"},
		{ab, "port=3307", "unix a.sock"},
		{ab, "socket=own.sock", "unix own.sock"},
		{no, "socket=/own.sock\nhost=localhost", "unix /own.sock"},
		{ab, "socket=", "unix a.sock"},
		{no, "socket=", "tcp 127.0.0.1:3306"},
		{no, "host=localhost\nport=3307", "tcp localhost:3307"},
		{no, "port=3307", "tcp 127.0.0.1:3307"},
		{ab, "protocol=tcp", "tcp 127.0.0.1:3306"},
		{ab, "protocol=TCP\nhost=localhost\nsocket=own.sock", "tcp localhost:3306"},
		{ab, "protocol=socket", "unix a.sock"},
		{ab, "protocol=Socket\nsocket=own.sock", "unix own.sock"},
		{ab, "protocol=", "unix a.sock"},
		{ab, "host=LOCALHOST", "tcp LOCALHOST:3306"},
		{ab, "host=127.0.0.1", "tcp 127.0.0.1:3306"},
		{ab, "host=db.example\nport=3307\nsocket=own.sock", "tcp db.example:3307"},
		{ab, "host=db.example\nport=0", "tcp db.example:3306"},
		{ab, "host=db.example\nport=65535", "tcp db.example:65535"},
		{ab, "host=db.example\nport=03307", "tcp db.example:3307"},
		{ab, "host=db.example\nprotocol=tcp", "tcp db.example:3306"},
		{ab, "host=::1", "tcp [::1]:3306"},
		{ab, "host=db.example\nhost=localhost", "unix a.sock"},
	} {
		cfg := config(t, test.s, test.text)
		want(t, test.text, cfg.Net+" "+cfg.Addr, test.address)
	}
	for text, message := range map[string]string{
		"host":                                  ":2: host has no value: write host=VALUE",
		"port":                                  ":2: port has no value: write port=VALUE",
		"socket":                                ":2: socket has no value: write socket=VALUE",
		"protocol":                              ":2: protocol has no value: write protocol=VALUE",
		"port=":                                 ":2: port is no number from 1 to 65535: correct it",
		"port=65536":                            ":2: port is no number",
		"port=-1":                               ":2: port is no number",
		"port=" + secret:                        ":2: port is no number",
		"protocol=memory":                       ":2: protocol is one of Windows, which is not supported: write tcp or socket",
		"\nprotocol=PIPE":                       ":3: protocol is one of Windows",
		"protocol=" + secret:                    ":2: protocol is not known: write tcp or socket",
		"protocol=socket\nhost=" + secret:       ":2: protocol is socket, but host is another machine: delete one of the two",
		"host=localhost\nprotocol=socket":       ":3: protocol is socket, but none was found (no.sock, file.sock): write socket=PATH",
		"host=db.example\nport=1\nport=tcp:1\n": ":4: port is no number",
	} {
		wantError(t, no, text, message)
	}
}

// A Config is the caller's.
func TestConfigIsNew(t *testing.T) {
	o, _ := options(t, Sources{}, "user=x\nssl-mode=REQUIRED")
	first, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	first.User, first.TLS.ServerName = "changed", "changed"
	second, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "user", second.User, "x")
	want(t, "server", second.TLS.ServerName, "localhost")
}

// What one program reads from all its files.
func TestFromFileToConfig(t *testing.T) {
	home := t.TempDir()
	system := write(t, "my.cnf", "[mysqld]\nuser=mysql\nport=3306\n\n[client]\nport=3307\nhost=db.example # the primary\n\n[mysqldump]\nquick\n")
	put(t, filepath.Join(home, ".my.cnf"), "[client]\nuser=app\npassword=\"p#w\"\n[txlock]\ndatabase=shop\nssl-mode=DISABLED\n")
	cfg, err := load(t, Sources{System: []string{system}, Home: home, User: "me", Sockets: SocketFiles()}).Config()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "DSN", cfg.FormatDSN(), "app:p#w@tcp(db.example:3307)/shop")
}
