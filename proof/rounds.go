package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/gox-helix/gox-helix/proof/engine"
	"github.com/gox-helix/gox-helix/proof/round"
)

// runRounds is the command run.
func runRounds(ctx context.Context, args []string) error {
	o, err := parse("run", args, nil)
	if err != nil {
		return err
	}
	results, err := o.rounds(ctx)
	if err != nil {
		return err
	}
	return verdict(results)
}

// verdict prints the sum, and says whether all is well.
func verdict(results []*round.Result) error {
	operations, found := 0, 0
	for _, r := range results {
		operations += r.Total()
		if r.Failed() {
			found += len(r.Findings)
		}
	}
	fmt.Printf("%d rounds, %d operations, %d findings\n", len(results), operations, found)
	if found > 0 {
		return errFound
	}
	return nil
}

// rounds runs all rounds that the options ask for.
func (o *options) rounds(ctx context.Context) ([]*round.Result, error) {
	until := time.Now().Add(o.duration)
	var all []*round.Result
	for seed := o.seed; ; seed++ {
		results, err := o.onAll(ctx, seed)
		all = append(all, results...)
		if err != nil || time.Now().After(until) {
			return all, err
		}
	}
}

// onAll runs one round of each fault on each engine.
func (o *options) onAll(ctx context.Context, seed uint64) (all []*round.Result, err error) {
	var mu sync.Mutex
	each := func(name string) {
		results, engineErr := o.on(ctx, name, seed)
		mu.Lock()
		defer mu.Unlock()
		all, err = append(all, results...), errors.Join(err, engineErr)
	}
	var side sync.WaitGroup
	for _, name := range o.engines {
		if o.short { // side by side
			side.Go(func() { each(name) })
		} else {
			each(name)
		}
	}
	side.Wait()
	return all, err
}

// on runs the rounds of one engine: those for whose sake the servers' clocks are
// fake last, on servers of their own.
func (o *options) on(ctx context.Context, name string, seed uint64) (all []*round.Result, err error) {
	for _, fake := range []bool{false, true} {
		var faults []round.Fault
		for _, f := range o.faults {
			if f.FakeClock == fake {
				faults = append(faults, f)
			}
		}
		if len(faults) == 0 {
			continue
		}
		results, err := o.withEngine(ctx, name, fake, func(c *engine.Cluster) ([]*round.Result, error) {
			return o.withFaults(ctx, c, faults, seed)
		})
		all = append(all, results...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// withEngine lets f use an engine, which is started for it.
func (o *options) withEngine(ctx context.Context, name string, fakeClock bool, f func(c *engine.Cluster) ([]*round.Result, error)) (results []*round.Result, err error) {
	// In the time zone of the nights in which clocks are set.
	c, err := engine.Start(ctx, name, engine.Options{Logf: o.logf, Env: []string{"TZ=Europe/Berlin"}, FakeClock: fakeClock})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	return f(c)
}

func (o *options) withFaults(ctx context.Context, c *engine.Cluster, faults []round.Fault, seed uint64) (all []*round.Result, err error) {
	for _, f := range faults {
		if !f.On(c.Name(), c.Nodes()) {
			continue
		}
		plan := o.plan(f, seed)
		if o.dir != "" {
			plan.Dir = filepath.Join(o.dir, fmt.Sprintf("%s-%s-%d", c.Name(), f.Name, seed))
		}
		r, err := round.Run(ctx, c, plan)
		if err != nil {
			return all, fmt.Errorf("%s, %s, seed %d: %w", c.Name(), f.Name, seed, err)
		}
		all = append(all, r)
		fmt.Println(r)
		for _, finding := range r.Findings {
			if r.Known == "" {
				fmt.Printf("    FOUND by the %s: %s\n", finding.Check, finding.Text)
			} else {
				fmt.Printf("    known, found by the %s: %s\n", finding.Check, finding.Text)
			}
		}
		if len(r.Findings) > 0 {
			fmt.Printf("    its history and a drawing: %s\n", r.Dir)
		}
	}
	return all, nil
}
