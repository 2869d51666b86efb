package lockdb

// The states of a row of helix_locks, in its column status.
const (
	// StatusInactive is a key that nobody holds: released, or locked only for the
	// length of a transaction.
	StatusInactive = 0
	// StatusActive is a key under a lease, which others may take over once
	// expires_at has passed on the server's clock.
	StatusActive = 1
	// StatusDeletable is a retired key, whose row may be purged.
	StatusDeletable = 2
)
