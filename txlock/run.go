package txlock

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// releasePatience bounds the release at the end of Run.
const releasePatience = 10 * time.Second

// Run holds a lease of key while fn runs: it acquires, waiting as [Locker.Acquire]
// does (unless [NoWait] is given), keeps the lease alive as [Lease.KeepAlive] does,
// calls fn, and releases when fn returns or panics.
//
// fn's context ends with ctx, and as soon as the lease is or may be lost, with a
// [LostError] as its cause ([context.Cause]): then fn must stop and return, since
// another holder may be about to start. What must not be done by a late holder
// belongs into [Lease.InTx]. The lease is kept until fn returns, also when ctx has
// ended.
//
// Run fails as Acquire and KeepAlive do, without calling fn; then with what fn
// returned, with [ErrLost] if the lease was or may have been lost before the
// release, whatever fn returned, and with what the release said: if that could not
// be done within ten seconds, the lease runs out by itself. Each of these that
// happened can be found with errors.Is: ask for ErrLost before context.Canceled, which
// fn may have returned because of the loss.
//
// It takes the statements of an Acquire and a [Lease.Release], and the heartbeat's.
func (l *Locker) Run(ctx context.Context, key string, fn func(ctx context.Context, lease *Lease) error, opts ...AcquireOption) (err error) {
	a, err := l.leaseOptions(key, opts)
	if err != nil {
		return err
	}
	if fn == nil {
		return invalidNil("function", "give Run what is to be run under the lease")
	}
	ctx, seen := l.observe(ctx, Operation{Name: OpRun, Key: key, Keys: 1})
	var lease *Lease
	defer func() { seen.end(Result{Err: err, Epoch: lease.epochOrZero(), Attempts: 1}) }()
	if lease, err = l.acquireOrWait(ctx, key, a); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, lease.releaseAtEnd(ctx))
	}()
	if err := lease.KeepAlive(context.WithoutCancel(ctx)); err != nil {
		return err
	}

	w := &within{epoch: lease.epoch}
	jobCtx, cancel := context.WithCancelCause(w.enter(ctx))
	defer cancel(nil)
	held := lease.Context()
	stop := context.AfterFunc(held, func() { cancel(context.Cause(held)) })
	defer stop()
	err = ErrPanicked // unless it returns
	return fn(jobCtx, lease)
}

// releaseAtEnd releases what Run has acquired, also when ctx has ended. It says if
// the lease was lost before.
func (le *Lease) releaseAtEnd(ctx context.Context) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	lost := context.Cause(le.Context()) // nil while it stands
	switch {
	case lost == context.Canceled: //nolint:errorlint // itself, not as the reason of a loss
		return nil // fn released it
	case le.isLostForSure(lost):
		return lost
	}
	err := le.Release(within)
	if err != nil {
		le.stopHeartbeat() // nobody is left to hold it
	}
	switch {
	case errors.Is(err, ErrLost) && context.Cause(le.Context()) == context.Canceled: //nolint:errorlint // itself
		return nil // fn released it in a transaction of its own
	case lost != nil:
		if errors.Is(err, ErrLost) {
			err = nil // says the same
		}
		return errors.Join(lost, err)
	case err != nil && !errors.Is(err, ErrLost):
		return fmt.Errorf("txlock: the job is done, but its lease could not be released and will run out: %w", err)
	}
	return err
}

// isLostForSure reports whether the server has said so.
func (le *Lease) isLostForSure(cause error) bool {
	var lost *LostError
	return errors.As(cause, &lost) && lost.Err == nil
}
