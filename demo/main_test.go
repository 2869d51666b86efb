package main

import (
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// The workers of a run are this executable again, so the test binary is one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == workerSubcommand {
		os.Exit(run(os.Args[1:]))
	}
	servertest.Main(m)
}

func TestParseOptions(t *testing.T) {
	t.Setenv(testserver.DSNVariable, "")
	o, err := parseOptions(nil)
	if err != nil || o.workers != 6 || o.kills != 3 || !o.pause || o.unprotect || o.ttl != 1500*time.Millisecond {
		t.Errorf("defaults: %+v, %v", o, err)
	}
	o, err = parseOptions([]string{"-unprotected", "-engine", "mariadb", "-workers=2", "-pause=false"})
	if err != nil || !o.unprotect || o.engine != testserver.MariaDB || o.workers != 2 || o.pause {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{
		{"-workers", "1"},
		{"-chunk", "0"},
		{"-kills", "-1"},
		{"-ttl", "1ms"},
		{"-engine", "postgres"},
		{"-nonsense"},
		{"unprotected"},
	} {
		var usage usageError
		if _, err := parseOptions(args); !errors.As(err, &usage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := parseOptions([]string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	t.Setenv(testserver.DSNVariable, "root@tcp(127.0.0.1:3306)/")
	if _, err := parseOptions([]string{"-engine", "mysql"}); err == nil {
		t.Error("-engine is silently ignored where a server is named")
	}
}
