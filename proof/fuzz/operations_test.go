package fuzz_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// operation is a call of the library that is to fail at each of its calls of the
// driver.
type operation struct {
	name    string
	inTx    bool     // in the caller's transaction
	keys    []string // of which an error names one
	waits   bool     // until its context ends, where it is refused
	beats   bool     // it has a heartbeat, which comes as often as it must
	fenced  bool     // it goes through a FencedConnector, whose statements' errors are the caller's
	opts    []txlock.Option
	answers map[string][]answer // in turn in each transaction; the last one stays
	fresh   bool                // the key has no row yet
	prepare func(b *bench)      // what comes before
	run     func(ctx context.Context, b *bench) error
}

// bench is where an operation runs.
type bench struct {
	*testing.T
	fake   *fake
	db     *sql.DB
	locker *txlock.Locker
	lease  *txlock.Lease
	tx     *sql.Tx // the caller's
	txID   int
}

func insertID(ids ...int64) (answers []answer) {
	for _, id := range ids {
		answers = append(answers, answer{insertID: id, affected: min(1, max(0, id))})
	}
	return answers
}

func oneRow(values ...driver.Value) []answer { return []answer{{rows: [][]driver.Value{values}}} }

var freeRow = oneRow([]byte("a"), []byte("another"), int64(6), int64(0), int64(-1), int64(1), int64(1), int64(1))

// usual is what a server answers where all goes well.
func usual(name string, args []driver.NamedValue) answer {
	switch name {
	case "AcquireLease", "AcquireKnownLease":
		return answer{insertID: 7, affected: 1}
	case "LockKey", "LockKeyNoWait":
		return oneRow(int64(0))[0]
	case "ShareKey":
		return oneRow(int64(0), int64(-1), int64(0))[0]
	case "EnsureKey":
		return answer{insertID: 4, affected: 1}
	case "MakeKey":
		return answer{affected: 1}
	case "ClusterVariables":
		return oneRow([]byte("wsrep_on"), []byte("OFF"))[0]
	case "SELECT n FROM ledger":
		return oneRow([]byte("1"))[0]
	case "AcquireLeaseNoWait":
		return answer{insertID: 7, affected: 2}
	case "VerifyLease":
		return oneRow(int64(7))[0]
	case "LockKeys", "LockKeysNoWait":
		var a answer
		for i := range batchSize(args) {
			a.rows = append(a.rows, []driver.Value{i, []byte("another"), int64(6), int64(0), int64(-1)})
		}
		return a
	case "MissingKeys", "LockPurgeable":
		return oneRow(int64(0))[0]
	case "AcquireLeases":
		return answer{affected: batchSize(args)}
	case "RenewLeases":
		return answer{affected: 2 * batchSize(args)}
	case "StandingLeases":
		return oneRow(int64(0), (30 * time.Second).Microseconds())[0]
	case "PurgeCandidates":
		return oneRow([]byte("a"), int64(9), int64(1), int64(1))[0]
	case "LockFloors":
		return oneRow(int64(9))[0]
	case "ListKeys":
		return freeRow[0]
	}
	return answer{affected: 1}
}

// batchSize is how many keys a statement for many is about: see lockdb.Batch.
func batchSize(args []driver.NamedValue) int64 {
	for _, a := range args {
		var entries []json.RawMessage
		if s, ok := a.Value.(string); ok && json.Unmarshal([]byte(s), &entries) == nil {
			return int64(len(entries))
		}
	}
	return 0
}

// acquired is a lease of "a", before.
func acquired(opts ...txlock.AcquireOption) func(b *bench) {
	return func(b *bench) {
		lease, err := b.locker.TryAcquire(b.Context(), "a", opts...)
		must(b.T, err)
		b.lease = lease
	}
}

// knows lets the Locker know the key "a".
func knows(b *bench) {
	b.fake.answer = func(string, []driver.NamedValue) answer { return answer{insertID: 6, affected: 2} }
	acquired()(b)
}

// skipped keeps a lease whose row was locked when its heartbeat came, some time ago.
func skipped(b *bench) {
	acquired()(b)
	answers := b.fake.answer
	b.fake.answer = func(name string, args []driver.NamedValue) answer {
		switch name {
		case "RenewLeases":
			return answer{}
		case "StandingLeases":
			return oneRow(int64(0), (20 * time.Second).Microseconds())[0]
		}
		return answers(name, args)
	}
	keep, stop := context.WithCancel(b.Context())
	must(b.T, b.lease.KeepAlive(keep))
	time.Sleep(12 * time.Second)
	stop()
	synctest.Wait()
}

