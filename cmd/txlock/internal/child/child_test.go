//go:build unix

package child_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/cmd/txlock/internal/child"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		os.Exit(helper())
	}
	goleak.VerifyTestMain(m)
}

// lease is one that the test renews and loses.
type lease struct {
	mu       sync.Mutex
	deadline time.Time
	asked    int  // how often it was asked for its deadline
	renews   bool // when it is first asked
	ctx      context.Context
	lose     context.CancelCauseFunc
}

func newLease(left time.Duration) *lease {
	l := &lease{deadline: time.Now().Add(left)}
	l.ctx, l.lose = context.WithCancelCause(context.Background())
	return l
}

func (l *lease) Done() <-chan struct{} { return l.ctx.Done() }
func (l *lease) Cause() error          { return context.Cause(l.ctx) }

func (l *lease) Deadline() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	deadline := l.deadline
	if l.renews {
		l.deadline = time.Now().Add(long)
	}
	l.asked++
	return deadline
}

// awaitAsked waits until it was asked for its deadline so often.
func (l *lease) awaitAsked(t *testing.T, times int) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		asked := l.asked
		l.mu.Unlock()
		if asked >= times {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("it was asked for its deadline %d times, not %d", asked, times)
		}
	}
}

func (l *lease) renew(left time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = time.Now().Add(left)
}

// job is a command under way, whose output the test reads.
type job struct {
	*testing.T

	signals chan os.Signal
	in      *os.File
	out     *bufio.Reader
	ended   chan child.Exit
	err     error
}

const (
	long      = time.Hour
	patience  = 30 * time.Second // for what must come
	someGrace = 10 * time.Minute // which no test waits for
)

func run(t *testing.T, l *lease, grace time.Duration, script string) *job {
	t.Helper()
	shell, err := child.Find("sh")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	j := &job{T: t, signals: make(chan os.Signal, 1), in: in, out: bufio.NewReader(r), ended: make(chan child.Exit, 1)}
	c := child.Command{Path: shell, Args: []string{"sh", "-c", script}, Env: os.Environ(), Grace: grace, Files: [3]*os.File{stdin, w, os.Stderr}}
	go func() {
		exit, err := child.Run(c, l, j.signals)
		j.err = errors.Join(err, w.Close(), stdin.Close())
		j.ended <- exit
	}()
	t.Cleanup(func() { _, _ = r.Close(), in.Close() })
	return j
}

// reads fails unless the command writes these lines next.
func (j *job) reads(lines ...string) {
	j.Helper()
	for _, want := range lines {
		got, err := j.out.ReadString('\n')
		if err != nil || got != want+"\n" {
			j.Fatalf("the command wrote %q (%v), want %q", got, err, want)
		}
	}
}

func (j *job) end() child.Exit {
	j.Helper()
	select {
	case exit := <-j.ended:
		if j.err != nil {
			j.Fatal(j.err)
		}
		return exit
	case <-time.After(patience):
		j.Fatal("the command has not ended")
		return child.Exit{}
	}
}

func (j *job) wants(code int, lost error) {
	j.Helper()
	if exit := j.end(); exit.Code != code || !errors.Is(exit.Lost, lost) || (lost == nil) != (exit.Lost == nil) {
		j.Errorf("ended with %d, lost %v; want %d, %v", exit.Code, exit.Lost, code, lost)
	}
}

var errRevoked = errors.New("revoked")

func TestExit(t *testing.T) {
	for script, want := range map[string]int{
		"exit 0":        0,
		"exit 3":        3,
		"kill -TERM $$": 128 + 15,
		"kill -KILL $$": 128 + 9,
	} {
		t.Run(script, func(t *testing.T) {
			run(t, newLease(long), someGrace, script).wants(want, nil)
		})
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		j := run(t, newLease(long), time.Minute, `trap 'echo caught; exit 9' INT TERM HUP USR1; echo ready; while :; do sleep 0.01; done`)
		j.reads("ready")
		j.signals <- sig
		j.reads("caught")
		j.wants(9, nil)
	}
}

// The whole group is told, so that what the command has started ends, too.
func TestSignalsReachTheGroup(t *testing.T) {
	j := run(t, newLease(long), time.Minute, `sh -c 'echo $$; exec sleep 1000'; echo never`)
	line, err := j.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	j.signals <- syscall.SIGTERM
	j.wants(128+15, nil)
	awaitGone(t, line)
}

// awaitGone waits for the end of a process.
func awaitGone(t *testing.T, line string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("process %d goes on", pid)
		}
	}
}

// alive is false for a process that has ended and was not waited for.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

func TestLossEndsTheCommand(t *testing.T) {
	l := newLease(long)
	j := run(t, l, someGrace, `trap 'echo told; exit 4' TERM; echo ready; while :; do sleep 0.01; done`)
	j.reads("ready")
	l.lose(errRevoked)
	j.reads("told")
	j.wants(4, errRevoked)
}

