package fuzz_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// valid says, in words of its own, what a key or an owner may be.
func valid(name string) bool { return len(name) >= 1 && len(name) <= 255 }

// cut shortens what the fuzzer makes where it is of no use any more.
func cut(name string) string { return name[:min(len(name), 300)] }

// pairsOfNames are names that something between a program and a row could take for
// one, or for something else.
func pairsOfNames() [][2]string {
	long := strings.Repeat("k", 254)
	return [][2]string{
		{"a", "A"},
		{"a", "a "},
		{"a", "a\x00"},
		{"\x00", "\x00\x00"},
		{"é", "e\u0301"},
		{"ß", "ss"},
		{"\xff", "\xfe"},
		{"\x83\x5c", "\x83"}, // sjis, whose second byte is a backslash
		{"\xbf\x27", "\xbf\x5c\x27"},
		{"1", "01"},
		{"1e0", "1"},
		{"0x61", "a"},
		{"%", "_"},
		{"'", `"`},
		{`\`, `\\`},
		{"plumless", "buckeroo"}, // of one CRC32
		{long + "a", long + "b"},
		{long + "a", long + "ab"},
		{strings.Repeat("\xff", 255), strings.Repeat("\xff", 256)},
		{strings.Repeat("\x00", 300), ""},
		{"", " "},
		{"same", "same"},
	}
}

// FuzzNames: of any two keys and owners, valid ones come back byte for byte and
// exclude each other if and only if they are the same bytes; others are refused
// before anything is sent.
func FuzzNames(f *testing.F) {
	for i, keys := range pairsOfNames() {
		for j, owners := range pairsOfNames() {
			if i == j || (i+j)%7 == 0 { // each with each would take too long
				f.Add(keys[0], keys[1], owners[0], owners[1], uint8(i+j))
			}
		}
	}
	pools := make(map[string][]session)
	for _, s := range servertest.All(f) {
		pools[string(s.Engine)] = sessions(f, s)
	}
	f.Fuzz(func(t *testing.T, key, otherKey, owner, otherOwner string, kind uint8) {
		for _, engine := range sortedKeys(pools) {
			all := pools[engine]
			n := &names{
				T:          t,
				here:       all[int(kind)%len(all)],
				there:      all[int(kind)/len(all)%len(all)],
				key:        cut(key),
				otherKey:   cut(otherKey),
				owner:      cut(owner),
				otherOwner: cut(otherOwner),
			}
			n.check()
		}
	})
}

// names is one input of FuzzNames, with the sessions of the one holder and the other.
type names struct {
	*testing.T
	here, there session

	key, otherKey, owner, otherOwner string
}

const hour = time.Hour

func (n *names) check() {
	n.Helper()
	holder, rival := n.locker(n.here, n.owner), n.locker(n.there, n.otherOwner)
	for _, key := range []string{n.key, n.otherKey} {
		if !valid(key) {
			refusesKey(n.T, holder, n.here, key)
		}
	}
	if !valid(n.key) || !valid(n.otherKey) {
		return
	}
	n.exclude(holder, rival)
	n.list(holder)
	for _, key := range []string{n.key, n.otherKey} {
		_, err := n.here.db.ExecContext(n.Context(), `DELETE FROM helix_locks WHERE lock_key = UNHEX(?)`, hexOf(key))
		must(n.T, err)
	}
	if left := count(n.T, n.here.db, `SELECT COUNT(*) FROM helix_locks`); left != 0 {
		n.Fatalf("%s: %d rows are left of keys that nobody has named", n.here.name, left)
	}
}

// locker is one of that owner, or where that is invalid, and refused, of another.
func (n *names) locker(s session, owner string) *txlock.Locker {
	n.Helper()
	before := s.sent.Load()
	locker, err := txlock.New(s.db, txlock.WithOwner(owner))
	if valid(owner) != (err == nil) || valid(owner) != (locker != nil) || err != nil && !isInvalid(err, txlock.ErrInvalidArgument) {
		n.Fatalf("owner %q: got %v, %v", owner, locker, err)
	}
	if err != nil {
		locker, err = txlock.New(s.db)
		must(n.T, err)
	} else if locker.Owner() != owner {
		n.Fatalf("owner %q is %q", owner, locker.Owner())
	}
	if sent := s.sent.Load() - before; sent != 0 {
		n.Fatalf("New has sent %d statements", sent)
	}
	return locker
}

// exclude lets one holder have a key, and the other ask for the other one.
func (n *names) exclude(holder, rival *txlock.Locker) {
	n.Helper()
	ctx := n.Context()
	tx := begin(n.T, n.here.db)
	lease, err := holder.AcquireTx(ctx, tx, n.key, txlock.TTL(hour))
	must(n.T, err)
	must(n.T, tx.Commit())
	if lease.Key() != n.key || lease.Owner() != holder.Owner() || lease.Epoch() != 1 {
		n.Fatalf("%s: the lease of %q by %q is one of %q by %q, epoch %d", n.here.name, n.key, holder.Owner(), lease.Key(), lease.Owner(), lease.Epoch())
	}
	n.comesBack(rival, n.key, holder.Owner(), 1)

	same := n.key == n.otherKey
	other, err := rival.TryAcquire(ctx, n.otherKey, txlock.TTL(hour))
	var held *txlock.HeldError
	switch {
	case same && (!errors.As(err, &held) || held.Key != n.key || held.RetryAfter <= 0 || held.RetryAfter > hour):
		n.Fatalf("%s: %q is held, and the answer is %v", n.there.name, n.key, err)
	case !same && (err != nil || other.Epoch() != 1):
		n.Fatalf("%s: %q is not %q, and free, and the answer is %v", n.there.name, n.otherKey, n.key, err)
	}
	if !same {
		n.comesBack(holder, n.otherKey, rival.Owner(), 1)
		must(n.T, other.Release(ctx))
	}
	must(n.T, lease.Renew(ctx)) // the other key's release was not this one's

	// An owner takes back what it has itself, and nothing else.
	back, err := rival.TryAcquire(ctx, n.key, txlock.Reclaim())
	switch mine := rival.Owner() == holder.Owner(); {
	case mine && (err != nil || back.Epoch() != 2):
		n.Fatalf("%s: %q reclaims what it has, and the answer is %v", n.there.name, rival.Owner(), err)
	case !mine && !errors.Is(err, txlock.ErrHeld):
		n.Fatalf("%s: %q reclaims what %q has, and the answer is %v", n.there.name, rival.Owner(), holder.Owner(), err)
	case mine:
		lease = back
	}

	// Both at once, by the statements for many.
	must(n.T, lease.Release(ctx))
	keys := []string{n.key, n.otherKey}
	tx = begin(n.T, n.there.db)
	leases, err := rival.AcquireManyTx(ctx, tx, keys, txlock.TTL(hour))
	if same {
		if !isInvalid(err, txlock.ErrInvalidArgument) {
			n.Fatalf("one key twice: %v", err)
		}
		must(n.T, tx.Rollback())
		return
	}
	must(n.T, err)
	must(n.T, tx.Commit())
	for i, le := range leases {
		if le.Key() != keys[i] {
			n.Fatalf("lease %d is of %q, not %q", i, le.Key(), keys[i])
		}
		n.comesBack(holder, keys[i], rival.Owner(), le.Epoch())
	}
}

// comesBack compares the row of a key with what was asked for: as Inspect says, and
// as it is.
func (n *names) comesBack(l *txlock.Locker, key, owner string, epoch int64) {
	n.Helper()
	info, err := l.Inspect(n.Context(), key)
	must(n.T, err)
	if info.Key != key || info.Owner != owner || info.Epoch != epoch || !info.Held() || info.Remaining > hour {
		n.Fatalf("%s: %q of %q, epoch %d, came back as %+v", n.here.name, key, owner, epoch, info)
	}
	if rows := count(n.T, n.here.db, `SELECT COUNT(*) FROM helix_locks WHERE HEX(lock_key) = ? AND HEX(owner_id) = ? AND epoch = ?`, hexOf(key), hexOf(owner), epoch); rows != 1 {
		n.Fatalf("%s: %d rows for %q of %q, epoch %d", n.here.name, rows, key, owner, epoch)
	}
}

// list compares what List finds with the two keys that there are.
func (n *names) list(l *txlock.Locker) {
	n.Helper()
	keys := []string{n.key, n.otherKey}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	for _, prefix := range []string{"", n.key, n.key[:1], n.otherKey[:len(n.otherKey)/2]} {
		for _, after := range []string{"", n.key, n.otherKey[:1]} {
			var want []string
			for _, key := range keys {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			infos, err := l.List(n.Context(), txlock.ListOptions{Prefix: prefix, After: after})
			must(n.T, err)
			var got []string
			for _, info := range infos {
				got = append(got, info.Key)
			}
			if !slices.Equal(got, want) {
				n.Fatalf("%s: prefix %q after %q of %q: got %q", n.here.name, prefix, after, keys, got)
			}
		}
	}
}

// refusesKey fails the test unless every call refuses an invalid key before anything
// is sent.
func refusesKey(t *testing.T, l *txlock.Locker, s session, key string) {
	t.Helper()
	// Some of them would wait for a key that they take for a good one.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	tx := begin(t, s.db)
	before := s.sent.Load()
	for name, call := range callsWithKey(tx) {
		if err := call(ctx, l, key); !isInvalid(err, txlock.ErrInvalidKey) {
			t.Fatalf("%s of %q: got %v", name, key, err)
		}
	}
	if len(key) > 255 {
		for _, opts := range []txlock.ListOptions{{Prefix: key}, {After: key}} {
			if _, err := l.List(t.Context(), opts); !isInvalid(err, txlock.ErrInvalidArgument) {
				t.Fatalf("List of %q: got %v", key, err)
			}
		}
	}
	if sent := s.sent.Load() - before; sent != 0 {
		t.Fatalf("%s: %d statements were sent about %q", s.name, sent, key)
	}
	must(t, tx.Rollback())
}

// callsWithKey are all calls that take a key.
func callsWithKey(tx *sql.Tx) map[string]func(ctx context.Context, l *txlock.Locker, key string) error {
	errCalled := errors.New("the function was called")
	return map[string]func(ctx context.Context, l *txlock.Locker, key string) error{
		"AcquireTx": func(ctx context.Context, l *txlock.Locker, key string) error {
			_, err := l.AcquireTx(ctx, tx, key)
			return err
		},
		"AcquireManyTx": func(ctx context.Context, l *txlock.Locker, key string) error {
			_, err := l.AcquireManyTx(ctx, tx, []string{"valid", key})
			return err
		},
		"LockTx": func(ctx context.Context, l *txlock.Locker, key string) error { return l.LockTx(ctx, tx, key) },
		"TryAcquire": func(ctx context.Context, l *txlock.Locker, key string) error {
			_, err := l.TryAcquire(ctx, key)
			return err
		},
		"Acquire": func(ctx context.Context, l *txlock.Locker, key string) error {
			_, err := l.Acquire(ctx, key)
			return err
		},
		"Do": func(ctx context.Context, l *txlock.Locker, key string) error {
			return l.Do(ctx, key, func(context.Context, *sql.Tx) error { return errCalled })
		},
		"Run": func(ctx context.Context, l *txlock.Locker, key string) error {
			return l.Run(ctx, key, func(context.Context, *txlock.Lease) error { return errCalled })
		},
		"Inspect": func(ctx context.Context, l *txlock.Locker, key string) error {
			_, err := l.Inspect(ctx, key)
			return err
		},
		"Revoke": func(ctx context.Context, l *txlock.Locker, key string) error { return l.Revoke(ctx, key) },
		"Retire": func(ctx context.Context, l *txlock.Locker, key string) error { return l.Retire(ctx, key) },
	}
}
