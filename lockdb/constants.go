package lockdb

// The states of a row of helix_locks, in its column status.
const (
	// StatusInactive is a key that nobody holds: released, revoked or never leased.
	StatusInactive = 0
	// StatusActive is a key under a lease, which others may take over once
	// expires_at has passed on the server's clock.
	StatusActive = 1
	// StatusDeletable is a retired key, whose row may be purged.
	StatusDeletable = 2
)

// LongPast is the TTL, in microseconds, of an acquisition that leaves no lease behind: it
// "expires" fifty years ago.
const LongPast = -50 * 365 * 24 * 3600 * 1_000_000
