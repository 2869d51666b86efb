// Package model says what a key with fenced leases may do, and checks histories
// against it with porcupine: whether there is an order of the operations, within
// the times of their calls and returns, in which each could have had the outcome
// that its client saw.
package model

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/gox-helix/gox-helix/proof/history"
)

// Violation is a key whose history no order explains, or none was found in time.
type Violation struct {
	Key       string
	Undecided bool
	// Ops is the history, minimized: without Culprit it can be explained.
	Ops     []history.Op
	Culprit int64 // the ID of an operation
}

func (v *Violation) String() string {
	if v.Undecided {
		return fmt.Sprintf("key %q: %d operations could not be judged in time", v.Key, len(v.Ops))
	}
	i := slices.IndexFunc(v.Ops, func(op history.Op) bool { return op.ID == v.Culprit })
	op := &v.Ops[i]
	return fmt.Sprintf("key %q: no order of %d operations explains %s of operation %d (worker %d, client %d)", v.Key, len(v.Ops), describe(op), op.ID, op.Worker, op.Client)
}

// Draw writes a page that shows the history, for a browser.
func (r Rules) Draw(v *Violation, patience time.Duration, path string) error {
	m := r.model()
	_, info := porcupine.CheckOperationsVerbose(m, operations(v.Ops, lastReturn(v.Ops)), patience)
	if err := porcupine.VisualizePath(m, info, path); err != nil {
		return fmt.Errorf("drawing the history of %q: %w", v.Key, err)
	}
	return nil
}

func lastReturn(ops []history.Op) int64 {
	end := int64(0)
	for i := range ops {
		if ops[i].Return != history.Pending {
			end = max(end, ops[i].Return)
		}
	}
	return end
}

// Check judges a history, each key for at most patience.
func (r Rules) Check(ops []history.Op, patience time.Duration) []*Violation {
	end := lastReturn(ops)
	byKey := map[string][]history.Op{}
	for _, op := range ops {
		if r.says(&op) {
			byKey[op.Key] = append(byKey[op.Key], op)
		}
	}
	var found []*Violation
	for key, ops := range byKey {
		switch r.verdict(ops, end, patience) {
		case porcupine.Ok:
		case porcupine.Illegal:
			v := &Violation{Key: key}
			v.Ops, v.Culprit = r.minimize(ops, end, patience)
			found = append(found, v)
		default:
			found = append(found, &Violation{Key: key, Ops: ops, Undecided: true})
		}
	}
	slices.SortFunc(found, func(a, b *Violation) int { return cmp.Compare(a.Key, b.Key) })
	return found
}

// says reports whether the outcome says something about its key.
func (r Rules) says(op *history.Op) bool {
	switch {
	case op.Kind == history.Bump || op.Kind == history.Siege || op.Kind == history.Purge:
		return false
	case op.Outcome == history.OK:
		return (op.Kind != history.Trust || r.Clock) && (op.Kind != history.Inspect || r.Fresh)
	case op.Outcome == history.Unknown:
		return op.Kind.Changes()
	case op.Outcome == history.Held || op.Outcome == history.Lost || op.Outcome == history.NotFound:
		return r.Fresh
	}
	return false
}

func (r Rules) verdict(ops []history.Op, end int64, patience time.Duration) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(r.model(), operations(ops, end), patience)
}

func operations(ops []history.Op, end int64) []porcupine.Operation {
	all := make([]porcupine.Operation, len(ops))
	for i := range ops {
		op := &ops[i]
		all[i] = porcupine.Operation{ClientId: op.Client, Input: op, Output: op.Outcome, Call: op.Call, Return: op.Return}
		if op.Outcome == history.Unknown || op.Return == history.Pending {
			all[i].Return = max(end, op.Call) + 1 // at any time until all is over
		}
	}
	return all
}

func (r Rules) model() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{state{status: absent, loose: true}} },
		Step: func(s, input, _ any) []any {
			var next []any
			for _, n := range r.step(as[state](s), as[*history.Op](input)) {
				next = append(next, n)
			}
			return next
		},
		DescribeOperation: func(input, _ any) string { return describe(as[*history.Op](input)) },
		DescribeState:     func(s any) string { return as[state](s).String() },
	}
	return m.ToModel()
}

// as is what porcupine was given, and gives back.
func as[T any](v any) T {
	t, ok := v.(T)
	if !ok {
		panic(fmt.Sprintf("model: %T in place of %T", v, t))
	}
	return t
}

func describe(op *history.Op) string {
	text := string(op.Kind)
	if op.Lease != 0 {
		text += fmt.Sprintf("(lease %d)", op.Lease)
	} else if op.Kind == history.Acquire || op.Kind == history.AcquireTx {
		text += fmt.Sprintf("(%s)", time.Duration(op.TTL))
	}
	text += ": " + string(op.Outcome)
	if op.Epoch != 0 {
		text += fmt.Sprintf(", epoch %d", op.Epoch)
	}
	return text
}

// minimize cuts an illegal history down to one that is illegal still, and returns the
// operation without which it can be explained: first off its end, then what only
// looked and changed nothing, which can be left out without making anything up.
func (r Rules) minimize(ops []history.Op, end int64, patience time.Duration) (least []history.Op, culprit int64) {
	illegal := func(ops []history.Op) bool { return r.verdict(ops, end, patience) == porcupine.Illegal }
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b history.Op) int { return cmp.Compare(returned(&a), returned(&b)) })
	low, high := 0, len(ops) // so many can be explained, so many cannot
	for low+1 < high {
		if mid := (low + high) / 2; illegal(prefix(ops, mid)) {
			high = mid
		} else {
			low = mid
		}
	}
	culprit = ops[high-1].ID
	least = prefix(ops, high)
	for i := len(least) - 1; i >= 0; i-- {
		if changes(&least[i]) || least[i].ID == culprit {
			continue
		}
		if without := slices.Delete(slices.Clone(least), i, i+1); illegal(without) {
			least = without
		}
	}
	return least, culprit
}

// prefix is what was known when the n-th operation returned: what was under way
// then may or may not happen.
func prefix(byReturn []history.Op, n int) []history.Op {
	kept := byReturn[:n:n]
	if n == 0 {
		return kept
	}
	for _, op := range byReturn[n:] {
		if op.Call <= returned(&kept[n-1]) && changes(&op) {
			op.Outcome, op.Return = history.Unknown, history.Pending
			kept = append(kept, op)
		}
	}
	return kept
}

func returned(op *history.Op) int64 {
	if op.Outcome == history.Unknown {
		return history.Pending
	}
	return op.Return
}

// changes reports whether an operation may have changed something.
func changes(op *history.Op) bool {
	return op.Kind.Changes() && (op.Outcome == history.OK || op.Outcome == history.Unknown)
}
