package lockdb

import (
	"slices"
	"strings"
)

// HotStatements names the statements that lock traffic sends all the time, and
// that are worth preparing; the others are sent now and then, and may need
// privileges that not every program has.
func HotStatements() []string {
	return []string{
		"LockKey", "LockKeyNoWait", "ShareKey", "EnsureKey", "AcquireLease", "AcquireKnownLease", "AcquireLeaseNoWait",
		"RenewLease", "VerifyLease", "ReleaseLease", "RenewLeases", "ListKeys",
	}
}

// IsHot reports whether a statement of this package, given as its text, is one of
// [HotStatements].
func IsHot(query string) bool {
	// sqlc's leading comment is "-- name: X :cmd".
	name, _, _ := strings.Cut(strings.TrimPrefix(query, "-- name: "), " ")
	return slices.Contains(HotStatements(), name)
}
