//go:build unix

package child

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is the one that controls us, if any. A command in a group of its own is
// in the background, where the terminal stops it if it reads: then we let it have
// the terminal, as a shell its foreground job.
type terminal struct {
	file  *os.File // nil without one
	given bool
}

func openTerminal() *terminal {
	file, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return &terminal{} // nothing controls us, or we cannot have it
	}
	return &terminal{file: file}
}

func (t *terminal) ours() bool { return t.file != nil }

// give lets a group have the terminal, and reports false if we do not have it.
func (t *terminal) give(pgid int) bool {
	if t.foreground() != unix.Getpgrp() {
		return false
	}
	t.given = t.set(pgid)
	return t.given
}

// takeBack gets the terminal back, and reports false if the command did not have
// it.
func (t *terminal) takeBack() bool {
	if !t.given {
		return false
	}
	t.given = false
	signal.Ignore(syscall.SIGTTOU) // which would stop us, as we are in the background
	defer signal.Reset(syscall.SIGTTOU)
	return t.set(unix.Getpgrp())
}

// close leaves the terminal to our own group.
func (t *terminal) close() {
	t.takeBack()
	if t.file != nil {
		_ = t.file.Close() // nothing was written to it
	}
}

// orphaned is true where nobody would let us go on if we stopped: in the group of
// the leader of the session, as with ssh -t or docker run -t, which a terminal does
// not stop either.
func orphaned() bool {
	session, err := unix.Getsid(0)
	return err == nil && session == unix.Getpgrp()
}

// foreground is the group that has the terminal, or -1.
func (t *terminal) foreground() (pgid int) {
	pgid = -1
	t.control(func(fd int) error {
		has, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		if err == nil {
			pgid = has
		}
		return err
	})
	return pgid
}

func (t *terminal) set(pgid int) bool {
	return t.control(func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, pgid) })
}

func (t *terminal) control(do func(fd int) error) bool {
	if t.file == nil {
		return false
	}
	conn, err := t.file.SyscallConn()
	if err != nil {
		return false
	}
	err2 := error(nil)
	err = conn.Control(func(fd uintptr) { err2 = do(int(fd)) })
	return err == nil && err2 == nil
}
