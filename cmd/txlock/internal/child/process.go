//go:build unix

package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is the leader of a process group.
type process struct {
	pid     int
	stopped chan syscall.Signal // by which signal it was stopped
	exited  chan struct{}       // closed when it has been waited for
	code    int
}

// start starts a command in a group of its own. One thread starts it and waits for
// it: the system that kills it when we die does so when that thread ends.
func start(c Command) (*process, error) {
	cmd := &exec.Cmd{
		Path: c.Path, Args: c.Args, Env: c.Env,
		Stdin: c.Files[0], Stdout: c.Files[1], Stderr: c.Files[2],
		SysProcAttr: attributes(),
	}
	p := &process{stopped: make(chan syscall.Signal, 1), exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
			err = cmd.Process.Release() // wait asks for more than it can tell
		}
		started <- err
		if err == nil {
			p.wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", c.Path, err)
	}
	return p, nil
}

// unknownCode is for a command of which the system does not say how it ended.
const unknownCode = 125

func (p *process) wait() {
	whom := p.pid
	if os.Getpid() == 1 { // of a container: then every orphan in it is left to us
		whom = -1
	}
	for ended := false; ; {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(whom, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil && !ended:
			p.code = unknownCode
		case err != nil:
			return
		case pid != p.pid:
			continue
		case status.Stopped():
			select {
			case p.stopped <- status.StopSignal():
			default: // one is enough
			}
			continue
		case status.Signaled():
			p.code = 128 + int(status.Signal())
		default:
			p.code = status.ExitStatus()
		}
		close(p.exited)
		if err != nil || whom == p.pid {
			return
		}
		ended = true
	}
}

// probe is sent to nobody.
const probe = syscall.Signal(0)

// signal sends to the whole group. It reports false where there is nobody left.
func (p *process) signal(sig syscall.Signal) bool {
	return !errors.Is(syscall.Kill(-p.pid, sig), syscall.ESRCH)
}
