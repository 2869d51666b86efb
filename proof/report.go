package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/proof/round"
)

// runReport is the command report: everything, and the file that says what came of it.
func runReport(ctx context.Context, args []string) error {
	var out string
	o, err := parse("report", args, func(f *flag.FlagSet) { f.StringVar(&out, "out", "REPORT.md", "the file to write") })
	if err != nil {
		return err
	}
	began := time.Now()
	results, err := o.rounds(ctx)
	if err != nil {
		return err
	}
	mutants, err := o.mutants(ctx, nil)
	if err != nil {
		return err
	}
	r := report{seed: o.seed, took: time.Since(began), rounds: results, mutants: mutants}
	if err := os.WriteFile(out, r.text(), 0o600); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	fmt.Println(out)
	return firstError(verdict(results), survivors(mutants))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// report is what came of everything.
type report struct {
	seed    uint64
	took    time.Duration
	rounds  []*round.Result
	mutants []caught

	bytes.Buffer
}

func (r *report) say(format string, args ...any) { fmt.Fprintf(&r.Buffer, format+"\n", args...) }

func (r *report) text() []byte {
	r.say("# What the proof found")
	r.say("")
	r.say("Written by `make proof` on %s, on %d cores, with %s, in %s, from seed %d. What it does and how to read this: [README.md](README.md).",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), r.took.Round(time.Second), r.seed)
	r.say("")
	r.summary()
	r.counters()
	for _, engine := range r.engines() {
		r.engine(engine)
	}
	r.known()
	r.repeated()
	r.survey()
	return r.Bytes()
}

// engines are those of the rounds, in their order.
func (r *report) engines() []string {
	var names []string
	for _, res := range r.rounds {
		if !slices.Contains(names, res.Engine) {
			names = append(names, res.Engine)
		}
	}
	return names
}

func (r *report) of(engine string) []*round.Result {
	var some []*round.Result
	for _, res := range r.rounds {
		if res.Engine == engine {
			some = append(some, res)
		}
	}
	return some
}

func (r *report) summary() {
	r.say("| engine | version | rounds | operations | acknowledged | refused | aborted | unknown | keys judged | rounds in which something was found |")
	r.say("|---|---|---|---|---|---|---|---|---|---|")
	var all tally
	for _, engine := range r.engines() {
		var t tally
		for _, res := range r.of(engine) {
			t.add(res)
		}
		all.join(t)
		r.say("| %s | %s | %s |", engine, r.of(engine)[0].Version, t.cells())
	}
	r.say("| all | | %s |", all.cells())
	r.say("")
}

// tally sums rounds up. Those of which it is known what they show are left out.
type tally struct {
	rounds, operations, keys, found, resolved int
	outcomes                                  map[history.Outcome]int
}

func (t *tally) add(res *round.Result) {
	if res.Known != "" {
		return
	}
	one := tally{rounds: 1, operations: res.Total(), keys: res.Keys, resolved: res.Resolved, outcomes: res.Outcomes()}
	if res.Failed() {
		one.found = 1
	}
	t.join(one)
}

func (t *tally) join(other tally) {
	t.rounds += other.rounds
	t.operations += other.operations
	t.keys += other.keys
	t.found += other.found
	t.resolved += other.resolved
	if t.outcomes == nil {
		t.outcomes = map[history.Outcome]int{}
	}
	for o, n := range other.outcomes {
		t.outcomes[o] += n
	}
}

func (t *tally) cells() string {
	return fmt.Sprintf("%d | %s | %s | %s | %s | %s | %s | %d", t.rounds, thousands(t.operations), thousands(t.outcomes[history.OK]),
		thousands(refused(t.outcomes)), thousands(t.outcomes[history.Aborted]), thousands(t.outcomes[history.Unknown]), thousands(t.keys), t.found)
}

func refused(outcomes map[history.Outcome]int) int {
	return outcomes[history.Held] + outcomes[history.Lost] + outcomes[history.NotFound] + outcomes[history.Busy]
}

// thousands writes a number with commas.
func thousands[N int | int64](n N) string {
	digits := fmt.Sprint(n)
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}

