package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
)

// program is txlock under way, on a server of its own.
type program struct {
	*testing.T
	*exec.Cmd

	said *bytes.Buffer
}

func startProgram(t *testing.T, dsn, dir string, args ...string) *program {
	t.Helper()
	p := &program{t, exec.CommandContext(t.Context(), "txlock", args...), &bytes.Buffer{}}
	p.Dir, p.Env = dir, append(os.Environ(), "TXLOCK_DSN="+dsn, "GORACE=atexit_sleep_ms=0")
	p.Stderr = p.said
	must(t, p.Start())
	return p
}

func (p *program) ends(want int) {
	p.Helper()
	tooLate := time.AfterFunc(patience, func() { _ = p.Process.Kill() })
	defer tooLate.Stop()
	got := 0
	err := p.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		p.Fatal(err)
	}
	if got != want {
		p.Fatalf("exit status %d, want %d: %s", got, want, p.said)
	}
}

func awaitFile(t *testing.T, path, text string) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), text) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s: waited for %v", path, patience)
		}
	}
}

const toldScript = `trap 'echo told >>log; exit 5' TERM; echo started >>log; while :; do sleep 0.01; done`

// A server that is ours to hurt, which each leaves as it was.
func TestHurtServer(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		server := s.Fresh(t)
		if server.Pid() == 0 {
			t.Skip("the server runs where it cannot be signaled")
		}
		for name, hurt := range map[string]func(t *testing.T, server *servertest.Instance, dsn string){
			"silent": silentServer, "dead": deadServer, "dead at the end": serverDeadAtTheEnd,
		} {
			t.Run(name, func(t *testing.T) {
				database := server.EmptyDatabase(t)
				must(t, ignore(migrations.Up(t.Context(), server.Open(t, func(c *mysql.Config) { c.DBName = database }))))
				hurt(t, server, server.DSN(database))
			})
		}
	})
}

// A server that falls silent: the command is told to end, and has ended before
// another run has the lease.
func silentServer(t *testing.T, server *servertest.Instance, dsn string) {
	dir := t.TempDir()
	first := startProgram(t, dsn, dir, "run", "--key", "k", "--ttl", "3s", "--grace", "1s", "--", "sh", "-c", toldScript)
	awaitFile(t, filepath.Join(dir, "log"), "started")
	second := startProgram(t, dsn, dir, "run", "-v", "--key", "k", "--", "sh", "-c", "echo second >>log")
	awaitFile(t, filepath.Join(dir, "log"), "started")
	must(t, syscall.Kill(server.Pid(), syscall.SIGSTOP))
	awaitFile(t, filepath.Join(dir, "log"), "told")
	must(t, syscall.Kill(server.Pid(), syscall.SIGCONT))
	first.ends(exitLost)
	if !strings.Contains(first.said.String(), "could not be renewed in time") {
		t.Errorf("it says: %s", first.said)
	}
	second.ends(0)
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	must(t, err)
	if string(log) != "started\ntold\nsecond\n" {
		t.Errorf("what happened:\n%s", log)
	}
}

// A server that dies under a command, and under those that wait.
func deadServer(t *testing.T, server *servertest.Instance, dsn string) {
	dir := t.TempDir()
	first := startProgram(t, dsn, dir, "run", "--key", "k", "--ttl", "3s", "--", "sh", "-c", toldScript)
	awaitFile(t, filepath.Join(dir, "log"), "started")
	second := startProgram(t, dsn, dir, "run", "--key", "k", "--", "sh", "-c", "echo second >>log")
	must(t, server.Kill())
	second.ends(exitDatabase)
	first.ends(exitLost)
	third := startProgram(t, dsn, dir, "ls")
	third.ends(exitDatabase)
	must(t, server.Restart(t.Context()))
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	must(t, err)
	if string(log) != "started\ntold\n" {
		t.Errorf("what happened:\n%s", log)
	}
}

// A lease that cannot be released protected the command all the same.
func serverDeadAtTheEnd(t *testing.T, server *servertest.Instance, dsn string) {
	dir := t.TempDir()
	p := startProgram(t, dsn, dir, "run", "--key", "k", "--ttl", "1h", "--", "sh", "-c", "echo started >log; while [ ! -e end ]; do sleep 0.01; done; exit 4")
	awaitFile(t, filepath.Join(dir, "log"), "started")
	must(t, server.Kill())
	must(t, os.WriteFile(filepath.Join(dir, "end"), nil, 0o600))
	p.ends(4)
	must(t, server.Restart(t.Context()))
	if !strings.Contains(p.said.String(), "txlock: warning: the lease could not be released: it runs out after 1h0m0s at most: ") {
		t.Errorf("it says: %s", p.said)
	}
}

// A server that takes connections, and then says nothing.
func TestNoAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		dsn  string
		end  syscall.Signal
		want int
	}{
		"verbs":      {[]string{"ls"}, "?timeout=50ms", 0, exitDatabase},
		"no wait":    {[]string{"run", "--key", "k", "--no-wait", "--", "true"}, "?timeout=50ms", 0, exitDatabase},
		"wait":       {[]string{"run", "--key", "k", "--wait", "1h", "--", "true"}, "?timeout=50ms", 0, exitDatabase},
		"terminated": {[]string{"run", "--key", "k", "--", "true"}, "?timeout=1h", syscall.SIGTERM, exitSignal + int(syscall.SIGTERM)},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			must(t, err)
			defer func() { must(t, listener.Close()) }()
			p := startProgram(t, fmt.Sprintf("root@tcp(%s)/db%s", listener.Addr(), test.dsn), t.TempDir(), test.args...)
			conn, err := listener.Accept()
			must(t, err)
			defer func() { must(t, conn.Close()) }()
			if test.end != 0 {
				must(t, p.Process.Signal(test.end))
			}
			p.ends(test.want)
		})
	}
}

// A signal that comes after the lease and before the command: the command never
// runs, and the lease is released.
func TestSignalBeforeTheCommand(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("pipes are of another size")
	}
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		database := s.EmptyDatabase(t)
		db := s.Open(t, func(c *mysql.Config) { c.DBName = database })
		must(t, ignore(migrations.Up(t.Context(), db)))
		status := func() (status int) {
			err := db.QueryRowContext(t.Context(), "SELECT COALESCE(MAX(status), -1) FROM helix_locks").Scan(&status)
			must(t, err)
			return status
		}
		r, w, err := os.Pipe()
		must(t, err)
		defer func() { must(t, r.Close()) }()
		full := make([]byte, 1<<16)
		must(t, w.SetWriteDeadline(time.Now().Add(patience)))
		must(t, ignore(w.Write(full)))
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "txlock", "run", "-v", "--key", "k", "--", "sh", "-c", "echo >>log; exec sleep 1000")
		cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), "TXLOCK_DSN="+s.DSN(database), "GORACE=atexit_sleep_ms=0"), w
		p := &program{t, cmd, &bytes.Buffer{}}
		must(t, p.Start())
		must(t, w.Close())
		for status() != 1 { // and then it waits to say so
			if err := t.Context().Err(); err != nil {
				t.Fatal(err)
			}
		}
		must(t, p.Process.Signal(syscall.SIGTERM))
		awaitFile(t, fmt.Sprintf("/proc/%d/status", p.Process.Pid), "ShdPnd:\t0000000000000000")
		must(t, ignore(io.ReadFull(r, full)))
		p.ends(exitSignal + int(syscall.SIGTERM))
		if got := status(); got != 0 {
			t.Errorf("the status of the key is %d", got)
		}
	})
}
