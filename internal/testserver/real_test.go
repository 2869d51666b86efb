//go:build unix

package testserver_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

func datadir(t *testing.T, s *testserver.Server) string {
	t.Helper()
	var dir string
	if err := connect(t, s).QueryRow("SELECT @@datadir").Scan(&dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func connect(t *testing.T, s *testserver.Server) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", s.DSN(""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// runs reports whether there is such a process. A zombie does not run: who is
// to reap it once its parent has been killed is not our concern.
func runs(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) {
		return runtime.GOOS != "linux"
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestStartStop(t *testing.T) {
	servertest.Each(t, func(t *testing.T, shared *servertest.Instance) {
		s := shared.Fresh(t, "--max-connections=77").Server
		if !strings.HasPrefix(s.DSN("x"), "root@tcp(127.0.0.1:") {
			t.Errorf("DSN %s", s.DSN("x"))
		}
		var connections int
		if err := connect(t, s).QueryRow("SELECT @@max_connections").Scan(&connections); err != nil || connections != 77 {
			t.Errorf("max_connections is %d, %v: not what the last argument says", connections, err)
		}
		dir, pid := datadir(t, s), s.Pid()
		if pid == 0 {
			t.Skip("the server runs in a container")
		}
		if !runs(pid) {
			t.Fatalf("pid %d does not run", pid)
		}
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		if runs(pid) {
			t.Errorf("pid %d is left", pid)
		}
		if s.Pid() != 0 {
			t.Errorf("a stopped server has pid %d", s.Pid())
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
		if err := s.Stop(); err != nil {
			t.Errorf("stopped twice: %v", err)
		}
		if err := s.Restart(t.Context()); err == nil {
			t.Error("restarted without data")
		}
	})
}

func TestRestartKeepsData(t *testing.T) {
	servertest.Each(t, func(t *testing.T, shared *servertest.Instance) {
		checkRestartKeepsData(t, shared.Fresh(t).Server)
	})
}

func checkRestartKeepsData(t *testing.T, s *testserver.Server) {
	t.Helper()
	ctx := t.Context()
	db := connect(t, s)
	exec := func(query string) {
		t.Helper()
		if _, err := db.ExecContext(ctx, query); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE DATABASE kept")
	exec("CREATE TABLE kept.numbers (n INT PRIMARY KEY)")
	for i, restart := range []func() error{
		func() error { return errors.Join(s.Kill(), s.Restart(ctx)) },
		func() error { return s.Restart(ctx) },
	} {
		addr, pid := s.Config().Addr, s.Pid()
		exec(fmt.Sprintf("INSERT INTO kept.numbers VALUES (%d)", i))
		if err := restart(); err != nil {
			t.Fatal(err)
		}
		if s.Config().Addr != addr {
			t.Errorf("moved from %s to %s", addr, s.Config().Addr)
		}
		if pid != 0 && (runs(pid) || !runs(s.Pid())) {
			t.Errorf("before pid %d, after it %d", pid, s.Pid())
		}
		// A pool of before has dead connections.
		db = connect(t, s)
		var n int
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM kept.numbers").Scan(&n); err != nil || n != i+1 {
			t.Fatalf("%d rows, %v; want %d", n, err, i+1)
		}
	}
}

func TestDefaults(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		if !s.Ours() {
			t.Skip("the named server is as it is")
		}
		var connections int
		var charset, collation string
		if err := connect(t, s.Server).QueryRow("SELECT @@max_connections, @@character_set_server, @@collation_server").
			Scan(&connections, &charset, &collation); err != nil {
			t.Fatal(err)
		}
		want := map[testserver.Engine]string{testserver.MySQL: "utf8mb4_0900_ai_ci", testserver.MariaDB: "utf8mb4_general_ci"}[s.Engine]
		if connections != 500 || charset != "utf8mb4" || collation != want {
			t.Errorf("max_connections %d, %s, %s", connections, charset, collation)
		}
	})
}

func TestEnv(t *testing.T) {
	servertest.Each(t, func(t *testing.T, shared *servertest.Instance) {
		if !shared.Ours() {
			t.Skip("the named server is as it is")
		}
		s, err := testserver.Start(t.Context(), shared.Engine, testserver.Options{
			Install:    os.Getenv(servertest.RequiredVariable) == "required",
			ServerArgs: testserver.FastArgs(),
			Env:        []string{"TZ=CET-1CEST"},
		})
		if err != nil {
			t.Fatal(err)
		}
		var zone string
		if err := connect(t, s).QueryRow("SELECT @@system_time_zone").Scan(&zone); err != nil || !strings.HasPrefix(zone, "CE") {
			t.Errorf("time zone %s, %v", zone, err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A server that TXLOCK_TEST_DSN names is told apart by what it says.
func TestNamed(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		named, err := testserver.Named(t.Context(), s.DSN("mysql"))
		if err != nil {
			t.Fatal(err)
		}
		if named.Engine != s.Engine || named.Version != s.Version || named.Ours() {
			t.Errorf("got %+v of %s %s", named, s.Engine, s.Version)
		}
		if err := named.Stop(); err != nil {
			t.Error(err)
		}
		if err := connect(t, s.Server).Ping(); err != nil {
			t.Errorf("the named server does not run after Stop: %v", err)
		}
	})
}

// orphanVariable names the engine that a re-executed test binary starts, to be
// killed itself.
const orphanVariable = "TESTSERVER_ORPHAN"

func startAndWait(engine string) error {
	s, err := testserver.Start(context.Background(), testserver.Engine(engine), testserver.Options{ServerArgs: testserver.FastArgs()})
	if err != nil {
		return err
	}
	fmt.Println(s.Pid(), s.Config().Addr)
	_, err = bufio.NewReader(os.Stdin).ReadByte() // until killed
	return errors.Join(err, s.Stop())
}

// A server does not outlive a test binary that is killed.
func TestKilledParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		if s.Pid() == 0 {
			t.Skip("not a server of this machine's own")
		}
		// It cannot clean up, so its directory goes where we do.
		temp, err := os.MkdirTemp("/tmp", "ts-")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(temp) }()
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), orphanVariable+"="+string(s.Engine), "TMPDIR="+temp)
		child.Stderr = os.Stderr
		stdin, err := child.StdinPipe() // held open, never written to
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stdin.Close() }()
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var pid int
		var addr string
		_, scanErr := fmt.Fscanln(bufio.NewReader(stdout), &pid, &addr)
		if scanErr == nil && !runs(pid) {
			t.Errorf("pid %d does not run", pid)
		}
		conn, dialErr := net.Dial("tcp", addr)
		killErr := child.Process.Kill()
		if err := errors.Join(scanErr, dialErr, killErr); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		// The server greets, and then the connection lasts as long as it does.
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for err = nil; err == nil; {
			_, err = conn.Read(make([]byte, 1024))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("pid %d still holds a connection", pid)
		}
		_ = conn.Close()
		// Nothing tells the end of somebody else's child.
		for deadline := time.Now().Add(10 * time.Second); runs(pid); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("pid %d outlives its parent", pid)
			}
		}
	})
}
