// Package history is what clients saw: operations with the time of their call and
// of their return, as they write them down while they run, each in a file of its
// process that survives a SIGKILL of it.
package history

import "math"

// Kind is what an operation did.
type Kind string

// The operations. Each is about one key; one transaction on several keys is written
// down as an operation on each.
const (
	Acquire   Kind = "acquire"   // in a transaction of the library
	AcquireTx Kind = "acquireTx" // in a transaction of the client, with a row that says so
	Turn      Kind = "turn"      // acquired, worked and released in one transaction, with a row that says so
	Lock      Kind = "lock"      // for one transaction, with a row that says so; its epoch is the one that it found
	EpochLock Kind = "epochLock" // the same with an epoch of its own
	Share     Kind = "share"     // a shared lock for one transaction, with a row that says so
	Renew     Kind = "renew"
	Fence     Kind = "fence" // a transaction that verified the lease, with a row that says so
	Release   Kind = "release"
	ReleaseTx Kind = "releaseTx" // in a transaction of the client, with a row that says so
	Trust     Kind = "trust"     // looked at the local deadline, and found that it had not passed
	Bump      Kind = "bump"      // wrote under the lease and without a fence
	Siege     Kind = "siege"     // kept a lease whose own fences had its row locked all the time; Lost if that ended it
	Revoke    Kind = "revoke"
	Retire    Kind = "retire"
	Purge     Kind = "purge" // about no key
	Inspect   Kind = "inspect"
)

// HasRow reports whether the operation writes a business row in its transaction.
func (k Kind) HasRow() bool {
	return k == AcquireTx || k == Turn || k == Lock || k == EpochLock || k == Share || k == Fence || k == ReleaseTx
}

// Counts reports whether the operation adds one to the fenced counter.
func (k Kind) Counts() bool { return k.HasRow() && k != AcquireTx && k != Share }

// Changes reports whether the operation changes something about its key.
func (k Kind) Changes() bool {
	return k != Fence && k != Trust && k != Bump && k != Siege && k != Purge && k != Inspect
}

// Outcome is what came of an operation.
type Outcome string

// The outcomes. All but OK and Unknown say that nothing was changed.
const (
	OK         Outcome = "ok"
	Held       Outcome = "held"
	Lost       Outcome = "lost"
	NotFound   Outcome = "not found"
	Busy       Outcome = "busy"
	Aborted    Outcome = "aborted"
	RolledBack Outcome = "rolled back" // by the client, on purpose
	Ended      Outcome = "ended"       // its context did
	Failed     Outcome = "failed"      // another error
	Unknown    Outcome = "unknown"     // it may have happened
)

// Pending is the time of return of an operation that never returned.
const Pending = math.MaxInt64

// Op is one operation of one client. Times are nanoseconds of the machine's
// monotonic clock, which all its processes share.
type Op struct {
	ID     int64  `json:"id"` // of this run, unique
	Worker int    `json:"worker"`
	Client int    `json:"client"` // of this run, unique
	Key    string `json:"key,omitempty"`
	Kind   Kind   `json:"kind"`
	Owner  string `json:"owner,omitempty"`
	Lease  int64  `json:"lease,omitempty"` // the ID of the operation that acquired the lease it is about
	TTL    int64  `json:"ttl,omitempty"`   // nanoseconds
	// Kept says that the lease is renewed in the background, by heartbeats that are
	// no operations here.
	Kept    bool `json:"kept,omitempty"`
	Reclaim bool `json:"reclaim,omitempty"`

	Call    int64   `json:"call"`
	Return  int64   `json:"return,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	Epoch   int64   `json:"epoch,omitempty"` // that it got, or would have got if it happened; of Inspect, read
	Status  int8    `json:"status,omitempty"`
	Error   string  `json:"error,omitempty"`
}
