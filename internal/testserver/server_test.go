package testserver

import (
	"context"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

func TestDSN(t *testing.T) {
	s := &Server{config: ownConfig(4711)}
	for database, want := range map[string]string{
		"":   "root@tcp(127.0.0.1:4711)/",
		"db": "root@tcp(127.0.0.1:4711)/db",
	} {
		if got := s.DSN(database); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	s.Config().User = "changed"
	if got := s.Config().User; got != "root" {
		t.Errorf("the caller changed the server's user to %s", got)
	}
}

func TestNamedDSNKeepsItsParameters(t *testing.T) {
	config, err := mysql.ParseDSN("me:secret@tcp(db.example:3307)/mine?tls=skip-verify")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{config: config}
	if got, want := s.DSN("other"), "me:secret@tcp(db.example:3307)/other?tls=skip-verify"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNamedSaysWhatIsWrong(t *testing.T) {
	for dsn, want := range map[string]string{
		"no such thing":                   "should look like",
		"me:secret@tcp(127.0.0.1:1)/mine": "the server at 127.0.0.1:1 does not answer",
	} {
		_, err := Named(context.Background(), dsn)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), DSNVariable) {
			t.Errorf("%s: %v", dsn, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}

// Stop, Kill and Restart leave a server that is not ours alone.
func TestNamedIsNotOurs(t *testing.T) {
	s := &Server{config: ownConfig(1)}
	if s.Ours() || s.Pid() != 0 || s.Stop() != nil {
		t.Error("a named server is taken for ours")
	}
	if s.Kill() == nil || s.Restart(context.Background()) == nil {
		t.Error("a named server can be killed or restarted")
	}
}

func TestEngineOf(t *testing.T) {
	for version, want := range map[string]Engine{
		"9.7.4":                    MySQL,
		"8.4.3-0ubuntu1":           MySQL,
		"10.11.19-MariaDB-0+deb12": MariaDB,
		"11.8.2-mariadb":           MariaDB,
	} {
		if got := engineOf(version); got != want {
			t.Errorf("%s: got %s, want %s", version, got, want)
		}
	}
}

func TestModuleOf(t *testing.T) {
	for text, want := range map[string]string{
		"// a comment\nmodule " + modulePath + "\n":   modulePath,
		"module \"" + modulePath + "\" // quoted\n":   modulePath,
		"module " + modulePath + "/demo\n\ngo 1.25\n": modulePath + "/demo",
		"go 1.25\n": "",
	} {
		if got := moduleOf([]byte(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
