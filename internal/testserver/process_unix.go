//go:build unix

package testserver

import (
	"errors"
	"os"
	"syscall"
)

func signalProcess(pid int, sig syscall.Signal) error { return syscall.Kill(pid, sig) }

func signalGroup(pid int, sig syscall.Signal) error { return syscall.Kill(-pid, sig) }

// tryLock takes the lock on a file, which closing the file gives back.
func tryLock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
