package measure

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Work is one operation of a worker.
type Work func(ctx context.Context, worker int) error

// Slice lets so many workers work for some time, and measures it. Status is a pool for
// the server's counters, beside the wire.
func Slice(ctx context.Context, wire *Wire, status *sql.DB, workers int, lasts time.Duration, work Work) (*Sample, error) {
	statusBefore, err := statusOf(ctx, status)
	if err != nil {
		return nil, err
	}
	var memoryBefore, memoryAfter runtime.MemStats
	runtime.ReadMemStats(&memoryBefore)
	before := wire.Now()

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	var over atomic.Bool
	latencies := make([][]time.Duration, workers)
	began := time.Now()
	timer := time.AfterFunc(lasts, func() { over.Store(true) })
	defer timer.Stop()
	for i := range workers {
		all.Go(func() {
			for !over.Load() && ctx.Err() == nil {
				asked := time.Now()
				if err := work(ctx, i); err != nil {
					stop(fmt.Errorf("worker %d: %w", i+1, err))
					return
				}
				latencies[i] = append(latencies[i], time.Since(asked))
			}
		})
	}
	all.Wait()
	s := &Sample{Took: time.Since(began)}
	after := wire.Now()
	runtime.ReadMemStats(&memoryAfter)
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	statusAfter, err := statusOf(ctx, status)
	if err != nil {
		return nil, err
	}
	s.Latencies = slices.Concat(latencies...)
	s.Operations = int64(len(s.Latencies))
	s.Traffic = Traffic{after.Trips - before.Trips, after.Sent - before.Sent, after.Received - before.Received}
	s.Status = statusAfter.minus(statusBefore)
	s.Status.Statements-- // the question for the counters
	s.Status.Commits--
	s.Allocs = int64(memoryAfter.Mallocs - memoryBefore.Mallocs)
	s.AllocBytes = int64(memoryAfter.TotalAlloc - memoryBefore.TotalAlloc)
	return s, nil
}
