package model

import (
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
)

const ms = int64(time.Millisecond)

// told writes a history down: each operation at its time in milliseconds, one
// millisecond long unless it says otherwise.
func told(ops ...history.Op) []history.Op {
	for i := range ops {
		op := &ops[i]
		if op.ID == 0 {
			op.ID = int64(1000 + i)
		}
		op.Key, op.Client = "k", i
		if op.Outcome == "" {
			op.Outcome = history.OK
		}
		op.Call *= ms
		op.TTL *= ms
		switch {
		case op.Outcome == history.Unknown:
			op.Return = history.Pending
		case op.Return == 0:
			op.Return = op.Call + ms
		default:
			op.Return *= ms
		}
	}
	return ops
}

func acquired(id, at, epoch int64) history.Op {
	return history.Op{ID: id, Kind: history.Acquire, Call: at, Epoch: epoch, TTL: 1000, Owner: "a"}
}

func about(kind history.Kind, lease, at int64) history.Op {
	return history.Op{Kind: kind, Lease: lease, Call: at, TTL: 1000}
}

func locked(kind history.Kind, at, epoch int64) history.Op {
	return history.Op{ID: 7, Kind: kind, Call: at, Epoch: epoch}
}

func with(op history.Op, change func(*history.Op)) history.Op { change(&op); return op }

func unknown(op history.Op) history.Op {
	return with(op, func(op *history.Op) { op.Outcome = history.Unknown })
}

func came(op history.Op, o history.Outcome) history.Op {
	return with(op, func(op *history.Op) { op.Outcome = o })
}

var strict = Rules{Clock: true, Fresh: true}

func TestLegal(t *testing.T) {
	for name, ops := range map[string][]history.Op{
		"nothing":                        nil,
		"turns":                          told(acquired(1, 0, 1), about(history.Fence, 1, 10), about(history.Release, 1, 20), acquired(2, 30, 2), about(history.Renew, 2, 40)),
		"expiry":                         told(acquired(1, 0, 1), acquired(2, 1001, 2), came(about(history.Fence, 1, 1010), history.Lost)),
		"renewal after expiry":           told(acquired(1, 0, 1), about(history.Renew, 1, 1500), came(acquired(2, 2400, 0), history.Held)),
		"held":                           told(acquired(1, 0, 1), came(acquired(2, 500, 0), history.Held)),
		"an unknown acquisition":         told(unknown(acquired(1, 0, 1)), acquired(2, 1100, 2)),
		"one that did not happen":        told(unknown(acquired(1, 0, 1)), acquired(2, 100, 1)),
		"one that happens late":          told(unknown(acquired(1, 0, 2)), acquired(2, 100, 1), about(history.Release, 2, 200), acquired(3, 1300, 3)),
		"a killed one of unknown epoch":  told(unknown(acquired(1, 0, 0)), acquired(2, 1100, 2)),
		"an unknown release":             told(acquired(1, 0, 1), unknown(about(history.Release, 1, 10)), acquired(2, 20, 2)),
		"an unknown renewal":             told(acquired(1, 0, 1), unknown(about(history.Renew, 1, 900)), came(acquired(2, 1500, 0), history.Held), acquired(3, 1700, 2)),
		"revoked":                        told(acquired(1, 0, 1), about(history.Revoke, 0, 10), came(about(history.Fence, 1, 20), history.Lost), acquired(2, 30, 3)),
		"retired and purged":             told(acquired(1, 0, 1), about(history.Release, 1, 10), about(history.Retire, 0, 20), came(about(history.Inspect, 0, 30), history.NotFound), acquired(2, 40, 9)),
		"revoked without a row":          told(about(history.Revoke, 0, 0), acquired(1, 10, 1)),
		"retired without a row":          told(about(history.Retire, 0, 0), acquired(1, 10, 1)),
		"locks":                          told(locked(history.Lock, 0, 3), with(acquired(1, 10, 4), func(op *history.Op) { op.TTL = 10 }), with(locked(history.Share, 30, 5), func(op *history.Op) { op.ID = 8 })),
		"locks of their own epochs":      told(locked(history.EpochLock, 0, 1), with(locked(history.EpochLock, 10, 2), func(op *history.Op) { op.ID = 8 })),
		"a lock of a retired key":        told(acquired(1, 0, 5), about(history.Release, 1, 10), about(history.Retire, 0, 20), locked(history.Lock, 30, 9), came(about(history.Inspect, 0, 40), history.NotFound)),
		"reclaimed":                      told(acquired(1, 0, 1), with(acquired(2, 10, 2), func(op *history.Op) { op.Reclaim = true })),
		"side by side, in another order": told(with(acquired(1, 0, 2), func(op *history.Op) { op.Return = 50 }), history.Op{Kind: history.EpochLock, Call: 10, Epoch: 1}),
		"kept":                           told(with(acquired(1, 0, 1), func(op *history.Op) { op.Kept = true }), came(acquired(2, 5000, 0), history.Held), about(history.Trust, 1, 6000)),
		"read":                           told(acquired(1, 0, 1), history.Op{Kind: history.Inspect, Call: 10, Epoch: 1, Status: 1}),
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range strict.Check(ops, time.Minute) {
				t.Error(v)
			}
		})
	}
}

