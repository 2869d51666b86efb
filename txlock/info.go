package txlock

import (
	"fmt"
	"math"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
)

// Info is what the database says of a key, as committed when it was read. Times
// are counted on the server's clock, from the moment of the reading: compare them
// with each other, not with this machine's clock.
type Info struct {
	Key    string
	Owner  string // of the last acquisition; empty for a key that never had one
	Epoch  int64
	Status Status
	// Remaining is what an active lease still has; zero or less once it has expired. Zero
	// if it is not active.
	Remaining time.Duration
	// SinceAcquired is the time since the last acquisition, SinceCreated since the
	// key's row was made, SinceUpdated since its last change: an acquisition,
	// renewal, release, revocation or retirement, or a fence that writes.
	SinceAcquired time.Duration
	SinceCreated  time.Duration
	SinceUpdated  time.Duration
}

// Held reports whether the key was held: under a lease that was active and had not
// expired. A lock of an open transaction ([Locker.LockTx]) does not show.
func (i *Info) Held() bool { return i.Status == StatusActive && i.Remaining > 0 }

// Status is the state of a key's row.
type Status int8

const (
	// StatusInactive is a key that nobody holds: released or revoked, or locked only
	// for the length of a transaction.
	StatusInactive Status = lockdb.StatusInactive
	// StatusActive is a key under a lease, which others may take over once it has
	// expired.
	StatusActive Status = lockdb.StatusActive
	// StatusDeletable is a retired key, which a purge deletes; acquiring it makes it
	// active again.
	StatusDeletable Status = lockdb.StatusDeletable
)

// String returns "active", "inactive" or "deletable".
func (s Status) String() string {
	switch s {
	case StatusInactive:
		return "inactive"
	case StatusActive:
		return "active"
	case StatusDeletable:
		return "deletable"
	}
	return fmt.Sprintf("Status(%d)", int8(s))
}

func newInfo(row lockdb.ListKeysRow) Info {
	info := Info{
		Key:           string(row.LockKey),
		Owner:         string(row.OwnerID),
		Epoch:         row.Epoch,
		Status:        Status(row.Status),
		SinceAcquired: micros(row.AcquiredMicrosAgo),
		SinceCreated:  micros(row.CreatedMicrosAgo),
		SinceUpdated:  micros(row.UpdatedMicrosAgo),
	}
	if info.Status == StatusActive {
		info.Remaining = micros(row.RemainingMicros)
	}
	return info
}

// micros is a time in microseconds, or the longest there is.
func micros(n int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Microsecond)
	return time.Duration(max(-most, min(n, most))) * time.Microsecond
}
