package txlock

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"
)

// WithLogger lets the Locker log what happens to its leases, and at the debug
// level all that it does, reads aside. It is an [Observer], and can stand beside others. Nothing
// is only logged: what is logged as failed is also returned to the caller, or is
// the cause of [Lease.Context]; or it is tried again, and is such a cause if that
// fails, too.
//
//	level  message                              when
//	Error  txlock: lease is lost                a lease is or may be lost: once for each, however it came
//	                                            to light, with the reason in err
//	Warn   txlock: heartbeat failed             the leases of the batch were not renewed; it is tried again
//	       txlock: heartbeat came late          by more than half of the time between two
//	       txlock: lease is not kept any more   Locker.Close, or KeepAlive failed: the lease runs out
//	       txlock: release failed               the lease goes on, and runs out if nobody keeps it alive,
//	                                            unless it was released after all
//	Info   txlock: revoke, retire, purge        done (a purge: of at least one row)
//	Debug  txlock: acquire, release, renew, ... everything else, each operation once at its end: also what
//	                                            was refused ([ErrHeld]) or failed with an error for the caller
//
// Attributes, where there is something to say: key, owner, keys (how many), epoch,
// ttl, attempts, late, lost (leases found lost by one heartbeat), purged (rows),
// duration, and err, the error itself. Keys and owners can be any bytes: one that is
// not plain printable text, or has a quote or a backslash, is logged as a string
// literal of Go. The context given to the logger's handler is that of the
// operation.
//
// It costs nothing in statements. An operation whose level the handler has not
// enabled costs one question to the handler.
//
// A nil logger makes [New] fail with an [InvalidError].
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil {
			return &InvalidError{Kind: ErrInvalidArgument, Value: "WithLogger(nil)", Reason: "leave it out, or give slog.Default()"}
		}
		return WithObserver(logObserver{logger})(c)
	}
}

// logObserver logs operations at their end.
type logObserver struct{ logger *slog.Logger }

func (o logObserver) Start(ctx context.Context, _ Operation) context.Context { return ctx }

func (o logObserver) End(ctx context.Context, op Operation, result Result) {
	level, message := logged(op, result)
	if !o.logger.Enabled(ctx, level) {
		return
	}
	if message == "" {
		message = "txlock: " + string(op.Name)
	}
	o.logger.LogAttrs(ctx, level, message, logAttrs(op, result)...)
}

// logged returns at which level an operation is logged, and the message if that is
// not the operation's name.
func logged(op Operation, result Result) (slog.Level, string) {
	failed := result.Err != nil && !errors.Is(result.Err, ErrLost) // a loss is told once, as OpLoss
	switch op.Name {
	case OpLoss:
		return slog.LevelError, "txlock: lease is lost"
	case OpHeartbeat:
		switch {
		case errors.Is(result.Err, context.Canceled), errors.Is(result.Err, ErrClosed): // by Close, or with the last lease
		case failed:
			return slog.LevelWarn, "txlock: heartbeat failed"
		case result.Late > op.TTL/6:
			return slog.LevelWarn, "txlock: heartbeat came late"
		}
	case OpHold:
		if failed {
			return slog.LevelWarn, "txlock: lease is not kept any more"
		}
	case OpRelease:
		if failed {
			return slog.LevelWarn, "txlock: release failed"
		}
	case OpRevoke, OpRetire, OpPurge:
		if result.Err == nil && (op.Name != OpPurge || result.Purged > 0) {
			return slog.LevelInfo, ""
		}
	default:
	}
	return slog.LevelDebug, ""
}

func logAttrs(op Operation, result Result) []slog.Attr {
	attrs := make([]slog.Attr, 0, 11)
	if op.Key != "" {
		attrs = append(attrs, slog.String("key", printable(op.Key)))
	}
	attrs = append(attrs, slog.String("owner", printable(op.Owner)))
	if op.Keys > 1 || op.Key == "" && op.Keys > 0 {
		attrs = append(attrs, slog.Int("keys", op.Keys))
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"epoch", result.Epoch},
		{"attempts", int64(result.Attempts)},
		{"lost", int64(result.Lost)},
		{"purged", result.Purged},
	} {
		if n.value != 0 {
			attrs = append(attrs, slog.Int64(n.name, n.value))
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"ttl", op.TTL},
		{"late", max(result.Late, 0)},
		{"duration", result.Duration},
	} {
		if d.value != 0 && (d.name != "duration" || op.Name != OpLoss) {
			attrs = append(attrs, slog.Duration(d.name, d.value))
		}
	}
	if result.Err != nil {
		attrs = append(attrs, slog.Any("err", result.Err))
	}
	return attrs
}

// printable returns a key or an owner as it is if that is plain text, and else in
// Go's syntax, which begins with a quote as no plain text does.
func printable(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}
