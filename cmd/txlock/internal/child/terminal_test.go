//go:build unix

package child_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/gox-helix/gox-helix/cmd/txlock/internal/child"
)

// helperVariable makes the test binary run its arguments under a lease whose
// deadline is over once there is a file of that name.
const helperVariable = "TXLOCK_CHILD_TEST"

// fileLease says whether the command was still stopped when it was first asked for
// a deadline that is over.
type fileLease struct {
	*lease
	over  string // has the process id of the command
	asked bool
}

func (l *fileLease) Deadline() time.Time {
	pid, err := os.ReadFile(l.over)
	if err != nil {
		return l.lease.Deadline()
	}
	if !l.asked {
		l.asked = true
		stat, _ := os.ReadFile(filepath.Join("/proc", string(pid), "stat")) // empty where there is none
		fmt.Printf("stopped %t\n", strings.Contains(string(stat), ") T "))
	}
	return time.Now().Add(-time.Second)
}

func helper() int {
	path, err := child.Find(os.Args[1])
	if err != nil {
		panic(err)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, child.Forwarded()...)
	exit, err := child.Run(child.Command{
		Path: path, Args: os.Args[1:], Env: os.Environ(), Grace: time.Second,
		Files: [3]*os.File{os.Stdin, os.Stdout, os.Stderr},
	}, &fileLease{lease: newLease(long), over: os.Getenv(helperVariable)}, signals)
	if err != nil {
		panic(err)
	}
	fmt.Printf("exit %d lost %v\n", exit.Code, exit.Lost)
	return 0
}

// session is the helper on a terminal of its own.
type session struct {
	*testing.T

	cmd   *exec.Cmd
	tty   *os.File
	lines *bufio.Reader
	over  string
}

func startSession(t *testing.T, script string) *session {
	t.Helper()
	return startSessionOf(t, script)
}

// startJob is the same as a job of a shell, which says when it is stopped, and lets
// it go on after a line is typed.
func startJob(t *testing.T, script string) *session {
	t.Helper()
	return startSessionOf(t, script, "sh", "-m", "-c", `"$@"; echo "it is stopped"; read line; fg`, "sh")
}

func startSessionOf(t *testing.T, script string, before ...string) *session {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	over := filepath.Join(t.TempDir(), "over")
	args := append(before, self, "sh", "-c", script)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), helperVariable+"="+over)
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{T: t, cmd: cmd, tty: tty, lines: bufio.NewReader(tty), over: over}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = tty.Close()
	})
	return s
}

// endsAfter kills the helper after a time, unless what it returns is called before.
func (s *session) endsAfter(d time.Duration) (stop func() bool) {
	return time.AfterFunc(d, func() { _ = s.cmd.Process.Kill() }).Stop
}

// sees waits for a line that ends so.
func (s *session) sees(end string) {
	s.Helper()
	s.finds(regexp.QuoteMeta(end) + "$")
}

// finds waits for a line that matches, and returns it and its groups.
func (s *session) finds(pattern string) []string {
	s.Helper()
	defer s.endsAfter(patience)()
	expr := regexp.MustCompile(pattern)
	for {
		line, err := s.lines.ReadString('\n')
		if groups := expr.FindStringSubmatch(strings.TrimRight(line, "\r\n")); groups != nil {
			return groups
		}
		if err != nil {
			s.Fatalf("%q and then %v, want %s", line, err, pattern)
		}
	}
}

func (s *session) types(keys string) {
	s.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		s.Fatal(err)
	}
}

// A command that reads from the terminal gets it, and what is typed.
func TestCommandReadsFromTheTerminal(t *testing.T) {
	s := startSession(t, `read line; echo "got $line"; read line; echo "got $line"`)
	s.types("one\n")
	s.sees("got one")
	s.types("two\n")
	s.sees("got two")
	s.sees("exit 0 lost <nil>")
}

// Who runs us has the terminal back when the command has ended that had it.
func TestTerminalIsGivenBack(t *testing.T) {
	s := startSessionOf(t, `read line; echo "got $line"`, "sh", "-c", `"$@"; read line; echo "then $line"`, "sh")
	s.types("one\n")
	s.sees("got one")
	s.sees("exit 0 lost <nil>")
	s.types("two\n")
	s.sees("then two")
}

func TestInterruptFromTheTerminal(t *testing.T) {
	for name, first := range map[string]string{"in the background": "", "in the foreground": "read line; "} {
		t.Run(name, func(t *testing.T) {
			s := startSession(t, first+`trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.01; done`)
			if first != "" {
				s.types("\n")
			}
			s.sees("ready")
			s.types("\x03")
			s.sees("caught")
			s.sees("exit 7 lost <nil>")
		})
	}
}

// Ctrl-Z stops the command and us, as a shell expects, and both go on.
func TestStopFromTheTerminal(t *testing.T) {
	for name, first := range map[string]string{"in the background": "", "in the foreground": "read line; "} {
		t.Run(name, func(t *testing.T) {
			s := startJob(t, first+`trap 'echo goes on' CONT; trap 'kill $!; echo caught; exit 7' INT; sleep 1000 & echo ready; while :; do wait; done`)
			if first != "" {
				s.types("\n")
			}
			s.sees("ready")
			s.types("\x1a")
			s.sees("it is stopped")
			s.types("\n")
			s.sees("goes on")
			s.types("\x03")
			s.sees("caught")
			s.sees("exit 7 lost <nil>")
		})
	}
}

// Where nobody would let us go on nothing is stopped.
func TestNoStopInTheLeadersGroup(t *testing.T) {
	for name, first := range map[string]string{"in the background": "", "in the foreground": "read line; "} {
		t.Run(name, func(t *testing.T) {
			s := startSession(t, first+`trap 'echo goes on' CONT; trap 'kill $!; echo caught; exit 7' INT; sleep 1000 & echo ready; while :; do wait; done`)
			if first != "" {
				s.types("\n")
			}
			s.sees("ready")
			s.types("\x1a")
			s.sees("goes on")
			s.types("\x03")
			s.sees("caught")
			s.sees("exit 7 lost <nil>")
		})
	}
}

// A job that was stopped for too long is not let go on.
func TestStopBeyondTheDeadline(t *testing.T) {
	s := startJob(t, `read line; trap 'echo told; exit 4' TERM; sleep 1000 & echo "ready $$"; wait`)
	s.types("\n")
	pid := s.finds(`ready (\d+)$`)[1]
	s.types("\x1a")
	s.sees("it is stopped")
	if err := os.WriteFile(s.over+".new", []byte(pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.over+".new", s.over); err != nil {
		t.Fatal(err)
	}
	s.types("\n")
	if runtime.GOOS == "linux" {
		s.sees("stopped true")
	}
	s.sees("told")
	s.sees("exit 4 lost " + child.ErrNotRenewed.Error())
}
