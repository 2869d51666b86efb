package model

import (
	"fmt"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
)

// state is what one key may be like between two operations.
type state struct {
	epoch int64
	// loose says that epoch is a lower bound only: there was no row yet, or it may
	// have been purged, and a fresh one starts above the floor of its shard, which
	// other keys raise as well.
	loose  bool
	status int8  // as in the table, or absent
	lease  int64 // the ID of the operation that acquired it, where status is active
	owner  string

	// The lease cannot be over, by expiry, for an operation that returned before
	// notBefore, and cannot stand for one that was called after notAfter.
	notBefore, notAfter int64
}

const (
	absent   = -1
	active   = int8(lockdb.StatusActive)
	inactive = int8(lockdb.StatusInactive)
	retired  = int8(lockdb.StatusDeletable)
)

func (s state) holds(lease int64) bool { return s.status == active && s.lease == lease }

func (s state) String() string {
	about := "epoch "
	if s.loose {
		about = "epoch at least "
	}
	about += fmt.Sprint(s.epoch)
	switch s.status {
	case absent:
		return about + ", no row"
	case active:
		return fmt.Sprintf("%s, held by %s under lease %d, until after %s", about, s.owner, s.lease, time.Duration(s.notBefore))
	case retired:
		return about + ", retired"
	}
	return about + ", free"
}
