package fuzz_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// FuzzRequests is FuzzNames and FuzzTTL at the speed of a database that answers at
// once: what is sent has the key, the owner and the time to live byte for byte, and
// what is invalid is not sent.
func FuzzRequests(f *testing.F) {
	for i, pair := range pairsOfNames() {
		f.Add(pair[0], pair[1], int64(time.Millisecond)<<(3*i%43), strings.Join([]string{pair[0], pair[1], "c"}, "\x1e"), uint8(i))
	}
	f.Fuzz(func(t *testing.T, key, owner string, nanos int64, list string, choice uint8) {
		r := newRequests(t, cut(owner))
		if r == nil {
			return
		}
		r.one(cut(key), time.Duration(nanos), choice)
		r.many(strings.Split(list, "\x1e"), time.Duration(nanos), choice)
	})
}

// requests are what a Locker sends to a fake database.
type requests struct {
	*testing.T
	locker *txlock.Locker
	db     *sql.DB
	owner  string
	sent   atomic.Int64
	args   []any // of the statement that was sent last
}

// newRequests is nil for an owner that is refused.
func newRequests(t *testing.T, owner string) *requests {
	t.Helper()
	r := &requests{T: t, owner: owner}
	r.db = sql.OpenDB(&fake{answer: r.answer})
	t.Cleanup(func() { must(t, r.db.Close()) })
	locker, err := txlock.New(r.db, txlock.WithOwner(owner))
	if !valid(owner) {
		if !isInvalid(err, txlock.ErrInvalidArgument) {
			t.Fatalf("owner %q: got %v", owner, err)
		}
		return nil
	}
	must(t, err)
	r.locker = locker
	return r
}

// answer grants everything.
func (r *requests) answer(name string, args []driver.NamedValue) answer {
	r.sent.Add(1)
	r.args = nil
	for _, a := range args {
		r.args = append(r.args, a.Value)
	}
	switch name {
	case "LockKeys":
		a := answer{}
		for i := range r.batch(r.args) {
			a.rows = append(a.rows, []driver.Value{int64(i), []byte("another"), int64(i), int64(0), int64(-1)})
		}
		return a
	case "AcquireLeases":
		return answer{affected: int64(len(r.batch(r.args)))}
	case "VerifyLease":
		return answer{rows: [][]driver.Value{{int64(1)}}}
	case "ClusterVariables":
		return answer{}
	case "LockKey", "LockKeyNoWait":
		return answer{rows: [][]driver.Value{{int64(0)}}}
	case "ShareKey":
		return answer{rows: [][]driver.Value{{int64(0), int64(-1), int64(0)}}}
	case "ListKeys":
		return answer{rows: [][]driver.Value{{unhex(r.T, r.args[0]), []byte(r.owner), int64(1), int64(1), int64(1), int64(1), int64(1), int64(1)}}}
	}
	return answer{insertID: 1, affected: 1}
}

func unhex(t *testing.T, digits any) []byte {
	t.Helper()
	var b []byte
	_, err := fmt.Sscanf(fmt.Sprint(digits), "%x", &b)
	must(t, err)
	return b
}

func (r *requests) begin() *sql.Tx {
	r.Helper()
	tx, err := r.db.BeginTx(r.Context(), nil)
	must(r.T, err)
	return tx
}

// says fails the test unless the last statement has this argument.
func (r *requests) says(what string, want any) {
	r.Helper()
	if !slices.Contains(r.args, want) {
		r.Fatalf("%s: %v is not among what was sent: %v", what, want, r.args)
	}
}

// named fails the test unless the last statement names the key, and where it is to,
// this owner.
func (r *requests) named(key string, byOwner bool) {
	r.Helper()
	for name, is := range map[string]bool{key: true, r.owner: byOwner} {
		found := false
		for _, a := range r.args {
			digits, ok := a.(string)
			found = found || ok && strings.EqualFold(digits, hexOf(name))
		}
		if found != is && (is || r.owner != key && r.owner != key+"\x00") { // ListKeys has the latter as a bound
			r.Fatalf("%q: %v in what was sent: %v", name, found, r.args)
		}
	}
}

