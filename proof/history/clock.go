package history

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Now is the machine's monotonic clock, in nanoseconds.
func Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(fmt.Sprintf("history: no monotonic clock: %v", err)) // a kernel without it is not one that Go runs on
	}
	return t.Nano()
}
