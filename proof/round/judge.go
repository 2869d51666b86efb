package round

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/proof/model"
	"github.com/gox-helix/gox-helix/proof/oracle"
)

// modelPatience is for how long one key's history may be judged.
const modelPatience = time.Minute

// The checks, as findings name them.
const (
	CheckHistory  = "history"
	CheckDatabase = "database"
	CheckRows     = "rows and history"
)

// judge makes of the history and the database what there is to find.
func (f *field) judge(ctx context.Context, r *Result) error {
	ops, err := history.Read(f.Dir)
	if err != nil {
		return err
	}
	r.Operations = map[history.Kind]map[history.Outcome]int{}
	unknown := 0
	for i := range ops {
		if r.Operations[ops[i].Kind] == nil {
			r.Operations[ops[i].Kind] = map[history.Outcome]int{}
		}
		r.Operations[ops[i].Kind][ops[i].Outcome]++
		if ops[i].Outcome == history.Unknown {
			unknown++
			if f.Fault.act == nil { // which leaves few of them
				f.note("unknown: %s of %q by client %d: %s", ops[i].Kind, ops[i].Key, ops[i].Client, ops[i].Error)
			}
		}
	}

	if err := withAdmin(ctx, f.servers, f.database, func(db *sql.DB) error {
		found, err := oracle.Check(ctx, db)
		if err != nil {
			return err
		}
		for _, finding := range found {
			r.Findings = append(r.Findings, Finding{Check: CheckDatabase, Text: finding.String()})
		}
		rows, err := oracle.Rows(ctx, db)
		if err != nil {
			return err
		}
		for _, finding := range oracle.Settle(ops, rows) {
			r.Findings = append(r.Findings, Finding{Check: CheckRows, Text: finding.String()})
		}
		r.Counters, err = oracle.Count(ctx, db, ops)
		return err
	}); err != nil {
		return err
	}
	for i := range ops {
		if ops[i].Outcome == history.Unknown {
			unknown--
		}
	}
	r.Resolved = unknown
	if lost := r.Counters.Fenced.Lost; lost > 0 {
		r.Findings = append(r.Findings, Finding{Check: CheckDatabase, Text: fmt.Sprintf("the fenced counters have lost %d increments", lost)})
	}
	return f.judgeHistory(ops, r)
}

func (f *field) judgeHistory(ops []history.Op, r *Result) error {
	rules := model.Rules{
		Clock: !f.Fault.wild,
		// A new primary may still have to catch up when it answers.
		Fresh: f.servers.Nodes() == 1 || !f.servers.MultiWriter() && !f.Fault.Cluster,
	}
	keys := map[string]bool{}
	for i := range ops {
		if ops[i].Kind != history.Purge && ops[i].Kind != history.Siege { // which are about none of them
			keys[ops[i].Key] = true
		}
	}
	r.Keys = len(keys)
	if rules.Clock {
		r.Findings = append(r.Findings, sieges(ops)...)
	}
	violations := rules.Check(ops, modelPatience)
	for i, v := range violations {
		if i == 0 {
			page := filepath.Join(f.Dir, "violation.html")
			if err := rules.Draw(v, modelPatience, page); err != nil {
				return err
			}
		}
		finding := Finding{Check: CheckHistory, Text: v.String()}
		if i := slices.IndexFunc(ops, func(op history.Op) bool { return op.ID == v.Culprit }); i >= 0 {
			finding.After = returnedBy(ops, &ops[i])
		}
		r.Findings = append(r.Findings, finding)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.After, b.After) })
	return nil
}

// sieges are leases that were lost to their own fences.
func sieges(ops []history.Op) (found []Finding) {
	for i, op := range ops {
		if op.Kind == history.Siege && op.Outcome == history.Lost {
			text := fmt.Sprintf("key %q: a lease was kept, and lost to its own fences, though each was short: %s", op.Key, op.Error)
			found = append(found, Finding{Check: CheckHistory, Text: text, After: returnedBy(ops, &ops[i])})
		}
	}
	return found
}

// returnedBy is how many operations had returned when this one had.
func returnedBy(ops []history.Op, op *history.Op) (n int) {
	for i := range ops {
		if ops[i].Return <= op.Return {
			n++
		}
	}
	return n
}
