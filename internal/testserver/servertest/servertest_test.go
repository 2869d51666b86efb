//go:build unix

package servertest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/migrations"
)

// interruptVariable names the engine that a re-executed test binary starts, to
// be interrupted.
const interruptVariable = "SERVERTEST_INTERRUPT"

func TestMain(m *testing.M) {
	if os.Getenv(interruptVariable) != "" {
		Main(waitForever{})
	}
	Main(m)
}

type waitForever struct{}

func (waitForever) Run() int {
	s, err := tests.instance(testserver.Engine(os.Getenv(interruptVariable)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var datadir string
	db, err := sql.Open("mysql", s.DSN(""))
	if err == nil {
		err = db.QueryRow("SELECT @@datadir").Scan(&datadir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(datadir)
	select {}
}

func TestOpen(t *testing.T) {
	Each(t, func(t *testing.T, s *Instance) {
		db := s.Open(t, func(c *mysql.Config) { c.Params = map[string]string{"innodb_lock_wait_timeout": "7"} })
		var database string
		var seconds, tables int
		if err := db.QueryRowContext(t.Context(), `SELECT DATABASE(), @@innodb_lock_wait_timeout, COUNT(*)
			FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'helix_goose_db_version'`).
			Scan(&database, &seconds, &tables); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(database, fmt.Sprintf("helix_test_%d_", os.Getpid())) || seconds != 7 || tables != 1 {
			t.Errorf("database %s, timeout %d, %d migrated", database, seconds, tables)
		}
		if again, err := s.Database(); err != nil || again != database {
			t.Errorf("then %s, %v", again, err)
		}
	})
}

func TestEmptyDatabase(t *testing.T) {
	Each(t, func(t *testing.T, s *Instance) {
		var name string
		t.Run("in use", func(t *testing.T) {
			name = s.EmptyDatabase(t)
			if err := s.exec(t.Context(), "CREATE TABLE "+name+".t (n INT)"); err != nil {
				t.Error(err)
			}
		})
		if err := s.exec(t.Context(), "CREATE TABLE "+name+".t (n INT)"); err == nil {
			t.Errorf("%s is still there", name)
		}
	})
}

// A copy is what goose makes, rows and all, and nothing that a test has written.
func TestMigratedDatabase(t *testing.T) {
	SideBySide(t, func(t *testing.T, s *Instance) {
		written := s.Open(t)
		for _, query := range []string{"CREATE TABLE IF NOT EXISTS another (n INT)", "UPDATE helix_lock_floor SET floor_epoch = 7"} {
			if _, err := written.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		name := s.MigratedDatabase(t)
		db := s.Open(t, func(c *mysql.Config) { c.DBName = name })
		if err := migrations.Verify(t.Context(), db); err != nil {
			t.Error(err)
		}
		var tables, floors, highest int
		if err := db.QueryRowContext(t.Context(), `SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()),
			COUNT(*), MAX(floor_epoch) FROM helix_lock_floor`).Scan(&tables, &floors, &highest); err != nil {
			t.Fatal(err)
		}
		if tables != 3 || floors != 256 || highest != 0 {
			t.Errorf("%d tables, %d floors up to %d", tables, floors, highest)
		}
		out, err := s.Migrate(t.Context(), name)
		if err != nil || !strings.Contains(string(out), "no migrations to run") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// The subtests meet, and have ended when it returns.
func TestSideBySide(t *testing.T) {
	engines, err := tests.engines()
	if err != nil {
		t.Fatal(err)
	}
	var meeting sync.WaitGroup
	for _, e := range engines {
		use(t, e) // or be skipped, as it would not come
		meeting.Add(1)
	}
	var ended atomic.Int32
	SideBySide(t, func(t *testing.T, _ *Instance) {
		t.Cleanup(func() { ended.Add(1) })
		meeting.Done()
		meeting.Wait()
	})
	if n := int(ended.Load()); n != len(engines) {
		t.Errorf("%d of %d subtests have ended", n, len(engines))
	}
}

func TestMigrate(t *testing.T) {
	Each(t, func(t *testing.T, s *Instance) {
		name := s.EmptyDatabase(t)
		if out, err := s.Migrate(t.Context(), name); err != nil || !strings.Contains(string(out), "successfully migrated") {
			t.Errorf("%v: %s", err, out)
		}
		if out, err := s.Migrate(t.Context(), name, "down-to", "0"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		_, err := s.Migrate(t.Context(), "helix_no_such_database")
		if err == nil || !strings.Contains(err.Error(), "helix_no_such_database") {
			t.Errorf("the error has no output: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Migrate(ctx, name); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
	})
}

func BenchmarkEachB(b *testing.B) {
	EachB(b, func(b *testing.B, s *Instance) {
		db := s.Open(b)
		for b.Loop() {
			if _, err := db.Exec("DO 1"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestFirst(t *testing.T) {
	s, err := First()
	if errors.Is(err, testserver.ErrNoProgram) && !required() {
		t.Skipf("%v\nto run this test, %s", err, howToRun)
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := s.Pool()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.PingContext(t.Context()), db.Close()); err != nil {
		t.Error(err)
	}
}

// An interrupted test binary stops its servers.
func TestInterrupt(t *testing.T) {
	Each(t, func(t *testing.T, s *Instance) {
		if !s.Ours() {
			t.Skip("no server is started")
		}
		// A signal each, as starting takes a while.
		sig := map[testserver.Engine]syscall.Signal{testserver.MySQL: syscall.SIGINT, testserver.MariaDB: syscall.SIGTERM}[s.Engine]
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), interruptVariable+"="+string(s.Engine))
		child.Stderr = os.Stderr
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		datadir, readErr := bufio.NewReader(stdout).ReadString('\n')
		datadir = strings.TrimSpace(datadir)
		if readErr == nil {
			_, readErr = os.Stat(datadir)
		}
		signalErr := child.Process.Signal(sig)
		_ = child.Wait()
		if err := errors.Join(readErr, signalErr); err != nil {
			t.Fatal(err)
		}
		if got, want := child.ProcessState.ExitCode(), 128+int(sig); got != want {
			t.Errorf("%s: exit status %d, want %d", sig, got, want)
		}
		if _, err := os.Stat(datadir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %s is left: %v", sig, datadir, err)
		}
	})
}

func TestSkipRule(t *testing.T) {
	missing := fmt.Errorf("mysql: %w", testserver.ErrNoProgram)
	for name, tc := range map[string]struct {
		required string
		errs     map[testserver.Engine]error
		skips    int
		notice   string
	}{
		"nothing skipped": {},
		"one": {
			errs: map[testserver.Engine]error{testserver.MySQL: missing}, skips: 1,
			notice: filepath.Base(os.Args[0]) + ": skipped 1 integration test on mysql: no server program found; run `make test` (fetches what it needs) or set TXLOCK_TEST_DSN",
		},
		"two": {
			errs: map[testserver.Engine]error{testserver.MariaDB: missing, testserver.MySQL: missing}, skips: 2,
			notice: filepath.Base(os.Args[0]) + ": skipped 2 integration tests on mysql, mariadb: no server program found; run `make test` (fetches what it needs) or set TXLOCK_TEST_DSN",
		},
		"a server that does not start is no reason to skip": {
			errs: map[testserver.Engine]error{testserver.MySQL: errors.New("it ended")},
		},
		"never when required": {
			required: "required",
			errs:     map[testserver.Engine]error{testserver.MySQL: missing},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(RequiredVariable, tc.required)
			var s suite
			for e, err := range tc.errs {
				if got := s.skip(err, e); got != (tc.skips > 0) {
					t.Errorf("%s: skipped is %t", e, got)
				}
			}
			if s.skips != tc.skips || s.notice() != tc.notice {
				t.Errorf("%d skips, notice %q", s.skips, s.notice())
			}
		})
	}
}

// Without Main nothing would stop the servers.
func TestWithoutMain(t *testing.T) {
	var s suite
	if _, err := s.engines(); err == nil || !strings.Contains(err.Error(), "must call servertest.Main") {
		t.Errorf("got %v", err)
	}
}

// A server is not started once the servers are being stopped.
func TestClosed(t *testing.T) {
	var s suite
	s.open()
	for range 2 {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.instance(testserver.MySQL); !errors.Is(err, errEnding) {
		t.Errorf("got %v", err)
	}
	if _, err := s.start(testserver.MySQL, options()); !errors.Is(err, errEnding) {
		t.Errorf("got %v", err)
	}
}

// The checks of Main run, also when the tests have failed, and fail the run.
func TestMainChecks(t *testing.T) {
	for _, tc := range []struct {
		tests exitCode
		check error
		want  int
	}{
		{0, nil, 0},
		{3, nil, 3},
		{0, errors.New("servertest: a check that fails, as TestMainChecks wants"), 1},
	} {
		var s suite
		s.open()
		ran := false
		got := s.run(tc.tests, []func() error{func() error { ran = true; return tc.check }})
		if !ran || got != tc.want {
			t.Errorf("ran %t, exit status %d, want %d", ran, got, tc.want)
		}
	}
}

type exitCode int

func (c exitCode) Run() int { return int(c) }
