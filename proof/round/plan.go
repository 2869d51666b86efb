package round

import (
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/proof/oracle"
)

// Plan is what a round is to be.
type Plan struct {
	Fault   Fault
	Seed    uint64
	Workers int
	Clients int // of each worker
	Keys    int // at a time
	TTL     time.Duration
	// Patience is how long an operation of a client may take: after that it ends it, and
	// may leave its outcome unknown.
	Patience time.Duration
	// Before, During and After are how long the load runs at least, on each side of
	// the fault and beside it; Least is how many operations must have been
	// acknowledged before and after it for the round to count.
	Before, During, After time.Duration
	Least                 int64
	Dir                   string // for the history; empty: a temporary one, which is kept if something is found
	Program               string // what is run to be a worker; empty: this program
	Logf                  func(format string, args ...any)
}

// Usual is a plan of a few seconds.
func Usual(f Fault, seed uint64) Plan {
	return Plan{
		Fault: f, Seed: seed, Workers: 3, Clients: 4, Keys: 6, TTL: 200 * time.Millisecond, Patience: 2 * time.Second,
		Before: 1500 * time.Millisecond, During: 4 * time.Second, After: 1500 * time.Millisecond, Least: 200,
	}
}

// Result is what came of a round.
type Result struct {
	Engine, Version string
	Fault           string
	Known           string // what the fault is known to show on this engine
	Seed            uint64
	Took            time.Duration
	Again           string // why it had to be run once more, if it had

	// Operations, by what they were and what came of them.
	Operations map[history.Kind]map[history.Outcome]int
	// Acknowledged operations before, beside and after the fault.
	Before, During, After int64
	Keys                  int // judged
	Resolved              int // operations of unknown outcome that the business rows have decided
	Cuts                  int64
	Counters              oracle.Counters

	// Findings are what is wrong. None, and the round has passed.
	Findings []Finding
	Dir      string // where the history is, if something was found
}

// Failed reports whether something was found that is not known.
func (r *Result) Failed() bool { return len(r.Findings) > 0 && r.Known == "" }

// Finding is something that must not be.
type Finding struct {
	// Check is what found it.
	Check string
	Text  string
	// After is how many operations had returned when it could be seen; zero: at the end.
	After int
}

// Outcomes sums the operations up by what came of them.
func (r *Result) Outcomes() map[history.Outcome]int {
	sums := map[history.Outcome]int{}
	for _, outcomes := range r.Operations {
		for o, n := range outcomes {
			sums[o] += n
		}
	}
	return sums
}

// Total is the number of operations.
func (r *Result) Total() int {
	n := 0
	for _, o := range r.Outcomes() {
		n += o
	}
	return n
}
