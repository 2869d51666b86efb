package txlock

import (
	"context"
	"io"
	"log/slog"
	"testing"
)

// observed does what every operation does for observers.
func observed(c *config, ctx context.Context) (err error) {
	ctx, seen := c.observe(ctx, Operation{Name: OpVerify, Key: "key", Keys: 1})
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Epoch: 7, Attempts: 1}) }()
	return ctx.Err()
}

// Without an observer, an observation allocates nothing; nor does it with a logger
// whose level is not enabled.
func TestNoObserverAllocatesNothing(t *testing.T) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelInfo}))
	for name, c := range map[string]*config{
		"none":         {},
		"quiet logger": {observers: []Observer{logObserver{quiet}}},
	} {
		ctx := t.Context()
		if n := testing.AllocsPerRun(1000, func() { _ = observed(c, ctx) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkObservation(b *testing.B) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelInfo}))
	for name, c := range map[string]*config{
		"none":         {},
		"quiet logger": {observers: []Observer{logObserver{quiet}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ctx := b.Context()
			for b.Loop() {
				_ = observed(c, ctx)
			}
		})
	}
}
