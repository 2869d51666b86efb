package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// server is one server process and its data.
type server interface {
	config() *mysql.Config
	pid() int // 0 if it does not run
	// start starts it, for the first time or after kill, and returns when it
	// answers.
	start(ctx context.Context, args ...string) error
	kill() error
	stop() error
	logTail() string
}

// testServer is a server that package testserver starts.
type testServer struct {
	engine  testserver.Engine
	options testserver.Options

	mu  sync.Mutex
	own *testserver.Server // nil before the first start
}

func (s *testServer) get() *testserver.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own
}

func (s *testServer) config() *mysql.Config { return s.get().Config() }

func (s *testServer) pid() int {
	if own := s.get(); own != nil {
		return own.Pid()
	}
	return 0
}

func (s *testServer) start(ctx context.Context, _ ...string) error {
	if own := s.get(); own != nil {
		return own.Restart(ctx)
	}
	own, err := testserver.Start(ctx, s.engine, s.options)
	if err != nil {
		return err
	}
	if own.Pid() == 0 {
		return errors.Join(fmt.Errorf("engine: %s runs in a container, where it cannot be paused: install a server program, or remove Docker from PATH", s.engine), own.Stop())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own = own
	return nil
}

func (s *testServer) kill() error {
	if own := s.get(); own != nil {
		return own.Kill()
	}
	return nil
}

// stop kills first: the data is removed anyway, and a paused server would not
// be stopped by a request.
func (s *testServer) stop() error {
	own := s.get()
	if own == nil {
		return nil
	}
	return errors.Join(own.Kill(), own.Stop())
}

func (s *testServer) logTail() string {
	own := s.get()
	if own == nil {
		return ""
	}
	log, err := own.Log()
	if err != nil {
		return err.Error()
	}
	return lastLines(string(log))
}

// scriptServer is a server that a script becomes.
type scriptServer struct {
	name    string // for people
	scripts *scripts
	script  string
	dir     string
	port    int
	lines   []string // of my.cnf, as name=value
	args    []string
	env     []string

	mu      sync.Mutex
	process *testserver.Process
	stopped bool
}

// write writes the server's my.cnf.
func (s *scriptServer) write() error {
	lines := append([]string{
		"[mysqld]",
		"datadir=" + filepath.Join(s.dir, "data"),
		"tmpdir=" + filepath.Join(s.dir, "tmp"),
		"socket=" + filepath.Join(s.dir, "server.sock"),
		"pid-file=" + filepath.Join(s.dir, "server.pid"),
		"log-error=" + filepath.Join(s.dir, "error.log"),
		"bind-address=127.0.0.1",
		fmt.Sprintf("port=%d", s.port),
		"max-connections=500",
		"skip-name-resolve",
	}, s.lines...)
	if err := os.WriteFile(filepath.Join(s.dir, "my.cnf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("engine: %s: its configuration: %w", s.name, err)
	}
	return nil
}

func (s *scriptServer) config() *mysql.Config {
	config := mysql.NewConfig()
	config.User = "root"
	config.Net = "tcp"
	config.Addr = fmt.Sprintf("127.0.0.1:%d", s.port)
	return config
}

func (s *scriptServer) running() *testserver.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil || s.process.Ended() {
		return nil
	}
	return s.process
}

func (s *scriptServer) pid() int {
	if p := s.running(); p != nil {
		return p.Pid()
	}
	return 0
}

func (s *scriptServer) start(ctx context.Context, args ...string) error {
	if err := s.write(); err != nil {
		return err
	}
	// A killed server leaves these, and the pid in them may be in use again.
	for _, name := range []string{"server.sock", "server.sock.lock", "server.pid"} {
		_ = os.Remove(filepath.Join(s.dir, name))
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "stdout.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("engine: %s: its log: %w", s.name, err)
	}
	cmd := s.scripts.command(s.script, append(append([]string{"serve", s.dir}, s.args...), args...)...)
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Env, s.env...)
	cmd.Stdout, cmd.Stderr = log, log
	process, err := s.launch(cmd)
	if err = errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("engine: %s: could not start %s: %w", s.name, s.script, err)
	}
	if err := s.awaitReady(ctx, process); err != nil {
		process.Kill()
		return fmt.Errorf("engine: %s: the server on port %d did not get ready: %w; its log ends:\n%s", s.name, s.port, err, s.logTail())
	}
	return nil
}

func (s *scriptServer) launch(cmd *exec.Cmd) (*testserver.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, errors.New("it has been stopped, and its data removed")
	}
	p, err := testserver.StartProcess(cmd, syscall.SIGKILL)
	if err == nil {
		s.process = p
	}
	return p, err
}

// awaitReady returns when the server answers, or as soon as it never will.
func (s *scriptServer) awaitReady(ctx context.Context, process *testserver.Process) error {
	ticker := time.NewTicker(pollInterval / 2)
	defer ticker.Stop()
	for {
		// SHOW, as Galera refuses SELECT before it is in the group.
		found, err := settings(ctx, s.config(), "SHOW GLOBAL VARIABLES LIKE 'datadir'")
		switch dir := found["datadir"]; {
		case err != nil:
		case filepath.Clean(dir) != filepath.Join(s.dir, "data"):
			return fmt.Errorf("another server, on %s, answers on its port", dir)
		default:
			return nil
		}
		select {
		case <-process.Done():
			return errors.Join(errEnded, process.Err())
		case <-ctx.Done():
			return fmt.Errorf("%w; the last answer was: %w", context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}

func (s *scriptServer) kill() error {
	if p := s.running(); p != nil {
		p.Kill()
	}
	return nil
}

// stop kills, as the data is removed anyway.
func (s *scriptServer) stop() error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	return s.kill()
}

func (s *scriptServer) logTail() string {
	var log string
	for _, name := range []string{"stdout.log", "error.log"} {
		if text, err := os.ReadFile(filepath.Join(s.dir, name)); err == nil {
			log += string(text)
		}
	}
	return lastLines(log)
}

// lastLines are the last lines of a log.
func lastLines(text string) string {
	const n = 25
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
