package txlock

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
)

// AcquireManyTx acquires a lease of each of keys, all or none, in the caller's
// transaction: others see them when, and only if, tx commits. If tx is rolled back,
// the leases never were. They come in the order of keys, all with the same TTL;
// each is then renewed, verified, kept and released by itself.
//
// It locks the rows in the order of the keys' bytes, whatever order they are given
// in, so that two such calls never wait for each other in a circle; two calls in
// one transaction, or one after [Locker.AcquireTx], may. Acquire before the first
// read of tx, and keep it short, as with AcquireTx. While another transaction has
// one of the rows, the server makes this call wait for it, with those locked that
// come before; with [NoWait] it fails instead.
//
// It fails with [ErrHeld] if any of the keys is held by an active lease; the
// [HeldError] names the one whose lease has the longest time left, of the first
// thousand keys among which there is one. With it, and with the [BusyError] of
// NoWait, nothing is acquired and tx stays usable; but rows that are locked by then
// stay locked until tx ends, which stalls their holders' renewals, so end it soon.
// If it is committed, keys that were never locked before have a row that says they
// are free. Empty keys, or one key twice, is [ErrInvalidArgument]; an invalid key,
// which the [InvalidError] names, [ErrInvalidKey]. Further errors are those of
// AcquireTx. One that names a key where the server has not said which it was names
// the first of the thousand.
//
// It is three statements for each thousand keys or part of them; with NoWait it is two, and
// one or two in short transactions of the pool given to [New], to make the rows that are
// missing. It leaves LAST_INSERT_ID() alone.
func (l *Locker) AcquireManyTx(ctx context.Context, tx *sql.Tx, keys []string, opts ...AcquireOption) (leases []*Lease, err error) {
	a, err := l.manyOptions(keys, opts)
	if err != nil {
		return nil, err
	}
	within, seen := l.observe(ctx, Operation{Name: OpAcquireMany, Keys: len(keys), TTL: a.ttl})
	err = ErrPanicked
	defer func() { seen.end(Result{Err: err, Attempts: 1}) }()
	leases = make([]*Lease, len(keys))
	for i, key := range keys {
		leases[i] = newLease(ctx, l, key, a.ttl)
	}
	if err = l.acquireMany(within, tx, leases, a); err != nil {
		return nil, err
	}
	return leases, nil
}

// manyOptions validates what leases of many keys are asked for.
func (c *config) manyOptions(keys []string, opts []AcquireOption) (acquisition, error) {
	if len(keys) == 0 {
		return acquisition{}, &InvalidError{Kind: ErrInvalidArgument, Value: "no keys", Reason: "name at least one"}
	}
	place := make(map[string]int, len(keys))
	for i, key := range keys {
		if err := checkKey(key); err != nil {
			return acquisition{}, err
		}
		if first, twice := place[key]; twice {
			return acquisition{}, &InvalidError{Kind: ErrInvalidArgument, Value: "key " + quoteName(key), Reason: fmt.Sprintf("is given twice (numbers %d and %d): a lease excludes every other one, so leave one out", first+1, i+1)}
		}
		place[key] = i
	}
	return c.leaseOptions(keys[0], opts)
}

// acquireMany is AcquireManyTx after validation, and unobserved: it acquires leases,
// which have no epochs yet.
func (l *Locker) acquireMany(ctx context.Context, tx *sql.Tx, leases []*Lease, a acquisition) error {
	q, err := l.queriesFor(tx, "acquire", leases[0].key)
	if err != nil {
		return err
	}
	many := acquiringMany{locker: l, tx: tx, q: q, acquisition: a}
	for leases := range slices.Chunk(byKey(leases), lockdb.MaxBatch) {
		many.chunks = append(many.chunks, chunk{leases: leases, batch: entries(leases)})
	}
	if a.noWait {
		if err := l.roomToEnsure("acquire", leases[0].key, "NoWait()"); err != nil {
			return err
		}
		for _, c := range many.chunks {
			if err := l.ensureMany(ctx, "acquire", c.leases); err != nil {
				return err
			}
		}
	}
	for _, c := range many.chunks {
		if err := many.lock(ctx, c); err != nil {
			return err
		}
	}
	// All rows are locked, and free: from here on nobody is waited for.
	asked := time.Now()
	for _, c := range many.chunks {
		if err := many.take(ctx, c); err != nil {
			return err
		}
	}
	for _, le := range leases {
		le.extend(asked)
	}
	return nil
}

