package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
)

var update = flag.Bool("update", false, "write what commands print into the scripts that compare it")

func TestMain(m *testing.M) {
	testscript.Main(runner{m}, map[string]func(){
		"txlock": func() { os.Exit(execute(os.Args[1:])) },
	})
}

type runner struct{ *testing.M }

func (r runner) Run() int {
	return servertest.Run(r.M, func() error { return goleak.Find() })
}

// patience is for what must come.
const patience = time.Minute

// Each script is run on every engine, as a user runs the program, in a database
// of its own: $TXLOCK_DSN. Its commands besides testscript's own are below.
func TestScripts(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		testscript.Run(t, testscript.Params{
			Dir:                 filepath.Join("testdata", "script"),
			RequireExplicitExec: true,
			UpdateScripts:       *update,
			Setup: func(env *testscript.Env) error {
				database := s.EmptyDatabase(t)
				config := s.Config()
				home := filepath.Join(env.WorkDir, "home")
				env.Vars = append(env.Vars,
					"TXLOCK_DSN="+s.DSN(database),
					"DATABASE="+database,
					"ADDR="+config.Addr,
					"USER="+config.User,
					"HOME="+home,
					"TERM=xterm",
					"GORACE=atexit_sleep_ms=0", // the race detector's second of waiting for more
				)
				db, err := sql.Open("mysql", s.DSN(database))
				if err != nil {
					return err
				}
				env.Defer(func() { _ = db.Close() })
				env.Values[dbKey{}] = db
				started := &background{map[string]*exec.Cmd{}}
				env.Defer(started.end)
				env.Values[backgroundKey{}] = started
				return os.MkdirAll(home, 0o700)
			},
			Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
				"migrated": migrated,
				"sql":      runSQL,
				"status":   status,
				"await":    await,
				"start":    start,
				"ends":     ends,
				"signal":   sendSignal,
				"terminal": onTerminal,
			},
			Condition: func(name string) (bool, error) {
				if name == string(s.Engine) {
					return true, nil
				}
				return false, nil
			},
		})
	})
}

type dbKey struct{}

func database(ts *testscript.TestScript) *sql.DB {
	db, ok := ts.Value(dbKey{}).(*sql.DB)
	if !ok {
		ts.Fatalf("no database")
	}
	return db
}

// migrated creates the tables.
func migrated(ts *testscript.TestScript, _ bool, _ []string) {
	_, err := migrations.Up(context.Background(), database(ts))
	ts.Check(err)
}

// runSQL runs a statement on the script's database and prints the first column,
// a line each. With ! it must fail.
func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	rows, err := database(ts).QueryContext(context.Background(), strings.Join(args, " "))
	if err == nil {
		err = printRows(ts, rows)
	}
	switch {
	case neg && err == nil:
		ts.Fatalf("it succeeded")
	case !neg:
		ts.Check(err)
	}
}

func printRows(ts *testscript.TestScript, rows *sql.Rows) error {
	for rows.Next() {
		var column sql.NullString
		if err := rows.Scan(&column); err != nil {
			return errors.Join(err, rows.Close())
		}
		_, _ = fmt.Fprintln(ts.Stdout(), column.String)
	}
	return errors.Join(rows.Err(), rows.Close())
}

// status N CMD runs a command, which must end with that exit status.
func status(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: status N CMD [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitStatus(ts, ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// await FILE [TEXT] waits for a file to be there, and to have a text.
func await(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: await FILE [TEXT]")
	}
	path, text := ts.MkAbs(args[0]), strings.Join(args[1:], "")
	for until := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), text) {
			return
		}
		if time.Now().After(until) {
			ts.Fatalf("%s: waited for %v", strings.Join(args, ": "), patience)
		}
	}
}
