package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/proof/engine"
	"github.com/gox-helix/gox-helix/proof/mutant"
	"github.com/gox-helix/gox-helix/proof/round"
)

// caught is what came of a mutant on one engine.
type caught struct {
	Mutant, About string
	Engine        string
	Fault         string // of the round that found it
	Check         string // empty: it survived
	Text          string
	Operations    int // until it could be seen
	Rounds        int
}

func runMutants(ctx context.Context, args []string) error {
	var only list
	o, err := parse("mutants", args, func(f *flag.FlagSet) { f.Var(&only, "only", "these mutants (default: all)") })
	if err != nil {
		return err
	}
	for _, name := range only {
		if !slices.ContainsFunc(mutant.All(), func(m mutant.Mutant) bool { return m.Name == name }) {
			return badUsage("no mutant is called %q", name)
		}
	}
	results, err := o.mutants(ctx, only)
	if err != nil {
		return err
	}
	return survivors(results)
}

func survivors(results []caught) error {
	n := 0
	for _, r := range results {
		if r.Check == "" {
			n++
		}
	}
	fmt.Printf("%d mutants, %d survived\n", len(results), n)
	if n > 0 {
		return errFound
	}
	return nil
}

// A mutant that is not found in a round gets others, as many as this.
const mutantRounds = 6

// mutants lets every mutant be found, on each engine that it is for.
func (o *options) mutants(ctx context.Context, only []string) (results []caught, err error) {
	root, err := testserver.Root()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "txlock-mutants-")
	if err != nil {
		return nil, fmt.Errorf("a directory for the mutants: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs := map[string]string{}
	for _, name := range o.engines {
		var here []mutant.Mutant
		for _, m := range mutant.All() {
			if m.On(name) && (len(only) == 0 || slices.Contains(only, m.Name)) {
				here = append(here, m)
			}
		}
		if len(here) == 0 {
			continue
		}
		err := o.withEngine(ctx, name, false, func(c *engine.Cluster) error {
			for _, m := range here {
				program, built := programs[m.Name]
				if !built {
					var err error
					if program, err = m.Build(ctx, root, dir); err != nil {
						return err
					}
					programs[m.Name] = program
				}
				r, err := o.find(ctx, c, m, program)
				if err != nil {
					return err
				}
				results = append(results, r)
			}
			return nil
		})
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// find runs rounds with a mutant until something is found.
func (o *options) find(ctx context.Context, c *engine.Cluster, m mutant.Mutant, program string) (caught, error) {
	result := caught{Mutant: m.Name, About: m.About, Engine: c.Name()}
	for i := range mutantRounds {
		f, err := round.FaultNamed(m.Fault(i))
		if err != nil {
			return result, err
		}
		p := o.plan(f, o.seed+uint64(i))
		p.Program, p.Least = program, 1
		result.Rounds++
		r, err := round.Run(ctx, c, p)
		if err != nil {
			return result, fmt.Errorf("mutant %s on %s: %w", m.Name, c.Name(), err)
		}
		if len(r.Findings) == 0 {
			result.Operations += r.Total()
			continue
		}
		finding := r.Findings[0]
		for _, other := range r.Findings {
			if other.After > 0 { // it was seen before the end
				finding = other
				break
			}
		}
		if finding.After == 0 {
			finding.After = r.Total()
		}
		result.Operations += finding.After
		result.Fault, result.Check, result.Text = f.Name, finding.Check, finding.Text
		fmt.Printf("%s on %s: found by the %s, %s, after %d operations: %s\n", m.Name, c.Name(), finding.Check, f.Name, result.Operations, finding.Text)
		return result, os.RemoveAll(r.Dir)
	}
	fmt.Printf("%s on %s: SURVIVED %d operations\n", m.Name, c.Name(), result.Operations)
	return result, nil
}
