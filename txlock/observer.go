package txlock

import (
	"context"
	"errors"
	"time"
)

// Observer sees what a [Locker] does, for logs, metrics and traces: see
// [WithObserver], [WithLogger] for one that logs, and package txlockotel for one
// that speaks OpenTelemetry.
//
// Its methods are called by the goroutine that does it, or by that of the
// heartbeat, so they must be quick, must not panic, and must be safe for use by
// many at once. They change nothing about the operation, and what they are told
// is also returned to the caller, or the cause of a context. A call that is refused
// for its arguments is not observed.
type Observer interface {
	// Start is called before the operation. What it returns is used for the
	// operation, handed to the caller's function, and given to End: ctx, or a
	// context derived from it.
	Start(ctx context.Context, op Operation) context.Context
	// End is called after the operation, exactly once for each Start, also when the
	// caller's function panics or ends its goroutine ([ErrPanicked]).
	End(ctx context.Context, op Operation, result Result)
}

// Operation is what a Locker is about to do.
type Operation struct {
	Name  OperationName
	Key   string // any bytes; empty where it is about many keys
	Owner string // any bytes
	Keys  int    // how many keys it is about
	// TTL is that of the lease or the leases: of OpAcquire, OpAcquireMany, OpRenew,
	// OpHold and OpHeartbeat, which come every third of it.
	TTL time.Duration
	// Waits says that OpAcquire may wait on the client for its turn, as Acquire and
	// Run do; most of its duration is then sleep.
	Waits bool
}

// OperationName names an operation.
type OperationName string

// The operations that an [Observer] sees. One may happen within another: OpDo has
// OpLocks in it, one for each attempt, OpInTx has OpVerifys, and OpRun has OpAcquire, OpHold and
// OpRelease, each with the context that the outer one's Start
// returned.
//
// OpHold and OpLoss have the values of the context that the lease was acquired
// with, OpHeartbeat has none. OpLoss takes no time: it is ended as soon as it is
// started.
const (
	OpAcquire     OperationName = "acquire"      // AcquireTx, TryAcquire, Acquire
	OpAcquireMany OperationName = "acquire_many" // AcquireManyTx
	OpLock        OperationName = "lock"         // LockTx
	OpVerify      OperationName = "verify"       // VerifyTx, and each fenced transaction of a FencedConnector
	OpRenew       OperationName = "renew"        // RenewTx, Renew
	OpRelease     OperationName = "release"      // ReleaseTx, Release
	OpHeartbeat   OperationName = "heartbeat"    // one background renewal, of many leases
	OpHold        OperationName = "hold"         // from KeepAlive to the lease's release or loss, or the end of KeepAlive's context
	OpLoss        OperationName = "loss"         // a lease is or may be lost: once for each, when that comes to light
	OpDo          OperationName = "do"           // Do
	OpInTx        OperationName = "in_tx"        // InTx
	OpRun         OperationName = "run"          // Run
	OpRevoke      OperationName = "revoke"       // Revoke
	OpRetire      OperationName = "retire"       // Retire
	OpPurge       OperationName = "purge"        // Purge
)

// Result is what became of an operation.
type Result struct {
	// Err is what the caller gets; nil for success. Of OpHeartbeat it is why it is
	// tried again; of OpHold and OpLoss the cause of the lease's context.
	Err      error
	Epoch    int64         // the fencing token, where it is about one lease or lock and known
	Duration time.Duration // of the whole operation
	// Attempts is how often it was tried, where it tries by itself: transactions
	// that could be begun, or questions of an Acquire that waits.
	Attempts int
	Late     time.Duration // OpHeartbeat: by how much it was later than planned, for the worst of its leases
	Lost     int           // OpHeartbeat: leases that the server said are lost
	Purged   int64         // OpPurge: rows deleted
}

// ErrPanicked is what an [Observer] is told of an operation that did not return,
// because the caller's function panicked or called [runtime.Goexit]. No caller
// gets it.
var ErrPanicked = errors.New("txlock: the function panicked or ended its goroutine")

// observation is an operation under way. Without an observer it costs nothing.
type observation struct {
	observers []Observer
	op        Operation
	first     context.Context   // what the first observer's Start returned
	others    []context.Context // the other ones'
	began     time.Time
}

// observe tells the observers, the first one first, that an operation begins.
func (c *config) observe(ctx context.Context, op Operation) (context.Context, observation) {
	if len(c.observers) == 0 {
		return ctx, observation{}
	}
	op.Owner = c.owner
	o := observation{observers: c.observers, op: op, began: time.Now()}
	for i, observer := range c.observers {
		ctx = observer.Start(ctx, op)
		if i == 0 {
			o.first = ctx
		} else {
			o.others = append(o.others, ctx)
		}
	}
	return ctx, o
}

// end tells the observers, the last one first, what became of the operation. It is
// deferred, and an error that is reported starts as [ErrPanicked], so that they are
// told of a panic, too.
func (o observation) end(result Result) {
	if len(o.observers) == 0 {
		return
	}
	result.Duration = time.Since(o.began)
	for i := len(o.observers) - 1; i > 0; i-- {
		o.observers[i].End(o.others[i-1], o.op, result)
	}
	o.observers[0].End(o.first, o.op, result)
}

// observeLoss tells the observers, once for each lease, that err says that it is or
// may be lost, unless its holder has released it.
func (le *Lease) observeLoss(err error) {
	if err == nil || len(le.locker.observers) == 0 || !errors.Is(err, ErrLost) {
		return
	}
	le.mu.Lock()
	released := le.trust.released || le.trust.over && le.trust.cause == nil
	told := le.trust.lossSeen
	le.trust.lossSeen = true
	le.mu.Unlock()
	if released || told {
		return
	}
	_, seen := le.locker.observe(le.values, Operation{Name: OpLoss, Key: le.key, Keys: 1})
	seen.end(Result{Err: err, Epoch: le.epoch})
}
