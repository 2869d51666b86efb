// Package load is a worker process of a proof run: its clients use the public API
// of gox-helix as programs do, on keys that all of them want, and write
// down what they saw.
package load

import (
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
)

// Config says what a worker does. It comes by pipe.
type Config struct {
	Worker  int // number of this process, and of no other of the run
	Owner   string
	DSN     string
	History string // the file to write
	Seed    uint64
	Start   int64 // of the run, by [history.Now]

	Clients     int
	Keys        int           // how many there are at a time
	Generation  time.Duration // for so long; then others are
	TTL         time.Duration // the shortest; the longest is twice as long
	Patience    time.Duration // for one operation
	Connections int           // of the pool at most; zero: any number
	MultiWriter bool
	Prepare     bool
	Mix         Mix
	Clock       Clock
}

// Mix is what clients do more often than usual.
type Mix string

// The mixes.
const (
	Usual     Mix = ""
	Rollbacks Mix = "rollbacks" // half of the clients' own transactions are rolled back
	Deadlocks Mix = "deadlocks" // transactions lock two keys, in either order
	Bumps     Mix = "bumps"     // most of what is written under a lease is not fenced
)

// Order is what a worker is told while it runs.
type Order struct {
	Clock *Clock `json:",omitempty"`
	Stop  bool   `json:",omitempty"`
}

// Report is what a worker tells: first that it begins, then how far it is.
type Report struct {
	Worker       int
	Acknowledged int64
}

// IDs are distinct in a run: those of a worker begin with its number.
const idsOfWorker = 1_000_000_000

// keyOf is the n-th key at a time of the run. Odd ones see everything; on even ones
// nobody takes a lease from its holder on purpose (revoke, reclaim).
func (c *Config) keyOf(n int) string {
	generation := (history.Now() - c.Start) / int64(c.Generation)
	kind := "peaceful"
	if n%2 == 1 {
		kind = "contested"
	}
	return kind + "/" + digits(n) + "/" + digits(int(generation))
}