// one asks for one key in every way there is.
func (r *requests) one(key string, ttl time.Duration, choice uint8) {
	r.Helper()
	ctx, tx := r.Context(), r.begin()
	defer func() { must(r.T, tx.Rollback()) }()
	if !valid(key) {
		for name, call := range callsWithKey(tx) {
			if err := call(ctx, r.locker, key); !isInvalid(err, txlock.ErrInvalidKey) || r.sent.Load() != 0 {
				r.Fatalf("%s of %q: got %v, with %d statements sent", name, key, err, r.sent.Load())
			}
		}
		return
	}
	opts := []txlock.AcquireOption{txlock.TTL(ttl)}
	if choice&1 != 0 {
		opts = append(opts, txlock.Reclaim())
	}
	lease, err := r.locker.AcquireTx(ctx, tx, key, opts...)
	if !isTTL(ttl) {
		if !isInvalid(err, txlock.ErrInvalidTTL) || r.sent.Load() != 0 {
			r.Fatalf("TTL(%d): got %v, with %d statements sent", ttl, err, r.sent.Load())
		}
		ttl = hour
		lease, err = r.locker.AcquireTx(ctx, tx, key)
	}
	must(r.T, err)
	if lease.Key() != key || lease.Owner() != r.owner {
		r.Fatalf("a lease of %q by %q", lease.Key(), lease.Owner())
	}
	r.named(key, true)
	must(r.T, lease.RenewTx(ctx, tx))
	r.named(key, false)
	if isTTL(ttl) && lease.Deadline().IsZero() {
		r.Fatal("no deadline")
	}
	must(r.T, lease.VerifyTx(ctx, tx))
	r.named(key, false)
	must(r.T, lease.ReleaseTx(ctx, tx))
	r.named(key, false)
	must(r.T, r.locker.LockTx(ctx, tx, key))
	r.named(key, false)
	if choice&2 != 0 {
		must(r.T, r.locker.LockTx(ctx, tx, key, txlock.NoWait()))
	} else {
		must(r.T, r.locker.LockTx(ctx, tx, key, txlock.Shared()))
	}
	r.named(key, false)
	must(r.T, r.locker.LockTx(ctx, tx, key, txlock.NewEpoch()))
	r.named(key, true)
	must(r.T, r.locker.Revoke(ctx, key))
	r.named(key, false)
	must(r.T, r.locker.Retire(ctx, key))
	r.named(key, false)
	info, err := r.locker.Inspect(ctx, key)
	must(r.T, err)
	r.named(key, false)
	if info.Key != key || info.Owner != r.owner {
		r.Fatalf("%q of %q came back as %+v", key, r.owner, info)
	}
	must(r.T, r.locker.Do(ctx, key, func(context.Context, *sql.Tx) error { return nil }))
	lease, err = r.locker.TryAcquire(ctx, key, txlock.TTL(min(ttl.Abs(), hour)+time.Millisecond))
	must(r.T, err)
	r.says("TTL", (min(ttl.Abs(), hour) + time.Millisecond).Microseconds())
	must(r.T, lease.Release(ctx))
}

// many asks for many keys at once.
func (r *requests) many(keys []string, ttl time.Duration, choice uint8) {
	r.Helper()
	if choice&4 != 0 { // several statements
		for i := range 300 * int(choice) % 2300 {
			keys = append(keys, fmt.Sprintf("key %d", i))
		}
	}
	var kind error
	if !isTTL(ttl) {
		kind = txlock.ErrInvalidTTL
	}
	seen := make(map[string]bool)
	for _, key := range keys { // the first one that is wrong says what is wrong
		if !valid(key) {
			kind = txlock.ErrInvalidKey
			break
		}
		if seen[key] {
			kind = txlock.ErrInvalidArgument
			break
		}
		seen[key] = true
	}
	tx := r.begin()
	defer func() { must(r.T, tx.Rollback()) }()
	before := r.sent.Load()
	leases, err := r.locker.AcquireManyTx(r.Context(), tx, keys, txlock.TTL(ttl))
	sent := r.sent.Load() - before
	if kind != nil {
		if !isInvalid(err, kind) || sent != 0 {
			r.Fatalf("%d keys, TTL(%d): got %v, want %v; %d statements were sent", len(keys), ttl, err, kind, sent)
		}
		return
	}
	must(r.T, err)
	chunks := (len(keys) + 999) / 1000
	if sent != int64(3*chunks) {
		r.Fatalf("%d statements for %d keys", sent, len(keys))
	}
	r.says("TTL", ttl.Microseconds())
	sorted := slices.Sorted(slices.Values(keys))
	last := sorted[1000*(chunks-1):]
	if got := r.batch(r.args); !slices.Equal(got, last) {
		r.Fatalf("%d keys were sent as %q", len(last), got)
	}
	for i, le := range leases {
		place, _ := slices.BinarySearch(sorted, keys[i])
		if le.Key() != keys[i] || le.Epoch() != int64(place%1000+1) {
			r.Fatalf("lease %d is of %q, epoch %d; want %q, epoch %d", i, le.Key(), le.Epoch(), keys[i], place%1000+1)
		}
	}
}

// batch are the keys of a statement for many: see lockdb.Batch.
func (r *requests) batch(args []any) (keys []string) {
	r.Helper()
	for _, a := range args {
		var entries [][3]json.RawMessage
		if text, ok := a.(string); !ok || json.Unmarshal([]byte(text), &entries) != nil {
			continue
		}
		for _, e := range entries {
			var digits string
			must(r.T, json.Unmarshal(e[0], &digits))
			keys = append(keys, string(unhex(r.T, digits)))
		}
		return keys
	}
	r.Fatalf("no argument of %v is a batch", args)
	return nil
}
