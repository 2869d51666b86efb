package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/measure"
)

// handover is how long it takes from the end of one holder's business to the
// beginning of the next one's, with the end of its transaction and its release.
type handover struct {
	Contender string
	Waiting   int
	Took      measure.Spread // in milliseconds
	// Questions are round trips a second of all that wait, while one holds for long.
	Questions float64
}

const holdShort = 100 * time.Millisecond

// handOver lets one hold, and so many others wait, each a client of its own.
func (b *bench) handOver(ctx context.Context, c contender.Contender, e contender.Env, waiting int) (h handover, err error) {
	h = handover{Contender: c.Name, Waiting: waiting}
	var locks []contender.Lock
	defer func() {
		for _, lock := range locks {
			err = errors.Join(err, lock.Close())
		}
	}()
	for range waiting + 1 {
		lock, err := c.Open(ctx, e)
		if err != nil {
			return h, fmt.Errorf("opening %s: %w", c.Name, err)
		}
		locks = append(locks, lock)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var last time.Time
	var gaps []float64
	done := 0
	errs := make([]error, len(locks))
	var all sync.WaitGroup
	for i, lock := range locks {
		all.Go(func() {
			for ctx.Err() == nil {
				err := lock.Do(ctx, 0, "handover", func(ctx context.Context, tx *sql.Tx) error {
					mu.Lock()
					if !last.IsZero() {
						gaps = append(gaps, float64(time.Since(last).Microseconds())/1000)
					}
					long := done == b.handovers
					done++
					mu.Unlock()
					if long {
						before := b.wire.Now().Trips
						wait(ctx, b.holdLong)
						h.Questions = float64(b.wire.Now().Trips-before) / b.holdLong.Seconds()
						cancel()
						return nil
					}
					wait(ctx, holdShort)
					// So that each COMMIT has something to make durable.
					if _, err := tx.ExecContext(ctx, "INSERT INTO ledger (debit, credit, cents) VALUES (0, 0, 1)"); err != nil {
						return err
					}
					mu.Lock()
					last = time.Now()
					mu.Unlock()
					return nil
				})
				if err != nil && ctx.Err() == nil {
					errs[i] = fmt.Errorf("%s, %d waiting: %w", c.Name, waiting, err)
					cancel()
				}
			}
		})
	}
	all.Wait()
	h.Took = measure.SpreadOf(gaps)
	return h, errors.Join(errs...)
}
