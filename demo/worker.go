package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// claimer is one of the two ways to have a chunk: protected and unprotected.
type claimer interface {
	// claim takes a chunk, or fails with a *takenError or errChunkDone.
	claim(ctx context.Context, chunk int) (claim, error)
}

// claim is a chunk while a worker has it. Each method fails with a *lostError
// when the chunk is seen to be another's.
type claim interface {
	epoch() int64
	keep(ctx context.Context) error
	post(ctx context.Context, payout payout) error
	finish(ctx context.Context) error
}

var errChunkDone = errors.New("chunk is done")

// takenError says that another worker has the chunk.
type takenError struct{ retryAfter time.Duration }

func (e *takenError) Error() string {
	return fmt.Sprintf("chunk is taken for another %v", e.retryAfter)
}

// lostError says that another worker has taken the chunk over.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// worker is the work of one process: chunks, until none is left.
type worker struct {
	name    string
	db      *sql.DB
	claimer claimer
	stops   *remoteStops
	send    func(report) error
	tally   *tally
}

// runWorker is the hidden subcommand that the coordinator starts.
func runWorker(ctx context.Context, in io.Reader, out io.Writer) error {
	orders := json.NewDecoder(bufio.NewReader(in))
	var c workerConfig
	if err := orders.Decode(&c); err != nil {
		return fmt.Errorf("reading the configuration: %w: this subcommand is for the coordinator, run the demo without it", err)
	}
	send := reporter(out)
	s := newRemoteStops(send)
	go follow(orders, s)

	config, err := mysql.ParseDSN(c.DSN)
	if err != nil {
		return err
	}
	db, err := openDB(config)
	if err != nil {
		return err
	}
	w := &worker{name: c.Name, db: db, stops: s, send: send, tally: &tally{}}
	if c.Unprotect {
		w.claimer = &unprotected{db: db, worker: c.Name, ttl: c.TTL, stops: s, tally: w.tally}
	} else {
		p, err := newProtected(ctx, db, c, s, w.tally)
		if err != nil {
			return errors.Join(err, db.Close())
		}
		defer p.locker.Close() //nolint:errcheck // the process ends
		w.claimer = p
	}
	err = w.run(ctx)
	return errors.Join(err, send(report{Kind: reportTally, Tally: w.tally}), db.Close())
}

// reporter returns a function that sends one report at a time.
func reporter(out io.Writer) func(report) error {
	enc := json.NewEncoder(out)
	var mu sync.Mutex
	return func(r report) error {
		mu.Lock()
		defer mu.Unlock()
		return enc.Encode(r)
	}
}

// follow obeys orders. When there are no more, the coordinator is gone, and this
// process must not outlive it: the server rolls its transaction back.
func follow(orders *json.Decoder, s *remoteStops) {
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			os.Exit(exitOrphaned)
		}
		if o.StopAt != "" {
			s.want(o.StopAt)
		}
		if o.GoOn {
			s.goOn <- struct{}{}
		}
	}
}

func (w *worker) run(ctx context.Context) error {
	for {
		chunks, err := openChunks(ctx, w.db)
		if err != nil {
			return fmt.Errorf("looking for work: %w", err)
		}
		if len(chunks) == 0 {
			return nil
		}
		worked, wait, err := w.workOnOneOf(ctx, chunks)
		if err != nil {
			return err
		}
		if !worked {
			if err := sleep(ctx, wait); err != nil {
				return err
			}
		}
	}
}

// workOnOneOf works on the first of the chunks that nobody has. If all are taken
// it returns how long to wait before the next look.
func (w *worker) workOnOneOf(ctx context.Context, chunks []int) (worked bool, wait time.Duration, err error) {
	const patience = 200 * time.Millisecond // a chunk may be finished, or given back, early
	wait = patience
	for _, chunk := range chunks {
		c, err := w.claimer.claim(ctx, chunk)
		var taken *takenError
		switch {
		case errors.As(err, &taken):
			w.tally.Held++
			wait = min(wait, taken.retryAfter)
			continue
		case errors.Is(err, errChunkDone):
			continue
		case err != nil:
			return false, 0, err
		}
		return true, 0, w.work(ctx, chunk, c)
	}
	return false, wait, nil
}

func (w *worker) work(ctx context.Context, chunk int, c claim) error {
	if err := w.send(report{Kind: reportClaimed, Chunk: chunk, Epoch: c.epoch()}); err != nil {
		return err
	}
	err := w.postAll(ctx, chunk, c)
	var lost *lostError
	if errors.As(err, &lost) {
		w.tally.Lost++ // its new holder does the rest: on to another chunk
		err = nil
	}
	return errors.Join(err, w.send(report{Kind: reportTally, Tally: w.tally}))
}

func (w *worker) postAll(ctx context.Context, chunk int, c claim) error {
	payouts, err := openPayouts(ctx, w.db, chunk)
	if err != nil {
		return fmt.Errorf("payouts of chunk %d: %w", chunk, err)
	}
	for _, p := range payouts {
		if err := c.keep(ctx); err != nil {
			return err
		}
		before := w.tally.Posted
		err := c.post(ctx, p)
		if w.stops.hasStood() {
			r := report{Kind: reportWentOn, Chunk: chunk, Epoch: c.epoch(), Payout: p.ID, Posted: w.tally.Posted > before}
			if lost := (*lostError)(nil); errors.As(err, &lost) {
				r.Refused = lost.Error()
			}
			err = errors.Join(err, w.send(r))
		}
		if err != nil {
			return err
		}
	}
	return c.finish(ctx)
}

// sleep waits for about d, so that those who wait for the same do not come back
// together.
func sleep(ctx context.Context, d time.Duration) error {
	d = max(d, time.Millisecond)
	t := time.NewTimer(d + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
