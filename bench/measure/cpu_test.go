package measure

import (
	"os"
	"testing"
	"time"
)

func TestCPU(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for began := time.Now(); time.Since(began) < 20*time.Millisecond; {
		n++
	}
	after, err := cpuOf(os.Getpid())
	if err != nil || after <= before || n == 0 {
		t.Errorf("%v after %v: %v", after, before, err)
	}
	for _, pid := range []int{0, -1, 1 << 22} { // the last is above the most that the kernel gives
		if _, err := cpuOf(pid); err == nil {
			t.Errorf("process %d has a clock", pid)
		}
	}
}
