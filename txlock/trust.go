package txlock

import (
	"context"
	"errors"
	"time"
)

// trust is for how long a holder may take its lease for standing.
type trust struct {
	ctx    context.Context // nil until someone asks for it
	cancel context.CancelCauseFunc
	timer  *time.Timer

	over     bool
	cause    error // why, once over
	released bool  // perhaps: in a transaction whose COMMIT is the caller's, or was not answered
	lossSeen bool  // observers have been told that it is or may be lost
}

// Context returns a context that is canceled as soon as the lease is or may be
// lost, and before anyone else can have taken it over by expiry: when
// [Lease.Deadline] passes without a renewal, or when [Lease.Renew],
// [Lease.Release], [Lease.InTx] or the heartbeat ([Lease.KeepAlive]) learn that
// it is over. [context.Cause] is then a [LostError], which matches [ErrLost], or
// [ErrClosed] after [Locker.Close] of a kept lease; after a release it is
// [context.Canceled]. It never comes back, even if a late renewal succeeds:
// acquire anew.
//
// It carries the values of the context that the lease was acquired with, and not
// its cancellation. It is for work that is not fenced; it cannot stop a process
// that is paused, which finds it canceled when it goes on.
//
// A lease whose transaction was rolled back never was; its context ends with its
// deadline. After a [Lease.ReleaseTx] in a transaction of the caller's own that was
// rolled back, and until the next renewal, a loss is taken for that release.
func (le *Lease) Context() context.Context {
	le.mu.Lock()
	if le.trust.ctx == nil {
		le.trust.ctx, le.trust.cancel = context.WithCancelCause(le.values)
		if le.trust.over {
			le.trust.cancel(le.trust.cause)
		} else {
			le.trust.timer = time.AfterFunc(time.Until(le.deadline), le.expire)
		}
	}
	ctx, late := le.trust.ctx, !le.trust.over && time.Until(le.deadline) <= 0
	le.mu.Unlock()
	if late {
		le.expire()
	}
	return ctx
}

// expire ends the trust if the deadline has passed.
func (le *Lease) expire() {
	le.mu.Lock()
	left := time.Until(le.deadline)
	if left > 0 { // renewed meanwhile
		if !le.trust.over {
			le.trust.timer.Reset(left)
		}
		le.mu.Unlock()
		return
	}
	reason := le.kept.failure
	le.mu.Unlock()
	if reason == nil {
		reason = errNotRenewed
	}
	le.end(&LostError{Key: le.key, Owner: le.Owner(), Epoch: le.epoch, Err: reason})
}

var errNotRenewed = errors.New("it was not renewed before its deadline")

// end ends the trust, once. A nil cause is a release.
func (le *Lease) end(cause error) {
	le.mu.Lock()
	if le.trust.over {
		le.mu.Unlock()
		return
	}
	le.trust.over, le.trust.cause = true, cause
	if le.trust.ctx != nil {
		le.trust.timer.Stop()
		le.trust.cancel(cause)
	}
	seen, keeping := le.kept.seen, le.kept.on
	le.kept.on = false
	le.mu.Unlock()

	le.observeLoss(cause)
	if keeping {
		seen.end(Result{Err: cause, Epoch: le.epoch})
		le.locker.keeper.remove(le)
	}
}

// clearReleased notes that a renewal has found the lease standing, and its row not
// locked: if a transaction of the caller had released it, that has been rolled back.
func (le *Lease) clearReleased() {
	le.mu.Lock()
	defer le.mu.Unlock()
	le.trust.released = false
}

// noteLoss ends the trust where err, of an operation in a transaction of our own,
// says that the lease is over.
func (le *Lease) noteLoss(err error) {
	if !errors.Is(err, ErrLost) {
		return
	}
	le.mu.Lock()
	released := le.trust.released
	le.mu.Unlock()
	if released {
		err = nil // by the caller's transaction, which has committed
	}
	le.end(err)
}