func nothing(context.Context, *sql.Tx) error { return nil }

// business is what the caller does with its transactions.
func business(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE ledger SET n = n + 1")
	return err
}

func operations() []operation {
	acquireTx := func(opts ...txlock.AcquireOption) func(ctx context.Context, b *bench) error {
		return func(ctx context.Context, b *bench) error {
			lease, err := b.locker.AcquireTx(ctx, b.tx, "a", opts...)
			return leaseOr(b, lease, err)
		}
	}
	acquireMany := func(opts ...txlock.AcquireOption) func(ctx context.Context, b *bench) error {
		return func(ctx context.Context, b *bench) error {
			leases, err := b.locker.AcquireManyTx(ctx, b.tx, []string{"b", "a"}, opts...)
			if (len(leases) == 2) != (err == nil) {
				b.Errorf("%d leases, and %v", len(leases), err)
			}
			return err
		}
	}
	lockTx := func(opts ...txlock.AcquireOption) func(ctx context.Context, b *bench) error {
		return func(ctx context.Context, b *bench) error { return b.locker.LockTx(ctx, b.tx, "a", opts...) }
	}
	tryAcquire := func(opts ...txlock.AcquireOption) func(ctx context.Context, b *bench) error {
		return func(ctx context.Context, b *bench) error {
			lease, err := b.locker.TryAcquire(ctx, "a", opts...)
			return leaseOr(b, lease, err)
		}
	}
	acquire := func(ctx context.Context, b *bench) error {
		lease, err := b.locker.Acquire(ctx, "a")
		return leaseOr(b, lease, err)
	}
	expired := map[string][]answer{"EnsureKey": insertID(2), "LockKey": oneRow(int64(1)), "LockKeyNoWait": oneRow(int64(1)), "ShareKey": oneRow(int64(1), int64(-1), int64(0))}
	held := map[string][]answer{"AcquireLease": insertID(-1), "AcquireKnownLease": insertID(7)}
	a, ab := []string{"a"}, []string{"a", "b"}
	multi := []txlock.Option{txlock.WithMultiWriter()}
	return []operation{
		{name: "AcquireTx", inTx: true, keys: a, run: acquireTx()},
		{name: "AcquireTx of a known key", inTx: true, keys: a, prepare: knows, run: acquireTx()},
		{name: "AcquireTx of a known key that was purged", inTx: true, keys: a, prepare: knows, answers: map[string][]answer{"AcquireKnownLease": insertID(0)}, run: acquireTx()},
		{name: "AcquireTx with Reclaim", inTx: true, keys: a, answers: held, run: acquireTx(txlock.Reclaim())},
		{name: "AcquireTx with NoWait", inTx: true, keys: a, run: acquireTx(txlock.NoWait())},
		{name: "AcquireTx with NoWait of a fresh key", inTx: true, keys: a, fresh: true, run: acquireTx(txlock.NoWait())},
		{name: "AcquireManyTx", inTx: true, keys: ab, run: acquireMany()},
		{name: "AcquireManyTx with NoWait", inTx: true, keys: ab, run: acquireMany(txlock.NoWait())},
		{name: "LockTx", inTx: true, keys: a, run: lockTx()},
		{name: "LockTx of a known key", inTx: true, keys: a, prepare: knows, run: lockTx()},
		{name: "LockTx of a known key that was purged", inTx: true, keys: a, prepare: knows, answers: map[string][]answer{"LockKey": {{}}}, run: lockTx()},
		{name: "LockTx of an expired lease", inTx: true, keys: a, answers: expired, run: lockTx()},
		{name: "LockTx of a known key with an expired lease", inTx: true, keys: a, prepare: knows, answers: expired, run: lockTx()},
		{name: "LockTx with NewEpoch", inTx: true, keys: a, run: lockTx(txlock.NewEpoch())},
		{name: "LockTx that writes", inTx: true, keys: a, opts: multi, run: lockTx()},
		{name: "LockTx with NoWait", inTx: true, keys: a, run: lockTx(txlock.NoWait())},
		{name: "LockTx with NoWait of a fresh key", inTx: true, keys: a, fresh: true, run: lockTx(txlock.NoWait())},
		{name: "LockTx with NoWait of an expired lease", inTx: true, keys: a, answers: expired, run: lockTx(txlock.NoWait())},
		{name: "LockTx with Shared", inTx: true, keys: a, run: lockTx(txlock.Shared())},
		{name: "LockTx with Shared of a fresh key", inTx: true, keys: a, fresh: true, run: lockTx(txlock.Shared())},
		{name: "LockTx with Shared of an expired lease", inTx: true, keys: a, answers: expired, run: lockTx(txlock.Shared())},
		{name: "RenewTx", inTx: true, keys: a, prepare: acquired(), run: func(ctx context.Context, b *bench) error { return b.lease.RenewTx(ctx, b.tx) }},
		{name: "VerifyTx", inTx: true, keys: a, prepare: acquired(), run: func(ctx context.Context, b *bench) error { return b.lease.VerifyTx(ctx, b.tx) }},
		{name: "VerifyTx that writes", inTx: true, keys: a, opts: multi, prepare: acquired(), run: func(ctx context.Context, b *bench) error { return b.lease.VerifyTx(ctx, b.tx) }},
		{name: "ReleaseTx", inTx: true, keys: a, prepare: acquired(), run: func(ctx context.Context, b *bench) error { return b.lease.ReleaseTx(ctx, b.tx) }},

		{name: "TryAcquire", keys: a, run: tryAcquire()},
		{name: "TryAcquire with NoWait of a fresh key", keys: a, fresh: true, run: tryAcquire(txlock.NoWait())},
		{name: "TryAcquire with Reclaim", keys: a, answers: held, run: tryAcquire(txlock.Reclaim())},
		{name: "Acquire", keys: a, waits: true, run: acquire},
		{name: "Acquire of a fresh key", keys: a, waits: true, fresh: true, run: acquire},
		{name: "Renew", keys: a, prepare: acquired(), run: func(ctx context.Context, b *bench) error { return b.lease.Renew(ctx) }},
		{name: "Release", keys: a, prepare: acquired(), run: func(ctx context.Context, b *bench) error { return b.lease.Release(ctx) }},
		{name: "Do", keys: a, run: func(ctx context.Context, b *bench) error { return b.locker.Do(ctx, "a", business) }},
		{name: "Do with NoWait of a fresh key", keys: a, fresh: true, run: func(ctx context.Context, b *bench) error {
			return b.locker.Do(ctx, "a", business, txlock.NoWait())
		}},
		{name: "Do with Shared of a fresh key", keys: a, fresh: true, run: func(ctx context.Context, b *bench) error {
			return b.locker.Do(ctx, "a", business, txlock.Shared())
		}},
		{name: "Do with NewEpoch", keys: a, run: func(ctx context.Context, b *bench) error {
			return b.locker.Do(ctx, "a", business, txlock.NewEpoch())
		}},
		{name: "InTx", keys: a, prepare: acquired(), run: func(ctx context.Context, b *bench) error { return b.lease.InTx(ctx, business) }},
		{name: "InTx that writes", keys: a, opts: multi, prepare: acquired(), run: func(ctx context.Context, b *bench) error { return b.lease.InTx(ctx, business) }},
		{name: "Run", keys: a, waits: true, run: func(ctx context.Context, b *bench) error {
			return b.locker.Run(ctx, "a", func(ctx context.Context, lease *txlock.Lease) error { return lease.InTx(ctx, nothing) })
		}},
		{name: "KeepAlive", keys: a, beats: true, prepare: acquired(), run: keepAlive},
		{name: "KeepAlive of a locked row", keys: a, beats: true, prepare: acquired(), answers: map[string][]answer{"RenewLeases": {{}}, "StandingLeases": oneRow(int64(0), (20 * time.Second).Microseconds())}, run: keepAlive},
		{name: "InTx of a lease whose heartbeats are skipped", keys: a, prepare: skipped, answers: map[string][]answer{"RenewLeases": {{affected: 2}}}, run: func(ctx context.Context, b *bench) error { return b.lease.InTx(ctx, business) }},
		{name: "InTx beside another one, of a lease whose heartbeats are skipped", keys: a, prepare: skipped, answers: map[string][]answer{"RenewLeases": {{}}}, run: func(ctx context.Context, b *bench) error { return b.lease.InTx(ctx, business) }},
		{name: "KeepAlive on a cluster", keys: a, beats: true, opts: multi, prepare: acquired(), run: keepAlive},
		{name: "Inspect", keys: a, run: func(ctx context.Context, b *bench) error {
			info, err := b.locker.Inspect(ctx, "a")
			if (info != nil) != (err == nil) {
				b.Errorf("%v, and %v", info, err)
			}
			return err
		}},
		{name: "List", run: func(ctx context.Context, b *bench) error {
			infos, err := b.locker.List(ctx, txlock.ListOptions{})
			if (infos != nil) != (err == nil) {
				b.Errorf("%v, and %v", infos, err)
			}
			return err
		}},
		{name: "All", run: func(ctx context.Context, b *bench) error {
			n := 0
			for _, err := range b.locker.All(ctx, txlock.ListOptions{Limit: 1}) {
				if err != nil {
					return err
				}
				if n++; n == 3 {
					return nil
				}
			}
			return nil
		}},
		{name: "Revoke", keys: a, run: func(ctx context.Context, b *bench) error { return b.locker.Revoke(ctx, "a") }},
		{name: "Retire", keys: a, run: func(ctx context.Context, b *bench) error { return b.locker.Retire(ctx, "a") }},
		{name: "Revoke on a cluster, of a key without a row", keys: a, opts: multi, answers: map[string][]answer{"RevokeKey": {{}, {affected: 1}}}, run: func(ctx context.Context, b *bench) error { return b.locker.Revoke(ctx, "a") }},
		{name: "Retire on a cluster, of a key without a row", keys: a, opts: multi, answers: map[string][]answer{"RetireKey": {{}, {affected: 1}}}, run: func(ctx context.Context, b *bench) error { return b.locker.Retire(ctx, "a") }},
		{name: "Purge", run: func(ctx context.Context, b *bench) error {
			n, err := b.locker.Purge(ctx, txlock.PurgeOptions{})
			if err == nil && n > 1 {
				b.Errorf("%d rows were purged", n)
			}
			return err
		}},
		{name: "Prepare", run: func(ctx context.Context, b *bench) error { return b.locker.Prepare(ctx) }},

		{name: "FencedConnector", fenced: true, keys: a, prepare: acquired(), run: fencedTransaction},
		{name: "FencedConnector that writes", fenced: true, keys: a, opts: multi, prepare: acquired(), run: fencedTransaction},
		{name: "FencedConnector without a transaction", fenced: true, keys: a, prepare: acquired(), run: func(ctx context.Context, b *bench) error {
			db := sql.OpenDB(txlock.FencedConnector(b.fake, b.lease))
			_, err := db.ExecContext(ctx, "UPDATE ledger SET n = n + 1")
			must(b.T, db.Close())
			return err
		}},
	}
}

