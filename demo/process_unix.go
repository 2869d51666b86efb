//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup puts a worker into a process group of its own. A Ctrl-C at the
// terminal then reaches the coordinator alone, which ends the run in order. And
// when the coordinator is killed while a worker is paused, the system itself
// wakes the worker (a group that is orphaned while a member is stopped is sent
// SIGHUP and SIGCONT), so that none is left behind asleep.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func pauseProcess(p *os.Process) error  { return p.Signal(syscall.SIGSTOP) }
func resumeProcess(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