func TestLossKillsWhatIgnoresTERM(t *testing.T) {
	l := newLease(long)
	j := run(t, l, 200*time.Millisecond, `trap '' TERM; echo ready; while :; do sleep 0.01; done`)
	j.reads("ready")
	l.lose(errRevoked)
	j.wants(128+9, errRevoked)
}

// A command that ends at once leaves nothing behind that does not.
func TestLossKillsWhatTheCommandHasStarted(t *testing.T) {
	l := newLease(long)
	j := run(t, l, 200*time.Millisecond, `sh -c 'trap "" TERM; echo $$; while :; do sleep 0.01; done' & wait`)
	line, err := j.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	l.lose(errRevoked)
	j.wants(128+15, errRevoked)
	awaitGone(t, line)
}

// Where nothing is left there is nothing to wait for.
func TestLossWaitsForNobody(t *testing.T) {
	l := newLease(long)
	j := run(t, l, someGrace, `sh -c 'echo ready; exec sleep 1000'`)
	j.reads("ready")
	l.lose(errRevoked)
	j.wants(128+15, errRevoked)
}

func TestLossReachesWhatIsStopped(t *testing.T) {
	l := newLease(long)
	j := run(t, l, someGrace, `trap 'echo told; exit 4' TERM; echo $$; kill -STOP $$; while :; do sleep 0.01; done`)
	line, err := j.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	awaitStopped(t, strings.TrimSpace(line))
	l.lose(errRevoked)
	j.reads("told")
	j.wants(4, errRevoked)
}

func awaitStopped(t *testing.T, pid string) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		if err != nil {
			t.Skipf("no /proc to see states in: %v", err)
		}
		if strings.Contains(string(stat), ") T ") {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("process %s was not stopped: %s", pid, stat)
		}
	}
}

// What is not renewed is told the grace before the deadline, and killed by then.
func TestDeadlineEndsTheCommand(t *testing.T) {
	l := newLease(long)
	j := run(t, l, time.Minute, `trap 'echo told; while :; do sleep 0.01; done' TERM; echo $$; while :; do sleep 0.01; done`)
	line, err := j.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	l.renew(5 * time.Second)
	j.lookAgain(l, line)
	j.reads("told")
	if left := time.Until(l.Deadline()); left <= 0 {
		t.Errorf("it was told %v after the deadline", -left)
	}
	j.wants(128+9, child.ErrNotRenewed)
}

// lookAgain has the supervisor look at the deadline, which it does when the command
// was stopped.
func (j *job) lookAgain(l *lease, pid string) {
	j.Helper()
	number, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil {
		j.Fatal(err)
	}
	l.awaitAsked(j.T, 1)
	l.mu.Lock()
	before := l.asked
	l.mu.Unlock()
	if err := syscall.Kill(number, syscall.SIGSTOP); err != nil {
		j.Fatal(err)
	}
	l.awaitAsked(j.T, before+1)
	if err := syscall.Kill(number, syscall.SIGCONT); err != nil {
		j.Fatal(err)
	}
}

func TestGraceEndsWithTheDeadline(t *testing.T) {
	l := newLease(long)
	j := run(t, l, someGrace, `trap '' TERM; echo ready; while :; do sleep 0.01; done`)
	j.reads("ready")
	l.renew(200 * time.Millisecond)
	l.lose(errRevoked)
	if exit := j.end(); exit.Code != 128+9 || exit.Lost == nil { // for one reason or the other
		t.Errorf("ended with %d, lost %v", exit.Code, exit.Lost)
	}
}

func TestRenewedLeaseLetsItRun(t *testing.T) {
	l := newLease(time.Minute)
	l.renews = true
	j := run(t, l, time.Minute, `trap 'echo told' TERM; read line; echo done`)
	l.awaitAsked(t, 2) // at the start, and when it was near
	if err := j.in.Close(); err != nil {
		t.Fatal(err)
	}
	j.reads("done")
	j.wants(0, nil)
}

func TestWhatCannotBeStarted(t *testing.T) {
	_, err := child.Run(child.Command{Path: filepath.Join(t.TempDir(), "none")}, newLease(long), nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := child.Find(plain); !errors.Is(err, child.ErrNotExecutable) {
		t.Errorf("a file that is no program: %v", err)
	}
	if _, err := child.Find(dir); !errors.Is(err, child.ErrNotExecutable) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := child.Find(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	t.Chdir(dir)
	t.Setenv("PATH", "."+string(os.PathListSeparator)+os.Getenv("PATH"))
	if err := os.Chmod(plain, 0o700); err != nil {
		t.Fatal(err)
	}
	if path, err := child.Find("plain"); err != nil {
		t.Errorf("where PATH says to look here: %q, %v", path, err)
	}
	if path, err := child.Find("sh"); err != nil || !filepath.IsAbs(path) {
		t.Errorf("sh: %q, %v", path, err)
	}
}
