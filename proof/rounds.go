package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
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
		again := "" // why the first of faults has to be run once more
		for len(faults) > 0 {
			results, left, err := o.withFaults(ctx, name, faults, seed)
			if len(results) > 0 {
				results[0].Again, again = again, ""
			}
			all = append(all, results...)
			if err != nil && (ctx.Err() != nil || again != "") {
				return all, err
			}
			if err != nil { // on servers that nothing was done to
				fmt.Printf("%v: once more\n", err)
				again = err.Error()
				seed++
			}
			faults = left
		}
	}
	return all, nil
}

// withEngine lets f use an engine, which is started for it.
func (o *options) withEngine(ctx context.Context, name string, fakeClock bool, f func(c *engine.Cluster) error) (err error) {
	// In the time zone of the nights in which clocks are set.
	options := engine.Options{Logf: o.logf, Env: []string{"TZ=Europe/Berlin"}, FakeClock: fakeClock}
	if strings.HasPrefix(name, "gr-") {
		// Else a busy machine looks like a node that is gone.
		options.ServerArgs = []string{"--loose-group-replication-member-expel-timeout=3"}
	}
	c, err := engine.Start(ctx, name, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	return f(c)
}

// withFaults runs rounds on an engine, and returns those that are left when one could
// not be run, or did not count.
func (o *options) withFaults(ctx context.Context, name string, faults []round.Fault, seed uint64) (all []*round.Result, left []round.Fault, err error) {
	left = faults
	err = o.withEngine(ctx, name, faults[0].FakeClock, func(c *engine.Cluster) error {
		for len(left) > 0 {
			if f := left[0]; f.On(c.Name(), c.Nodes()) {
				r, err := o.round(ctx, c, f, seed)
				if err != nil {
					return fmt.Errorf("%s, %s, seed %d: %w", c.Name(), f.Name, seed, err)
				}
				all = append(all, r)
			}
			left = left[1:]
		}
		return nil
	})
	return all, left, err
}

// round runs one, and says what came of it.
func (o *options) round(ctx context.Context, c *engine.Cluster, f round.Fault, seed uint64) (*round.Result, error) {
	plan := o.plan(f, seed)
	if o.dir != "" {
		plan.Dir = filepath.Join(o.dir, fmt.Sprintf("%s-%s-%d", c.Name(), f.Name, seed))
	}
	r, err := round.Run(ctx, c, plan)
	if err != nil {
		return nil, err
	}
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
	return r, nil
}
