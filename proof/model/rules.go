package model

import (
	"math"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
)

// Rules say what a run allows to be judged.
type Rules struct {
	// Clock: the server's clock ran as this machine's does, so that a lease must not
	// be taken over before its TTL is over, must be free after it, and must not be
	// trusted by a holder that has lost it.
	Clock bool
	// Fresh: operations see every transaction that was committed before them, as they do
	// on one server. On another node of a cluster a read may be old, and so may be a
	// refusal, which is decided before anything is certified.
	Fresh bool
	// IdlePurged: keys that are merely free may have been purged, too.
	IdlePurged bool
}

// slack is for what a server's clock and ours may differ by within one TTL.
func slack(ttl int64) int64 { return int64(10*time.Millisecond) + ttl/50 }

// step returns the states that the key may be in after the operation, none if
// it cannot have had this outcome in state s.
func (r Rules) step(s state, op *history.Op) []state {
	switch op.Outcome {
	case history.OK:
		next, ok := r.happened(s, op)
		switch {
		case !ok:
			return nil
		case next != s && r.mayBeMissing(s) && (op.Kind == history.Revoke || op.Kind == history.Retire):
			return []state{s, next} // without a row there was nothing to do
		}
		return []state{next}
	case history.Unknown:
		if next, ok := r.happened(s, op); ok && next != s {
			return []state{s, next}
		}
		return []state{s}
	case history.Held:
		if s.status == active && r.mayStand(s, op) && (!op.Reclaim || s.owner != op.Owner) {
			return []state{s}
		}
	case history.Lost:
		if !s.holds(op.Lease) {
			return []state{s}
		}
	case history.NotFound:
		if r.mayBeMissing(s) {
			return []state{s}
		}
	case history.Busy, history.Aborted, history.RolledBack, history.Ended, history.Failed: // say nothing
		return []state{s}
	}
	return nil
}

// happened is the state after an operation that took effect, if it can have.
func (r Rules) happened(s state, op *history.Op) (state, bool) {
	switch op.Kind {
	case history.Acquire, history.AcquireTx:
		if !r.mayBeFree(s, op) || !epochFits(s, op) {
			return s, false
		}
		s = raised(s, op)
		s.status, s.lease, s.owner = active, op.ID, op.Owner
		s.notBefore = op.Call + op.TTL - slack(op.TTL)
		s.notAfter = math.MaxInt64
		if !op.Kept && op.Return != history.Pending {
			s.notAfter = op.Return + op.TTL + slack(op.TTL)
		}
		return s, true
	case history.Turn, history.EpochLock:
		if !r.mayBeFree(s, op) || !epochFits(s, op) {
			return s, false
		}
		return freed(raised(s, op)), true
	case history.Lock, history.Share:
		return r.locked(s, op)
	case history.Renew:
		if !s.holds(op.Lease) {
			return s, false
		}
		if op.Outcome == history.Unknown || s.notAfter == math.MaxInt64 {
			s.notAfter = math.MaxInt64
		} else {
			s.notAfter = max(s.notAfter, op.Return+op.TTL+slack(op.TTL))
		}
		if op.Outcome == history.OK {
			s.notBefore = max(s.notBefore, op.Call+op.TTL-slack(op.TTL))
		}
		return s, true
	case history.Fence, history.Trust:
		return s, s.holds(op.Lease)
	case history.Release, history.ReleaseTx:
		return freed(s), s.holds(op.Lease)
	case history.Revoke:
		s.epoch++
		return freed(s), true
	case history.Retire:
		if s.status == active && !r.mayBeOver(s, op) {
			return s, false
		}
		s = freed(s)
		s.status, s.loose = retired, true
		return s, true
	case history.Inspect:
		return s, r.reads(s, op)
	case history.Bump, history.Siege, history.Purge: // say nothing
		return s, true
	}
	return s, false
}

// locked is the state after a lock without an epoch of its own. It takes over a lease
// that has expired, so that its holder is fenced, and else changes nothing: it has the
// epoch that it found.
func (r Rules) locked(s state, op *history.Op) (state, bool) {
	switch {
	case !r.mayBeFree(s, op):
		return s, false
	case s.status == active:
		return freed(raised(s, op)), epochFits(s, op)
	case op.Epoch != 0 && (op.Epoch < s.epoch || op.Epoch > s.epoch && !s.loose):
		return s, false
	}
	if s.status == absent {
		s.status = inactive
	}
	if op.Epoch != 0 {
		s.epoch, s.loose = op.Epoch, s.status == retired
	}
	return s, true
}

// mayBeMissing reports whether there may be no row.
func (r Rules) mayBeMissing(s state) bool {
	return s.status == absent || s.status == retired || s.status == inactive && r.IdlePurged
}

// mayBeFree reports whether an acquisition may have been granted.
func (r Rules) mayBeFree(s state, op *history.Op) bool {
	return s.status != active || r.mayBeOver(s, op) || op.Reclaim && s.owner == op.Owner
}

// mayBeOver reports whether the lease may have expired when the operation was done.
func (r Rules) mayBeOver(s state, op *history.Op) bool {
	return !r.Clock || op.Return >= s.notBefore
}

// mayStand reports whether the lease may not have expired by then.
func (r Rules) mayStand(s state, op *history.Op) bool {
	return !r.Clock || op.Call <= s.notAfter
}

// epochFits reports whether the operation may have got its epoch: the next one, or
// where a purge may have come between any higher one.
func epochFits(s state, op *history.Op) bool {
	switch {
	case op.Epoch == 0: // not known
		return true
	case s.loose:
		return op.Epoch > s.epoch
	default:
		return op.Epoch == s.epoch+1
	}
}

func raised(s state, op *history.Op) state {
	if op.Epoch != 0 {
		s.epoch, s.loose = op.Epoch, false
		return s
	}
	s.epoch++
	return s
}

func freed(s state) state {
	return state{epoch: s.epoch, loose: s.loose, status: inactive}
}

// reads reports whether a plain read may have seen this.
func (r Rules) reads(s state, op *history.Op) bool {
	if s.loose || r.IdlePurged && s.status == inactive {
		// Purged or not; and a row that was made, free, for somebody who must not wait.
		return op.Epoch >= s.epoch && (op.Status == s.status || op.Status == inactive && s.status != active)
	}
	return op.Epoch == s.epoch && op.Status == s.status
}