func leaseOr(b *bench, lease *txlock.Lease, err error) error {
	b.Helper()
	if (lease != nil) != (err == nil) {
		b.Errorf("lease %v, and error %v", lease, err)
	}
	if lease != nil && lease.Epoch() != 7 {
		b.Errorf("epoch %d", lease.Epoch())
	}
	return err
}

// keepAlive keeps a lease for two heartbeats and the time for another try.
func keepAlive(ctx context.Context, b *bench) error {
	if err := b.lease.KeepAlive(ctx); err != nil {
		return err
	}
	held := b.lease.Context()
	select {
	case <-held.Done():
		return context.Cause(held)
	case <-time.After(24 * time.Second): // on the test's clock
	}
	// What is over by its heartbeat's failures alone shows at the deadline.
	if b.fake.failing() {
		select {
		case <-held.Done():
			return context.Cause(held)
		case <-time.After(35 * time.Second):
		}
	}
	return b.lease.Release(ctx)
}

// fencedTransaction goes on after the error of a statement, as code that cannot be
// changed might.
func fencedTransaction(ctx context.Context, b *bench) (err error) {
	db := sql.OpenDB(txlock.FencedConnector(b.fake, b.lease))
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	errs := []error{business(ctx, tx), readLedger(ctx, tx)}
	if err := tx.Commit(); err != nil {
		errs = append(errs, fmt.Errorf("%w: %w", errAtCommit, err))
	}
	return errors.Join(errs...)
}

func readLedger(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT n FROM ledger")
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // says what rows.Err says
	for rows.Next() {
		var n []byte
		if err := rows.Scan(&n); err != nil {
			return err
		}
	}
	return rows.Err()
}

var errAtCommit = errors.New("the caller's Commit failed")
