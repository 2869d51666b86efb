package measure

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf is the processor time that a process has used, of all its threads.
func cpuOf(pid int) (time.Duration, error) {
	if pid <= 0 {
		return 0, errors.New("measure: the processor time of a server whose process is not on this machine is unknown: let the bench start its own")
	}
	// The kernel's number for the clock of another process: clock_getcpuclockid(3).
	const allThreads = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|allThreads, &t); err != nil {
		return 0, fmt.Errorf("the processor time of process %d: %w", pid, os.NewSyscallError("clock_gettime", err))
	}
	return time.Duration(t.Nano()), nil
}
