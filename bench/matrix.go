package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/ground"
	"github.com/gox-helix/gox-helix/bench/measure"
)

// Keys is how workers choose their keys.
type Keys string

const (
	ownKeys Keys = "a key each"
	hotKey  Keys = "100 keys, one hot"
	oneKey  Keys = "one key"
)

// setting is one row of the matrix.
type setting struct {
	Engine  string
	Rows    int
	Workers int
	Keys    Keys
}

func (s setting) String() string {
	return fmt.Sprintf("%s, %s, %d rows", s.Engine, s.load(), s.Rows)
}

// load is who works, and on which keys.
func (s setting) load() string {
	if s.Workers == 1 {
		return "1 worker" // of whom any choice of keys is the same
	}
	return fmt.Sprintf("%d workers, %s", s.Workers, s.Keys)
}

// key is that of a worker's next operation.
func (s setting) key(worker int) int {
	switch s.Keys {
	case ownKeys:
		return worker
	case hotKey:
		if rand.IntN(2) == 0 {
			return 0
		}
		return 1 + rand.IntN(99)
	case oneKey:
	}
	return 0
}

// cell is what one contender did in one setting, over all rounds.
type cell struct {
	Contender string
	// Ratio is its rate by that of the reference in the same round.
	Ratio measure.Spread
	Rate  measure.Spread // operations per second
	P50   time.Duration
	P99   time.Duration
	// Per operation.
	Statements, Commits, Trips, Sent, Received, Redo, BinaryLog, Allocs float64
	ClientCPU, ServerCPU                                                float64 // microseconds
	Operations                                                          int64
}

// row is one setting, measured.
type row struct {
	setting
	Cells []cell
}

// measureRow lets all contenders take turns, rounds times.
func (b *bench) measureRow(ctx context.Context, s setting, e contender.Env, m *measure.Meter) (r row, err error) {
	type entrant struct {
		contender.Contender
		lock    contender.Lock
		samples []*measure.Sample
	}
	var entrants []*entrant
	defer func() {
		for _, c := range entrants {
			err = errors.Join(err, c.lock.Close())
		}
	}()
	for _, c := range b.contenders {
		if c.OwnKeys && s.Keys != ownKeys {
			continue
		}
		lock, err := c.Open(ctx, e)
		if err != nil {
			return r, fmt.Errorf("opening %s: %w", c.Name, err)
		}
		entrants = append(entrants, &entrant{Contender: c, lock: lock})
	}
	turn := func(c *entrant, lasts time.Duration) (*measure.Sample, error) {
		sample, err := m.Slice(ctx, s.Workers, lasts, func(ctx context.Context, worker int) error {
			n := s.key(worker)
			return c.lock.Do(ctx, worker, ground.Key(n), ground.Transfer(n, s.Rows))
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", s, c.Name, err)
		}
		return sample, nil
	}
	for _, c := range entrants { // connections, caches
		if _, err := turn(c, b.slice/2); err != nil {
			return r, err
		}
	}
	for round := range b.rounds {
		for i := range entrants {
			c := entrants[(i+round)%len(entrants)]
			sample, err := turn(c, b.slice)
			if err != nil {
				return r, err
			}
			c.samples = append(c.samples, sample)
		}
	}
	r.setting = s
	reference := entrants[slices.IndexFunc(entrants, func(c *entrant) bool { return c.Name == contender.Reference })]
	for _, c := range entrants {
		r.Cells = append(r.Cells, summed(c.Name, c.samples, reference.samples))
	}
	return r, nil
}

func summed(name string, samples, reference []*measure.Sample) cell {
	c := cell{Contender: name}
	var ratios, rates []float64
	var latencies []time.Duration
	var all measure.Counts
	for i, s := range samples {
		ratios, rates = append(ratios, s.Rate()/reference[i].Rate()), append(rates, s.Rate())
		latencies = append(latencies, s.Latencies...)
		c.Operations += s.Operations
		all = all.Plus(s.Counts)
	}
	slices.Sort(latencies)
	c.Ratio, c.Rate = measure.SpreadOf(ratios), measure.SpreadOf(rates)
	c.P50, c.P99 = measure.Quantile(latencies, 0.5), measure.Quantile(latencies, 0.99)
	per := func(n int64) float64 { return float64(n) / float64(max(c.Operations, 1)) }
	c.Statements, c.Commits = per(all.Status.Statements), per(all.Status.Commits)
	c.Redo, c.BinaryLog = per(all.Status.Redo), per(all.Status.BinaryLog)
	c.Trips, c.Sent, c.Received = per(all.Traffic.Trips), per(all.Traffic.Sent), per(all.Traffic.Received)
	c.Allocs, c.ClientCPU, c.ServerCPU = per(all.Allocs), per(all.ClientCPU.Microseconds()), per(all.ServerCPU.Microseconds())
	return c
}
