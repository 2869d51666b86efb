package txlock

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
)

// VerifyTx is the fence: it succeeds only if the lease is still the key's newest
// and not released, and keeps it so until tx ends, since whoever would take it
// over waits for tx. So if tx commits, no later acquisition of the key committed
// before it. Expiry does not matter here: a lease that has expired but was not
// taken over still fences. If tx is rolled back, nothing stays. Verify once in a
// transaction.
//
// It keeps other leases out, not other transactions of this one: to serialize those, also
// lock another key ([Locker.LockTx]).
//
// On a server that takes no writes, a replica for one, the shared fence may say
// yes to a lease that is lost on the primary; the writes of tx then fail.
//
// Verify before the first read of tx: under REPEATABLE READ what it read before
// is older than the fence. It takes a shared lock on the key's row, so that many
// transactions of one lease run side by side. It writes the row, and so excludes other
// fences until tx ends, with [WithMultiWriter] or to renew a lease whose heartbeats fences
// have kept out ([Lease.KeepAlive]). Do not wait for another fenced transaction of the
// lease while tx is open; [Lease.InTx] within InTx is refused.
//
// It fails with [ErrLost] if the lease is no longer the key's newest or was
// released; tx stays usable but must not be committed as protected, and keeps
// the row locked: roll back soon. With [ErrMultiWriter] on a cluster that the Locker was
// not told of. Further errors are those of [Locker.AcquireTx]. It is one statement, or two
// where it may have to renew.
func (le *Lease) VerifyTx(ctx context.Context, tx *sql.Tx) error {
	if err := le.refuseNested(ctx, tx); err != nil {
		return err
	}
	f := le.newFence(le.surrounding(ctx) != nil) // InTx has a shared lock already
	defer f.endTurn()                            // how tx ends, a heartbeat will see
	return f.verify(ctx, tx)
}

// fenceKind is how a fence locks the lease's row.
type fenceKind int

const (
	// fenceShares lets other fences of the lease run beside it.
	fenceShares fenceKind = iota
	// fenceTries renews the lease, but shares if another transaction has the row locked.
	fenceTries
	// fenceRenews renews the lease, and waits for the row.
	fenceRenews
)

// fence is that of one transaction.
type fence struct {
	lease   *Lease
	kind    fenceKind
	turn    bool      // no other fence renews until this one ends
	renewed time.Time // from when on the lease is renewed, if the transaction commits
}

// newFence begins the fence of a transaction. Heartbeats skip a row that is locked; so
// where fences have kept them out, one fence at a time renews the lease.
func (le *Lease) newFence(shareOnly bool) *fence {
	f := &fence{lease: le}
	if shareOnly {
		return f
	}
	if le.locker.multiWriter {
		f.kind = fenceRenews
		return f
	}
	le.mu.Lock()
	defer le.mu.Unlock()
	if !le.kept.on || !le.kept.skipped || le.kept.renewing {
		return f
	}
	f.kind, f.turn, le.kept.renewing = fenceTries, true, true
	if le.trustNearsEnd() {
		f.kind = fenceRenews
	}
	return f
}

// trustNearsEnd reports whether two thirds of the time to the deadline have gone. The mutex
// is locked.
func (le *Lease) trustNearsEnd() bool { return time.Until(le.deadline) < le.window()/3 }

// verify verifies the lease in tx.
func (f *fence) verify(ctx context.Context, tx *sql.Tx) (err error) {
	le := f.lease
	ctx, seen := le.locker.observe(ctx, Operation{Name: OpVerify, Key: le.key, Keys: 1})
	err = ErrPanicked
	defer func() {
		le.observeLoss(err)
		seen.end(Result{Err: err, Epoch: le.epoch, Attempts: 1})
	}()
	err = f.sendIn(ctx, tx)
	return err
}

// sendIn is verify, unobserved.
func (f *fence) sendIn(ctx context.Context, tx *sql.Tx) error {
	q, err := f.lease.locker.queriesFor(tx, "verify", f.lease.key)
	if err != nil {
		return err
	}
	n, err := f.send(ctx, q)
	return f.lease.answer(tx, "verify", n, err)
}

// send returns how many rows were matched.
func (f *fence) send(ctx context.Context, q *lockdb.Queries) (n int64, err error) {
	le := f.lease
	if err := le.locker.checkServer(ctx, q); err != nil {
		return 0, err
	}
	if f.kind != fenceShares {
		n, err := f.renew(ctx, q)
		switch {
		case err == nil && n > 0:
			le.clearReleased() // whatever had the row before has ended
			return n, nil
		case err == nil && f.kind == fenceRenews:
			return 0, nil
		case err != nil && (!isReadOnlyTransaction(err) || le.locker.multiWriter):
			return 0, err
		}
		f.renewed = time.Time{}
		f.endTurn()
	}
	_, err = q.VerifyLease(ctx, lockdb.VerifyLeaseParams{KeyHex: lockdb.Hex(le.key), Epoch: le.epoch, LeaseID: le.id})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return 1, err
}

// renew renews the lease, if it can as its kind wants it.
func (f *fence) renew(ctx context.Context, q *lockdb.Queries) (n int64, err error) {
	le := f.lease
	if f.kind == fenceRenews {
		f.renewed, n, err = le.sendRenew(ctx, q)
		return n, err
	}
	f.renewed = time.Now()
	return q.RenewLeases(ctx, lockdb.RenewLeasesParams{Batch: entries([]*Lease{le}), TtlMicros: le.ttl.Microseconds()})
}

// endTurn lets another fence renew.
func (f *fence) endTurn() {
	if f.turn {
		f.lease.mu.Lock()
		f.lease.kept.renewing = false
		f.lease.mu.Unlock()
		f.turn = false
	}
}

// end is called after the transaction.
func (f *fence) end(committed bool) {
	if committed && !f.renewed.IsZero() {
		f.lease.locker.keeper.renewed(f.lease, f.renewed)
	}
	f.endTurn()
}
