package peer

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

const (
	startPatience = time.Minute
	stopPatience  = 10 * time.Second
)

// server is a process that says on its standard output when it is ready.
type server struct {
	name    string
	addr    string
	dir     *testserver.Directory
	process *testserver.Process
	stdin   io.Closer // nil if it has none

	once sync.Once
	err  error
}

// Addr is where clients connect: host:port.
func (s *server) Addr() string { return s.addr }

// Pid is the process's number.
func (s *server) Pid() int { return s.process.Pid() }

// Stop ends the server and removes its directory. It may be called again.
func (s *server) Stop() error {
	s.once.Do(func() {
		var stop error
		if s.stdin != nil {
			_ = s.stdin.Close() // which may have ended with the process
		}
		if s.process != nil {
			stop = s.process.Stop(stopPatience)
		}
		if err := errors.Join(stop, s.dir.Remove()); err != nil {
			s.err = fmt.Errorf("peer: %s: %w", s.name, err)
		}
	})
	return s.err
}

// launch starts cmd, which ends when we do, however we end, and returns when
// ready has accepted a line of its output.
func (s *server) launch(ctx context.Context, cmd *exec.Cmd, ready func(line string) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("not ready within %s", startPatience))
	defer cancel()
	// Its own pipe, and not cmd's, which Wait would close before all was read.
	lines, stdout, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("peer: %s: no pipe for its output: %w", s.name, err)
	}
	log, err := os.OpenFile(s.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return errors.Join(fmt.Errorf("peer: %s: no file for its log: %w", s.name, err), lines.Close(), stdout.Close())
	}
	cmd.Stdout, cmd.Stderr = stdout, log
	s.process, err = testserver.StartProcess(cmd, syscall.SIGKILL)
	if err := errors.Join(stdout.Close(), log.Close()); err != nil {
		return errors.Join(fmt.Errorf("peer: %s: %w", s.name, err), lines.Close())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("peer: could not start %s: %w", s.name, err), lines.Close())
	}
	isReady, read := make(chan struct{}), make(chan struct{})
	go func() { // to its end, as it must not wait for us to read
		defer close(read)
		defer lines.Close() //nolint:errcheck // read only
		s.follow(lines, isReady, ready)
	}()
	select {
	case <-isReady:
		return nil
	case <-s.process.Done():
		<-read
		return s.failed(fmt.Errorf("it ended: %w", cmp.Or(s.process.Err(), errByItself)))
	case <-ctx.Done():
		s.process.Kill()
		<-read
		return s.failed(context.Cause(ctx))
	}
}

// follow keeps the lines until it is ready.
func (s *server) follow(lines io.Reader, isReady chan<- struct{}, ready func(line string) bool) {
	r := bufio.NewReader(lines)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if ready(line) {
			close(isReady)
			_, _ = io.Copy(io.Discard, r)
			return
		}
		s.note(line)
	}
}

var errByItself = errors.New("by itself")

func (s *server) log() string { return filepath.Join(s.dir.Path, "log") }

// note adds to the log.
func (s *server) note(line string) {
	if f, err := os.OpenFile(s.log(), os.O_WRONLY|os.O_APPEND, 0); err == nil {
		_, _ = f.WriteString(line)
		_ = f.Close()
	}
}

// failed says what the server has said.
func (s *server) failed(err error) error {
	said, _ := os.ReadFile(s.log())
	said = bytes.TrimSpace(said[max(0, len(said)-4000):])
	return &startError{name: s.name, err: err, said: said}
}

// startError is that a server did not start.
type startError struct {
	name string
	err  error
	said []byte
}

func (e *startError) Error() string {
	return fmt.Sprintf("peer: %s did not start: %v; it said:\n%s", e.name, e.err, e.said)
}

func (e *startError) Unwrap() error { return e.err }