// byKey sorts leases by the bytes of their keys: the order in which rows are locked.
func byKey(leases []*Lease) []*Lease {
	return slices.SortedFunc(slices.Values(leases), func(a, b *Lease) int { return strings.Compare(a.key, b.key) })
}

// acquiringMany is one acquisition of many keys.
type acquiringMany struct {
	locker *Locker
	tx     *sql.Tx
	q      *lockdb.Queries
	acquisition
	chunks []chunk
}

// chunk is what one statement is about.
type chunk struct {
	leases []*Lease // by key
	batch  string   // the same, as an argument
}

// failed explains the failure of a statement about c, which may be about any of its
// keys.
func (m *acquiringMany) failed(c chunk, err error) error {
	if n := len(c.leases); n > 1 {
		err = fmt.Errorf("one of %d keys from this one on: %w", n, err)
	}
	return m.locker.failed(m.tx, "acquire", c.leases[0].key, err)
}

// lock locks the rows of c, waiting for them unless it must not, and reads the
// epochs that their leases are to have. It fails if one is held.
func (m *acquiringMany) lock(ctx context.Context, c chunk) error {
	rows, err := m.rows(ctx, c)
	if err != nil {
		return m.failed(c, err)
	}
	var longest *HeldError
	for _, row := range rows {
		le := c.leases[row.I]
		le.epoch = row.Epoch + 1
		own := m.reclaim && row.Status == lockdb.StatusActive && string(row.OwnerID) == m.locker.owner
		if row.RemainingMicros <= 0 || own {
			continue
		}
		if longest == nil || micros(row.RemainingMicros) > longest.RetryAfter {
			longest = heldError(le.key, -row.RemainingMicros)
			longest.Owner, longest.Epoch = string(row.OwnerID), row.Epoch
		}
	}
	for _, le := range c.leases {
		switch {
		case le.epoch != 0:
		case m.noWait:
			return &BusyError{Key: le.key, Err: errNoWait}
		default:
			return noFloorError("acquire", le.key)
		}
	}
	if longest != nil {
		return longest
	}
	return nil
}

// rows locks the rows of c. Made first, and locked by that, they have no gaps
// between them that others could not insert into.
func (m *acquiringMany) rows(ctx context.Context, c chunk) ([]*lockdb.LockKeysRow, error) {
	if !m.noWait {
		if err := m.q.EnsureKeys(ctx, c.batch); err != nil {
			return nil, err
		}
		return m.q.LockKeys(ctx, c.batch)
	}
	unlocked, err := m.q.LockKeysNoWait(ctx, c.batch)
	rows := make([]*lockdb.LockKeysRow, len(unlocked))
	for i, row := range unlocked {
		rows[i] = (*lockdb.LockKeysRow)(row)
	}
	return rows, err
}

// take acquires the leases of c, whose rows are locked and free.
func (m *acquiringMany) take(ctx context.Context, c chunk) error {
	taken, err := m.q.AcquireLeases(ctx, lockdb.AcquireLeasesParams{
		Batch:     c.batch,
		OwnerHex:  lockdb.Hex(m.locker.owner),
		TtlMicros: m.ttl.Microseconds(),
	})
	if err == nil && taken != int64(len(c.leases)) {
		err = fmt.Errorf("%d of %d rows were written", taken, len(c.leases))
	}
	if err != nil {
		return m.failed(c, err)
	}
	return nil
}