func (r *report) counters() {
	r.say("## Two counters")
	r.say("")
	r.say("Both are read, incremented and written back by whoever has the key: one under the lease alone, as long as the client believes in it, the other in a transaction that the lease fences (or a lock protects). Lost are increments that were acknowledged and are certainly not in the counter at the end.")
	r.say("")
	r.say("| engine | | under the lease only: acknowledged | lost | fenced: acknowledged | lost |")
	r.say("|---|---|---|---|---|---|")
	for _, engine := range r.engines() {
		var paused, all [4]int64
		for _, res := range r.of(engine) {
			if res.Known != "" {
				continue
			}
			c := res.Counters
			for i, n := range []int64{c.Leased.Acknowledged, c.Leased.Lost, c.Fenced.Acknowledged, c.Fenced.Lost} {
				all[i] += n
				if res.Fault == "pause-workers" {
					paused[i] += n
				}
			}
		}
		r.say("| %s | holders paused beyond their TTL | %s | **%s** | %s | **%s** |", engine, thousands(paused[0]), thousands(paused[1]), thousands(paused[2]), thousands(paused[3]))
		r.say("| | all rounds | %s | **%s** | %s | **%s** |", thousands(all[0]), thousands(all[1]), thousands(all[2]), thousands(all[3]))
	}
	r.say("")
}

func (r *report) engine(name string) {
	r.say("## %s, %s", name, r.of(name)[0].Version)
	r.say("")
	r.say("| fault | what happens | operations | acknowledged before / beside / after it | refused | aborted | rolled back | failed, or out of time | unknown (decided by their rows) | found |")
	r.say("|---|---|---|---|---|---|---|---|---|---|")
	for _, res := range r.of(name) {
		if res.Known != "" {
			continue
		}
		about := ""
		if f, err := round.FaultNamed(res.Fault); err == nil {
			about = f.About
		}
		found := "nothing"
		if len(res.Findings) > 0 {
			found = fmt.Sprintf("**%d**: %s", len(res.Findings), res.Findings[0].Text)
		}
		o := res.Outcomes()
		r.say("| %s | %s | %s | %s / %s / %s | %s | %s | %s | %s | %d (%d) | %s |", res.Fault, about, thousands(res.Total()), thousands(res.Before), thousands(res.During), thousands(res.After),
			thousands(refused(o)), thousands(o[history.Aborted]), thousands(o[history.RolledBack]), thousands(o[history.Failed]+o[history.Ended]), o[history.Unknown], res.Resolved, found)
	}
	r.say("")
}

// known is what engines are known not to do.
func (r *report) known() {
	r.say("## What is known not to hold")
	r.say("")
	for _, res := range r.rounds {
		if res.Known == "" {
			continue
		}
		r.say("- %s, %s: %s. In %s operations, %d findings:", res.Engine, res.Fault, res.Known, thousands(res.Total()), len(res.Findings))
		seen := map[string]bool{}
		for _, f := range res.Findings {
			if !seen[f.Check] {
				r.say("  - by the %s: %s", f.Check, f.Text)
			}
			seen[f.Check] = true
		}
	}
	r.say("")
}

// repeated says what could not be run, or did not count, at first.
func (r *report) repeated() {
	head := "## Rounds that did not count, and were run once more"
	for _, res := range r.rounds {
		if res.Again == "" {
			continue
		}
		if head != "" {
			r.say("%s\n", head)
			head = ""
		}
		r.say("- %s", strings.ReplaceAll(res.Again, "\n", " "))
	}
	if head == "" {
		r.say("")
	}
}

func (r *report) survey() {
	r.say("## Mutants")
	r.say("")
	r.say("The same load, by workers whose library has one rule broken. Operations are those of all clients, until the one at whose return it could be seen.")
	r.say("")
	r.say("| mutant | what is wrong with it | engine | found by the | fault | operations |")
	r.say("|---|---|---|---|---|---|")
	for _, m := range r.mutants {
		if m.Check == "" {
			r.say("| %s | %s | %s | **nothing** | | %s |", m.Mutant, m.About, m.Engine, thousands(m.Operations))
			continue
		}
		r.say("| %s | %s | %s | %s | %s | %s |", m.Mutant, m.About, m.Engine, m.Check, m.Fault, thousands(m.Operations))
	}
	r.say("")
}
