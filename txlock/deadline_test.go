package txlock

import (
	"testing"
	"time"
)

// Renewals may overtake each other: the answer to an older one does not take back
// what a newer one has gained.
func TestDeadlineNeverGoesBack(t *testing.T) {
	le := &Lease{ttl: 10 * time.Second}
	now := time.Now()
	le.extend(now.Add(time.Second))
	le.extend(now)
	if d := le.Deadline(); !d.Equal(now.Add(time.Second + 9*time.Second)) {
		t.Errorf("%v after the older renewal", d.Sub(now))
	}
}
