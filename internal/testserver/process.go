package testserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Process is a process that we started and wait for.
type Process struct {
	pid  int
	done chan struct{} // closed when it has ended entirely
	err  error         // how; read after done
}

// StartProcess starts cmd, which is sent the signal orphaned when we end,
// however we end (on Linux; elsewhere it may live on). It gets a process group
// of its own, as Ctrl-C at the terminal is for us to act on.
func StartProcess(cmd *exec.Cmd, orphaned syscall.Signal) (*Process, error) {
	detach(cmd, orphaned)
	p := &Process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the thread that started the process
		// ends: it must not, before the process does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Pid is the process's number.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the process has ended entirely.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process has ended, after [Process.Done].
func (p *Process) Err() error { return p.err }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop asks, waits, and in the end does not ask.
func (p *Process) Stop(patience time.Duration) error {
	if p.Ended() {
		return nil
	}
	// It may end meanwhile, so the error says nothing.
	_ = signalProcess(p.pid, syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	p.Kill()
	return fmt.Errorf("pid %d did not end within %s of SIGTERM and was killed", p.pid, patience)
}

// Kill ends the process's group with SIGKILL, and returns when the process has ended.
func (p *Process) Kill() {
	if !p.Ended() {
		_ = signalGroup(p.pid, syscall.SIGKILL)
		<-p.done
	}
}

// runProcess runs cmd to its end, or to that of ctx.
func runProcess(ctx context.Context, cmd *exec.Cmd) error {
	p, err := StartProcess(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.Kill()
		return context.Cause(ctx)
	}
}

// lockFile waits for the lock on a file, which it makes.
func lockFile(ctx context.Context, name string, waiting func()) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		ok, err := tryLock(file)
		if ok {
			return func() { _ = file.Close() }, nil
		}
		if err != nil {
			_ = file.Close()
			return nil, err
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// freePort is a port that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("testserver: no free port: %w", err)
	}
	address, err := netip.ParseAddrPort(l.Addr().String())
	return int(address.Port()), errors.Join(err, l.Close())
}

// lastLines are the last n lines of a text.
func lastLines(text []byte, n int) string {
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
