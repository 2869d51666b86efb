package fuzz_test

import (
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// row is the row of a key, as the model has it.
type row struct {
	owner   string
	epoch   int64
	status  txlock.Status
	lease   int // which handle's; 0 for nobody's
	ttl     time.Duration
	expired bool // an hour ago
}

// The rules, in words of their own.

// held: a lease is active, and not over by its expiry.
func (r row) held() bool { return r.status == txlock.StatusActive && !r.expired }

// refuses: it is held, and not by who takes its own back.
func (r row) refuses(owner string, reclaim bool) bool {
	return r.held() && (!reclaim || r.owner != owner)
}

// stands: the handle is of the newest lease, which was not released. Its expiry does
// not matter.
func (r row) stands(h *handle) bool { return r.lease == h.number }

// world is what is committed.
type world struct {
	rows   map[string]row
	floors map[uint32]int64
	ledger int64
}

func shard(key string) uint32 { return crc32.ChecksumIEEE([]byte(key)) % 256 }

func (w *world) floor(key string) int64 { return w.floors[shard(key)] }

// fresh is the row of a key that never was, before its first acquisition.
func (w *world) fresh(key string) row { return row{epoch: w.floor(key)} }

// certainty says whether a row is locked by an open transaction. What is not certain
// is not touched by others.
type certainty int

const (
	unlocked certainty = iota
	perhaps
	locked
)

// view is an open transaction: what it has written, and what it keeps others from.
type view struct {
	world      *world
	rows       map[string]row // that it has written
	ledger     int64          // what it adds
	locks      map[string]certainty
	gaps       bool // it may keep others from inserting
	savepoints []savepoint
	repeatable bool // in REPEATABLE READ, where locks are on gaps, too
}

// savepoint is what a transaction goes back to.
type savepoint struct {
	rows   map[string]row
	ledger int64
	locks  map[string]certainty
}

func newView(w *world) *view {
	return &view{world: w, rows: make(map[string]row), locks: make(map[string]certainty)}
}

// row is what a locking statement of the transaction sees.
func (v *view) row(key string) (row, bool) {
	if r, ok := v.rows[key]; ok {
		return r, true
	}
	r, ok := v.world.rows[key]
	return r, ok
}

func (v *view) lock(key string, c certainty) { v.locks[key] = max(v.locks[key], c) }

func (v *view) write(key string, r row) {
	if _, there := v.row(key); !there && v.repeatable {
		v.gaps = true // where a deleted row had been, that is still to be seen to
	}
	v.rows[key] = r
	v.lock(key, locked)
}

func (v *view) save() {
	v.savepoints = append(v.savepoints, savepoint{maps.Clone(v.rows), v.ledger, maps.Clone(v.locks)})
}

// rollbackTo undoes what came after a savepoint. Locks may stay, and where a row was
// inserted, that on its gap.
func (v *view) rollbackTo(i int) {
	s := v.savepoints[i]
	v.savepoints = v.savepoints[:i+1]
	v.rows, v.ledger, v.gaps = maps.Clone(s.rows), s.ledger, true
	for key := range v.locks {
		if s.locks[key] < locked {
			v.locks[key] = perhaps
		}
	}
}

// commit makes it the world's.
func (v *view) commit() {
	maps.Copy(v.world.rows, v.rows)
	v.world.ledger += v.ledger
}

// handle is a lease that was granted, be it in a transaction that was rolled back.
type handle struct {
	number int
	lease  *txlock.Lease
	actor  *actor
	key    string
}

// actor is a Locker, and what the model knows of its memory of keys: one that it has
// seen there it does not make before it asks for it without waiting.
type actor struct {
	*txlock.Locker
	name  string
	multi bool
	known map[string]bool
}

// remember follows that memory: an acquisition was sent, for a row that was there or
// not, in the view of its transaction. It remembers a key that it found free.
func (a *actor) remember(key string, r row, there bool) {
	switch {
	case !there:
		delete(a.known, key)
	case !r.held():
		a.known[key] = true
	}
}

// rememberLock does so for a lock that writes nothing: a key that was under a lease or
// retired is not remembered.
func (a *actor) rememberLock(key string, r row, there bool) {
	if !there || r.status == txlock.StatusInactive {
		a.remember(key, r, there)
	}
}

// heldBy are the keys that refuse an acquisition of many, and may be named as the one
// whose lease has the longest time left.
func heldBy(v *view, keys []string, owner string, reclaim bool) (named []string) {
	var longest time.Duration
	for _, key := range keys {
		r, there := v.row(key)
		if !there || !r.refuses(owner, reclaim) {
			continue
		}
		if r.ttl > longest {
			named, longest = nil, r.ttl
		}
		if r.ttl == longest {
			named = append(named, key)
		}
	}
	return slices.Clip(named)
}
