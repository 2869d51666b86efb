package measure

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Work is one operation of a worker.
type Work func(ctx context.Context, worker int) error

// Slice lets so many workers work for some time, and measures it.
func (m *Meter) Slice(ctx context.Context, workers int, lasts time.Duration, work Work) (*Sample, error) {
	before, err := m.Now(ctx)
	if err != nil {
		return nil, err
	}
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	var over atomic.Bool
	latencies := make([][]time.Duration, workers)
	began := time.Now()
	timer := time.AfterFunc(lasts, func() { over.Store(true) })
	defer timer.Stop()
	for i := range workers {
		all.Go(func() {
			for !over.Load() && working.Err() == nil {
				asked := time.Now()
				if err := work(working, i); err != nil {
					stop(fmt.Errorf("worker %d: %w", i+1, err))
					return
				}
				latencies[i] = append(latencies[i], time.Since(asked))
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	if err := context.Cause(working); err != nil {
		return nil, err
	}
	counts, err := m.Since(ctx, before)
	if err != nil {
		return nil, err
	}
	each := slices.Concat(latencies...)
	return &Sample{Counts: counts, Operations: int64(len(each)), Took: took, Latencies: each}, nil
}