func TestIllegal(t *testing.T) {
	for name, c := range map[string]struct {
		ops     []history.Op
		culprit int64
		least   int
	}{
		"an epoch twice":             {told(acquired(1, 0, 1), about(history.Release, 1, 10), acquired(2, 20, 1)), 2, 3},
		"an epoch left out":          {told(acquired(1, 0, 1), about(history.Release, 1, 10), acquired(2, 20, 3)), 2, 3},
		"an epoch back after purge":  {told(acquired(1, 0, 5), about(history.Release, 1, 10), about(history.Retire, 0, 20), acquired(2, 30, 5)), 2, 4},
		"taken over before its end":  {told(acquired(1, 0, 1), acquired(2, 900, 2)), 2, 2},
		"taken over after a renewal": {told(acquired(1, 0, 1), about(history.Renew, 1, 900), acquired(2, 1500, 2)), 2, 3},
		"held though over":           {told(acquired(1, 0, 1), came(acquired(2, 1100, 0), history.Held)), 2, 2},
		"held though released":       {told(acquired(1, 0, 1), about(history.Release, 1, 10), came(acquired(2, 20, 0), history.Held)), 2, 3},
		"held though one's own":      {told(acquired(1, 0, 1), came(with(acquired(2, 10, 0), func(op *history.Op) { op.Reclaim = true }), history.Held)), 2, 2},
		"a late fence":               {told(acquired(1, 0, 1), about(history.Fence, 1, 500), acquired(2, 1100, 2), with(about(history.Fence, 1, 1200), func(op *history.Op) { op.ID = 7 })), 7, 3},
		"a late renewal":             {told(acquired(1, 0, 1), acquired(2, 1100, 2), with(about(history.Renew, 1, 1200), func(op *history.Op) { op.ID = 7 })), 7, 3},
		"a late release":             {told(acquired(1, 0, 1), acquired(2, 1100, 2), with(about(history.Release, 1, 1200), func(op *history.Op) { op.ID = 7 })), 7, 3},
		"a fence after revocation":   {told(acquired(1, 0, 1), about(history.Revoke, 0, 10), with(about(history.Fence, 1, 20), func(op *history.Op) { op.ID = 7 })), 7, 3},
		"a fence after release":      {told(acquired(1, 0, 1), about(history.Release, 1, 10), with(about(history.Fence, 1, 20), func(op *history.Op) { op.ID = 7 })), 7, 3},
		"lost though standing":       {told(acquired(1, 0, 1), came(with(about(history.Fence, 1, 20), func(op *history.Op) { op.ID = 7 }), history.Lost)), 7, 2},
		"trusted though taken over":  {told(acquired(1, 0, 1), acquired(2, 1100, 2), with(about(history.Trust, 1, 1200), func(op *history.Op) { op.ID = 7 })), 7, 3},
		"retired though held":        {told(acquired(1, 0, 1), with(about(history.Retire, 0, 20), func(op *history.Op) { op.ID = 7 })), 7, 2},
		"a lock though held":         {told(acquired(1, 0, 1), locked(history.EpochLock, 10, 2)), 7, 2},
		"a shared one though held":   {told(acquired(1, 0, 1), locked(history.Share, 10, 1)), 7, 2},
		"a lock of an old epoch":     {told(acquired(1, 0, 2), about(history.Release, 1, 10), locked(history.Lock, 20, 1)), 7, 3},
		"a lock of the next epoch":   {told(acquired(1, 0, 2), about(history.Release, 1, 10), locked(history.Lock, 20, 3)), 7, 3},
		"an expired lease passed by": {told(acquired(1, 0, 1), locked(history.Lock, 1100, 1)), 7, 2},
		"a fence after a lock":       {told(acquired(1, 0, 1), with(locked(history.Lock, 1100, 2), func(op *history.Op) { op.ID = 8 }), with(about(history.Fence, 1, 1200), func(op *history.Op) { op.ID = 7 })), 7, 3},
		"gone though not purged":     {told(acquired(1, 0, 1), history.Op{ID: 7, Kind: history.Inspect, Call: 10, Outcome: history.NotFound}), 7, 2},
		"an old read":                {told(acquired(1, 0, 1), about(history.Release, 1, 10), history.Op{ID: 7, Kind: history.Inspect, Call: 20, Epoch: 1, Status: 1}), 7, 3},
		"an unknown one both ways":   {told(unknown(acquired(1, 0, 1)), acquired(2, 1100, 2), about(history.Release, 2, 1200), acquired(3, 1300, 2)), 3, 4},
		"never happened, and used":   {told(unknown(acquired(1, 0, 1)), acquired(2, 10, 1), with(about(history.Fence, 1, 20), func(op *history.Op) { op.ID = 7 })), 7, 3},
	} {
		t.Run(name, func(t *testing.T) {
			found := strict.Check(c.ops, time.Minute)
			if len(found) != 1 || found[0].Undecided || found[0].Culprit != c.culprit || len(found[0].Ops) != c.least {
				t.Fatalf("found %v, wanted operation %d of %d", found, c.culprit, c.least)
			}
			path := t.TempDir() + "/drawn.html"
			if err := strict.Draw(found[0], time.Minute, path); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a run does not allow to be judged is not held against it.
func TestLenient(t *testing.T) {
	early := told(acquired(1, 0, 1), acquired(2, 900, 2), about(history.Trust, 1, 1000))
	if found := (Rules{Fresh: true}).Check(early, time.Minute); len(found) != 0 {
		t.Error(found)
	}
	old := told(acquired(1, 0, 1), about(history.Release, 1, 10), history.Op{ID: 7, Kind: history.Inspect, Call: 20, Epoch: 1, Status: 1})
	if found := (Rules{Clock: true}).Check(old, time.Minute); len(found) != 0 {
		t.Error(found)
	}
}
