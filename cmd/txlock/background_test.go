package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// background are the commands that a script has started, by name.
type background struct{ jobs map[string]*exec.Cmd }

type backgroundKey struct{}

func jobs(ts *testscript.TestScript) *background {
	b, ok := ts.Value(backgroundKey{}).(*background)
	if !ok {
		ts.Fatalf("no background")
	}
	return b
}

// start NAME CMD [ARG...] starts a command, whose output goes to the files NAME.out
// and NAME.err.
func start(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME CMD [ARG...]")
	}
	name := args[0]
	path, err := lookPath(ts, args[1])
	ts.Check(err)
	out, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	defer func() { ts.Check(out.Close()) }()
	stderr, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	defer func() { ts.Check(stderr.Close()) }()
	cmd := &exec.Cmd{Path: path, Args: args[1:], Env: environ(ts), Dir: ts.MkAbs("."), Stdout: out, Stderr: stderr}
	ts.Check(cmd.Start())
	jobs(ts).jobs[name] = cmd
}

// environ is what of the script's environment commands need.
func environ(ts *testscript.TestScript) []string {
	env := []string{}
	for _, name := range []string{"PATH", "HOME", "USER", "TERM", "WORK", "TXLOCK_DSN", "DATABASE", "ADDR", "GORACE", "NO_COLOR"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

func lookPath(ts *testscript.TestScript, name string) (string, error) {
	if strings.Contains(name, "/") {
		return ts.MkAbs(name), nil
	}
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), ":") {
		if path, err := exec.LookPath(dir + "/" + name); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// ends NAME N waits for the end of a command, with that exit status.
func ends(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: ends NAME N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	cmd := jobs(ts).jobs[args[0]]
	if cmd == nil {
		ts.Fatalf("%s was not started", args[0])
	}
	delete(jobs(ts).jobs, args[0])
	tooLate := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer tooLate.Stop()
	if got := exitStatus(ts, cmd.Wait()); got != want {
		ts.Logf("stdout: %s", ts.ReadFile(args[0]+".out"))
		ts.Logf("stderr: %s", ts.ReadFile(args[0]+".err"))
		ts.Fatalf("%s ended with exit status %d, want %d", args[0], got, want)
	}
}

// signal NAME SIGNAL sends a signal to a command, and to nothing that it has
// started.
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "QUIT": syscall.SIGQUIT, "HUP": syscall.SIGHUP, "TSTP": syscall.SIGTSTP}
	if len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME SIGNAL")
	}
	cmd := jobs(ts).jobs[args[0]]
	if cmd == nil {
		ts.Fatalf("%s was not started", args[0])
	}
	ts.Check(cmd.Process.Signal(signals[args[1]]))
}

// end ends what a script that has failed left behind.
func (b *background) end() {
	var wg sync.WaitGroup
	for _, cmd := range b.jobs {
		wg.Go(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			tooLate := time.AfterFunc(patience/6, func() { _ = cmd.Process.Kill() })
			defer tooLate.Stop()
			_ = cmd.Wait()
		})
	}
	wg.Wait()
}

// exitStatus is that of a command that was run.
func exitStatus(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		ts.Fatalf("%v", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}
