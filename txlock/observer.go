package txlock

import (
	"context"
	"time"
)

// Observer sees what a [Locker] does, for logs, metrics and traces. Its methods
// are called by the goroutine that does it, so they must be quick and safe for
// use by many. What it returns or does changes nothing for the operation. See
// package txlockotel for one that speaks OpenTelemetry, and [WithLogger].
type Observer interface {
	// Start is called before the operation; the context that it returns is used
	// for the operation, and given to End.
	Start(ctx context.Context, op Operation) context.Context
	// End is called after the operation, exactly once for each Start.
	End(ctx context.Context, op Operation, result Result)
}

// Operation is what a Locker is about to do.
type Operation struct {
	Name  OperationName
	Key   string // empty where it is about many keys
	Owner string
	Keys  int // how many keys it is about
}

// OperationName names an operation.
type OperationName string

// The operations that an [Observer] sees. One may happen within another: OpRun has
// an OpAcquire in it, which may have some OpAttempts.
const (
	OpAcquire     OperationName = "acquire"      // AcquireTx, TryAcquire, Acquire
	OpAcquireMany OperationName = "acquire_many" // AcquireManyTx
	OpLock        OperationName = "lock"         // LockTx
	OpVerify      OperationName = "verify"       // VerifyTx, and each fenced transaction of a FencedConnector
	OpRenew       OperationName = "renew"        // RenewTx, Renew
	OpHeartbeat   OperationName = "heartbeat"    // one background renewal, of many leases
	OpRelease     OperationName = "release"      // ReleaseTx, Release
	OpHold        OperationName = "hold"         // from a lease's KeepAlive to its release or loss
	OpDo          OperationName = "do"           // Do
	OpInTx        OperationName = "in_tx"        // InTx
	OpRun         OperationName = "run"          // Run
	OpRevoke      OperationName = "revoke"       // Revoke
	OpRetire      OperationName = "retire"       // Retire
	OpPurge       OperationName = "purge"        // Purge
)

// Result is what became of an operation.
type Result struct {
	Err      error         // as the caller gets it; nil for success
	Epoch    int64         // the fencing token, where it is about one lease and known
	Duration time.Duration // of the whole operation
	Attempts int           // how often it was tried, where it tries by itself
	Lost     int           // OpHeartbeat: leases found to be lost; OpHold: 1 if it was
	Late     time.Duration // OpHeartbeat: by how much it was later than planned, the worst lease's
	Purged   int64         // OpPurge: rows deleted
}

// observation is an operation under way. Without an observer it costs nothing.
type observation struct {
	observers []Observer
	op        Operation
	contexts  []context.Context
	began     time.Time
}

// observe tells the observers that an operation begins.
func (c *config) observe(ctx context.Context, op Operation) (context.Context, observation) {
	if len(c.observers) == 0 {
		return ctx, observation{}
	}
	op.Owner = c.owner
	o := observation{observers: c.observers, op: op, began: time.Now()}
	for _, observer := range c.observers {
		ctx = observer.Start(ctx, op)
		o.contexts = append(o.contexts, ctx)
	}
	return ctx, o
}

// end tells the observers, the last one first, what became of the operation.
func (o observation) end(result Result) {
	if len(o.observers) == 0 {
		return
	}
	result.Duration = time.Since(o.began)
	for i := len(o.observers) - 1; i >= 0; i-- {
		o.observers[i].End(o.contexts[i], o.op, result)
	}
}
