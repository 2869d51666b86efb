//go:build !unix

package testserver

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

var errUnsupported = errors.New("servers are started on Unix only: name one in " + DSNVariable)

func detach(*exec.Cmd, syscall.Signal) {}

func signalProcess(int, syscall.Signal) error { return errUnsupported }

func signalGroup(int, syscall.Signal) error { return errUnsupported }

func tryLock(*os.File) (bool, error) { return false, errUnsupported }
