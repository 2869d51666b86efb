package main

import (
	"bytes"
	"errors"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// onTerminal N AFTER KEYS CMD [ARG...] runs a command on a terminal of its own, 80
// columns wide and 10 rows high, types KEYS once it has written AFTER, and expects
// the exit status N. Without KEYS nothing is typed. What the terminal has shown is
// its standard output.
func onTerminal(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 4 {
		ts.Fatalf("usage: terminal N AFTER KEYS CMD [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	keys, err := strconv.Unquote(`"` + args[2] + `"`)
	ts.Check(err)
	path, err := lookPath(ts, args[3])
	ts.Check(err)
	cmd := &exec.Cmd{Path: path, Args: args[3:], Env: environ(ts), Dir: ts.MkAbs(".")}
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 80, Rows: 10})
	ts.Check(err)
	defer func() { _ = tty.Close() }()
	tooLate := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer tooLate.Stop()
	var shown []byte
	buffer := make([]byte, 4096)
	for typed := keys == ""; ; {
		n, err := tty.Read(buffer)
		shown = append(shown, buffer[:n]...)
		if !typed && bytes.Contains(shown, []byte(args[1])) {
			_, err := tty.WriteString(keys)
			ts.Check(err)
			typed = true
		}
		if errors.Is(err, syscall.EIO) { // nobody has the terminal open any more
			break
		}
		ts.Check(err)
	}
	_, err = ts.Stdout().Write(bytes.ReplaceAll(shown, []byte("\r\n"), []byte("\n")))
	ts.Check(err)
	if got := exitStatus(ts, cmd.Wait()); got != want {
		ts.Fatalf("exit status %d, want %d; the terminal shows:\n%s", got, want, shown)
	}
}
