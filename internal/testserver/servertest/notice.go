package servertest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Announce prints a notice of skipped tests so that it is seen. For a list
// of packages, go hides what a test binary that passes prints, and the skips
// would look like tests that ran.
func Announce(notice string) {
	fmt.Println(notice)
	if flag.Parsed() && testing.Verbose() {
		return // go shows our output
	}
	parent := filepath.Join("/proc", strconv.Itoa(os.Getppid()))
	if comm, err := os.ReadFile(filepath.Join(parent, "comm")); err != nil || strings.TrimSpace(string(comm)) != "go" {
		return // not Linux, or not run by go test
	}
	if sameFile("/proc/self/fd/1", filepath.Join(parent, "fd/1")) {
		return // for the package in the working directory, go passes our output on
	}
	// Appending, as it may be a file that go has written to.
	stderr, err := os.OpenFile(filepath.Join(parent, "fd/2"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return
	}
	_, _ = fmt.Fprintln(stderr, notice)
	_ = stderr.Close()
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// forbidCaching removes the log of what the tests have read, without which go
// does not cache their pass: which server there was, and what it is, go does not
// know, and skips would go on after one has been installed.
func forbidCaching() {
	if log := flag.Lookup("test.testlogfile"); log != nil && log.Value.String() != "" {
		_ = os.Remove(log.Value.String())
	}
}
