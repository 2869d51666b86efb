package child

import "syscall"

// attributes let the command lead a group of its own, and die if we do without
// having been able to end it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
