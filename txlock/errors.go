package txlock

import (
	"errors"
	"fmt"
	"time"
)

// What callers test for with errors.Is. The typed errors below carry the
// details and match their sentinel.
var (
	// ErrHeld says that another lease of the key is active: see [HeldError].
	ErrHeld = errors.New("txlock: key is held")

	// ErrLost says that a lease is no longer the key's newest, or was released: see
	// [LostError]. It is definite: nothing brings the lease back, stop its work.
	ErrLost = errors.New("txlock: lease is lost")

	// ErrBusy says that the server gave up waiting for a row lock that another open
	// transaction holds (error 1205): see [BusyError].
	ErrBusy = errors.New("txlock: key is locked by another open transaction")

	// ErrNotFound says that a key has no row: see [NotFoundError].
	ErrNotFound = errors.New("txlock: key is not found")

	// ErrTxAborted says that the server rolled the whole transaction back, because
	// of a deadlock, a conflict or a lost connection: roll it back and run it again
	// from its start. What was written in it is gone, and what would still be
	// written through the same *sql.Tx could be outside of any transaction.
	ErrTxAborted = errors.New("txlock: transaction was aborted by the server")

	// ErrAbortIgnored says that a function given to [Locker.Do] or [Lease.InTx] went
	// on after a call of this library had told it ErrTxAborted. What it wrote before
	// that is rolled back; what it wrote after may stand, each statement on its own.
	// It is never retried: look for those rows, and let the function return its
	// errors.
	ErrAbortIgnored = errors.New("txlock: the function went on in an aborted transaction")

	// ErrCommitUnknown says that a COMMIT was sent and its answer did not come, or
	// does not say: see [CommitUnknownError].
	ErrCommitUnknown = errors.New("txlock: outcome of COMMIT is unknown")

	// ErrNotMigrated says that the tables of gox-helix are missing or incomplete in
	// the database of the connection.
	ErrNotMigrated = errors.New("txlock: database is not migrated")

	// ErrUnfenced refuses a statement that a [FencedConnector] cannot fence, or that
	// would end a fence, before it is sent. The error says what to do: run it in a
	// transaction, or send it through the base database.
	ErrUnfenced = errors.New("txlock: statement cannot be fenced")

	// ErrClosed says that the Locker was used after its Close.
	ErrClosed = errors.New("txlock: locker is closed")

	// ErrInvalidKey, ErrInvalidTTL and ErrInvalidArgument say that a call was refused
	// before anything was sent: see [InvalidError].
	ErrInvalidKey      = errors.New("txlock: invalid key")
	ErrInvalidTTL      = errors.New("txlock: invalid TTL")
	ErrInvalidArgument = errors.New("txlock: invalid argument")
)

// HeldError refuses an acquisition because another lease of the key is active.
// It matches [ErrHeld]. Nothing was changed; in a transaction of the caller the
// row stays locked until that transaction ends.
type HeldError struct {
	Key string
	// RetryAfter is what the lease still had on the server's clock when it
	// answered, to the microsecond. It may be released earlier or renewed.
	RetryAfter time.Duration
	// Owner and Epoch are those of the lease, where the call has read them: a
	// waiting [Locker.Acquire] that has asked more than once does, the others leave
	// them empty.
	Owner string
	Epoch int64
}

func (e *HeldError) Error() string {
	if e.Owner != "" {
		return fmt.Sprintf("txlock: key %q is held by %q, epoch %d, for another %v: try again after that, or earlier in case it is released", e.Key, e.Owner, e.Epoch, e.RetryAfter)
	}
	return fmt.Sprintf("txlock: key %q is held for another %v: try again after that, or earlier in case it is released", e.Key, e.RetryAfter)
}

// Is matches [ErrHeld].
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// LostError says that a lease is not the key's newest, or was released, or, as the
// cause of [Lease.Context], that it may be. It matches [ErrLost]. Nothing was
// changed.
type LostError struct {
	Key   string
	Owner string
	Epoch int64
	// Err is why the lease must be taken for lost although the server has not said
	// so: it could not be renewed in time. Nil if the server said so.
	Err error
}

func (e *LostError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("txlock: lease %d of key %q by %q may be lost: stop its work, acquire anew: %v", e.Epoch, e.Key, e.Owner, e.Err)
	}
	return fmt.Sprintf("txlock: lease %d of key %q by %q is lost (released, taken over, revoked, or its own transaction was rolled back): stop its work, roll back, acquire anew", e.Epoch, e.Key, e.Owner)
}

// Is matches [ErrLost].
func (e *LostError) Is(target error) bool { return target == ErrLost }

// Unwrap returns why the lease could not be renewed, if that is why.
func (e *LostError) Unwrap() error { return e.Err }

// NotFoundError says that a key has no row: it was never acquired, or it was purged
// since. It matches [ErrNotFound]. Such a key is free.
type NotFoundError struct {
	Key string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("txlock: key %q is not found: it was never acquired, or was purged since; look for a misspelling, or acquire it", e.Key)
}

// Is matches [ErrNotFound].
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// BusyError says that the server gave up waiting for the row of the key, which
// another open transaction keeps locked. It matches [ErrBusy]. The server undid
// the statement and nothing else: the transaction is open, without the lock,
// and must not be committed as if it had it. Where innodb_rollback_on_timeout is
// set, which it is not by default, the server has rolled all of it back; so this
// library sends nothing more in that transaction, and neither should you.
type BusyError struct {
	Key string
	Err error // what the server said
}

func (e *BusyError) Error() string {
	if errors.Is(e.Err, errNoWait) {
		return fmt.Sprintf("txlock: key %q could not be had without waiting: try again later: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("txlock: key %q is locked by another open transaction: roll back and try again later (innodb_lock_wait_timeout sets how long the server waits): %v", e.Key, e.Err)
}

var errNoWait = errors.New("another open transaction has its row locked, and NoWait was asked for")

// Is matches [ErrBusy].
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Unwrap returns what the server said.
func (e *BusyError) Unwrap() error { return e.Err }

// CommitUnknownError says that a COMMIT was sent and the connection was lost
// before its answer, or the answer does not say: all of the transaction took
// effect, or nothing. It matches [ErrCommitUnknown] and is never retried. Look for
// business rows that only this transaction can have written, under the same lock,
// and decide. (Do not look for the epoch: if this transaction was rolled back,
// another may have got the same.) The lock needs no repair: one of a transaction
// ends with it, and a lease expires.
type CommitUnknownError struct {
	Key   string
	Owner string
	Epoch int64 // the epoch the transaction ran under; 0 for a lock without [NewEpoch]
	Err   error // what the driver said
}

func (e *CommitUnknownError) Error() string {
	return fmt.Sprintf("txlock: outcome of COMMIT is unknown for key %q, owner %q, epoch %d: look for its rows before running it again: %v", e.Key, e.Owner, e.Epoch, e.Err)
}

// Is matches [ErrCommitUnknown].
func (e *CommitUnknownError) Is(target error) bool { return target == ErrCommitUnknown }

// Unwrap returns what the driver said.
func (e *CommitUnknownError) Unwrap() error { return e.Err }

// InvalidError refuses a call before anything was sent to the server: no
// transaction was touched. It matches one of [ErrInvalidKey], [ErrInvalidTTL]
// and [ErrInvalidArgument].
type InvalidError struct {
	Kind   error  // the sentinel
	Value  string // what was given
	Reason string // what is wrong with it, and what would be right
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%v %s: %s", e.Kind, e.Value, e.Reason)
}

// Is matches the sentinel in Kind.
func (e *InvalidError) Is(target error) bool { return target == e.Kind }
