package txlock

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/lockdb"
)

// job names what a transaction of our own is for.
type job struct {
	op, key   string
	txOptions *sql.TxOptions
	// before, if there is one, is called before each attempt's transaction begins.
	before func(ctx context.Context) error
}

// run runs body in a transaction of its own and commits it, again when the
// server aborted it. body returns the epoch it ran under.
func (l *Locker) run(ctx context.Context, j job, body func(tx *sql.Tx) (int64, error)) error {
	for attempt := 1; ; attempt++ {
		err := l.runOnce(ctx, j, body)
		switch {
		case err == nil, !IsRetryable(err):
			return err
		case attempt >= l.attempts:
			return fmt.Errorf("txlock: %s %q: attempt %d was the last (see WithMaxAttempts): %w", j.op, j.key, attempt, err)
		}
		if ctxErr := pause(ctx, attempt); ctxErr != nil {
			return fmt.Errorf("txlock: %s %q: %w before attempt %d, the last one said: %w", j.op, j.key, ctxErr, attempt+1, err)
		}
	}
}

// transact is run for a body that sends statements of ours alone.
func (l *Locker) transact(ctx context.Context, j job, body func(q *lockdb.Queries) error) error {
	return l.run(ctx, j, func(tx *sql.Tx) (int64, error) {
		q, err := l.queriesFor(tx, j.op, j.key)
		if err != nil {
			return 0, err
		}
		if err := body(q); err != nil {
			return 0, l.failed(tx, j.op, j.key, err)
		}
		return 0, nil
	})
}

func (l *Locker) runOnce(ctx context.Context, j job, body func(tx *sql.Tx) (int64, error)) error {
	if l.closed.Load() {
		return closedError(j.op, j.key)
	}
	if j.before != nil {
		if err := j.before(ctx); err != nil {
			return err
		}
	}
	tx, err := l.db.BeginTx(ctx, j.txOptions)
	l.noteConnection(err)
	switch {
	case errors.Is(err, mysql.ErrInvalidConn): // a pooled connection that has ended meanwhile
		return fmt.Errorf("txlock: %s %q: at BEGIN: %w: %w", j.op, j.key, ErrTxAborted, err)
	case err != nil:
		return l.beginError(j.op, j.key, err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = tx.Rollback() // body panicked or ended the goroutine: that says more
		}
	}()

	epoch, err := body(tx)
	ended = true
	l.noteConnection(err)
	if errors.Is(l.aborted.cause(tx), ErrTxAborted) && !IsRetryable(err) {
		err = errors.Join(err, fmt.Errorf("txlock: %s %q: %w: look for what it wrote after that, and let it return its errors", j.op, j.key, ErrAbortIgnored))
	}
	if err != nil {
		return j.bodyError(err, tx.Rollback())
	}
	err = tx.Commit()
	l.noteConnection(err)
	return j.commitError(ctx, err, l.owner, epoch)
}

// beginError makes the error of a BEGIN, before which nothing was done.
func (l *Locker) beginError(op, key string, err error) error {
	if s := l.db.Stats(); isContextEnd(err) && s.MaxOpenConnections > 0 && s.InUse >= s.MaxOpenConnections {
		return fmt.Errorf("txlock: %s %q: nothing was done, all connections of the pool are in use (%d, see SetMaxOpenConns): %w", op, key, s.InUse, err)
	}
	return fmt.Errorf("txlock: %s %q: nothing was done, no transaction could be begun: %w", op, key, err)
}

// bodyError makes the error of a transaction that was rolled back because of err.
func (j job) bodyError(err, rollbackErr error) error {
	lost := isConnectionLost(rollbackErr)
	known := errors.Is(err, ErrTxAborted) || errors.Is(err, ErrAbortIgnored) || errors.Is(err, ErrCommitUnknown) || isContextEnd(err)
	if !known && (isConflict(err) || lost && isConnectionLost(err)) { // in a statement of the caller
		err = fmt.Errorf("txlock: %s %q: %w: %w", j.op, j.key, ErrTxAborted, err)
	}
	if rollbackErr != nil && !lost && !errors.Is(rollbackErr, sql.ErrTxDone) {
		err = fmt.Errorf("%w (and rolling back said: %w)", err, rollbackErr)
	}
	return err
}

// commitError makes the error of a COMMIT: certainly done (nil), certainly not,
// or unknown.
func (j job) commitError(ctx context.Context, err error, owner string, epoch int64) error {
	switch {
	case err == nil:
		return nil
	case isConflict(err), errors.Is(err, driver.ErrBadConn): // the driver's word for: nothing was sent
		return fmt.Errorf("txlock: %s %q: at COMMIT: %w: %w", j.op, j.key, ErrTxAborted, err)
	case errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil:
		return fmt.Errorf("txlock: %s %q: rolled back, unless the function itself committed: %w", j.op, j.key, ctx.Err())
	case isContextEnd(err):
		return fmt.Errorf("txlock: %s %q: rolled back: %w", j.op, j.key, err)
	case errors.Is(err, sql.ErrTxDone):
		return fmt.Errorf("txlock: %s %q: the function ended the transaction itself: leave Commit and Rollback to its caller: %w", j.op, j.key, err)
	}
	return &CommitUnknownError{Key: j.key, Owner: owner, Epoch: epoch, Err: err}
}

// pause waits before the attempt after this one, or until ctx ends: a random
// time, so that the victims of one conflict do not meet again.
func pause(ctx context.Context, attempt int) error {
	const first, most = 5 * time.Millisecond, 500 * time.Millisecond
	window := most
	if shift := attempt - 1; shift < 7 {
		window = min(first<<shift, most)
	}
	t := time.NewTimer(rand.N(window))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
