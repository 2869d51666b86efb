//go:build !unix

package main

import (
	"errors"
	"os"
	"os/exec"
)

var errNoPause = errors.New("this system cannot pause a process: run the demo with -pause=false")

func ownGroup(*exec.Cmd) {}

func pauseProcess(*os.Process) error  { return errNoPause }
func resumeProcess(*os.Process) error { return errNoPause }
