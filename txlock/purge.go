package txlock

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
)

const (
	// DefaultPurgeBatch is how many rows a transaction of [Locker.Purge] deletes at
	// most, where [PurgeOptions].BatchSize is zero.
	DefaultPurgeBatch = 100

	// MaxPurgeBatch is the largest BatchSize.
	MaxPurgeBatch = lockdb.MaxBatch

	// PurgePage is how many rows a statement of [Locker.Purge] looks at.
	PurgePage = 1000
)

// PurgeOptions say what to purge. Its zero value purges the keys that were retired.
type PurgeOptions struct {
	// Idle also purges inactive keys whose row has not changed for at least so long,
	// to the microsecond. Zero: only retired ones. Locks ([Locker.Do], [Locker.LockTx])
	// write nothing, so a key that is only locked counts as idle; its next lock makes the
	// row again.
	Idle time.Duration
	// BatchSize is how many rows one transaction deletes at most, from 1 to
	// [MaxPurgeBatch]; zero: [DefaultPurgeBatch]. A smaller one keeps acquirers of
	// fresh keys waiting for a shorter time.
	BatchSize int
	// Progress, if any, is told how far the purge is, after each thousand rows of the
	// table and at its end, by the goroutine that purges, and while it has no
	// transaction open.
	Progress func(PurgeProgress)
}

// PurgeProgress is how far a purge is.
type PurgeProgress struct {
	Scanned int64 // rows looked at
	Purged  int64 // rows deleted
	// Skipped counts rows that were to be purged and are left for the next purge,
	// because another transaction had the row, or its shard's floor, locked, and
	// those that someone else acquired, or purged, meanwhile.
	Skipped int64
	LastKey string // the last key looked at; keys are looked at in the order of their bytes
}

// Purge deletes the rows of retired keys, and of idle ones if asked to, and returns
// how many it has deleted. The epochs of a purged key never go back: each
// transaction that deletes rows raises the floors of their shards, above which the
// epochs of fresh rows begin. Expired leases are not purged: retire their keys
// first ([Locker.List] finds them).
//
// It may run beside all lock traffic, and beside other purges. It never waits for
// a row lock: what others have locked it leaves for the next purge. Who acquires a
// key that has a row waits only where that very row is being deleted. Who acquires
// a fresh key may have to wait until the transaction of a batch ends, if the batch
// has keys of the same shard, one of 256; so let it run where the database is
// near, and make BatchSize smaller where it is not.
//
// It can be stopped by ctx, and run again, at any time: then it returns how many
// rows it has deleted so far, and an error that matches ctx.Err(). Each of its other
// errors ends it, too, with what is deleted so far: [ErrInvalidArgument],
// [ErrNotMigrated], [ErrTxAborted] if a batch was aborted [WithMaxAttempts] times,
// [ErrCommitUnknown] if the connection was lost while COMMIT was under way (the
// number then leaves out that batch), and what the driver said. The database user needs
// DELETE on helix_locks, and INSERT and UPDATE on helix_lock_floor.
//
// It reads the table once, a thousand rows a statement, each in a transaction that
// is rolled back at once. Each batch is BEGIN, four statements and COMMIT, in READ
// COMMITTED.
func (l *Locker) Purge(ctx context.Context, opts PurgeOptions) (_ int64, err error) {
	p, err := newPurge(l, opts)
	if err != nil {
		return 0, err
	}
	ctx, seen := l.observe(ctx, Operation{Name: OpPurge})
	err = ErrPanicked // in Progress, unless it returns
	defer func() { seen.end(Result{Err: err, Purged: p.progress.Purged, Attempts: 1}) }()
	if err = p.run(ctx); err != nil {
		err = fmt.Errorf("txlock: purge has stopped, with %d rows purged: run it again for the others: %w", p.progress.Purged, err)
	}
	return p.progress.Purged, err
}

// purge is one under way.
type purge struct {
	locker     *Locker
	idleMicros int64 // the largest: only retired rows
	batchSize  int
	report     func(PurgeProgress)
	progress   PurgeProgress
}

// candidate is a row that looked purgeable in a plain read.
type candidate struct {
	key   string
	shard int16
}

func newPurge(l *Locker, opts PurgeOptions) (*purge, error) {
	p := &purge{locker: l, idleMicros: math.MaxInt64, batchSize: cmp.Or(opts.BatchSize, DefaultPurgeBatch), report: opts.Progress}
	invalid := func(value, reason string) error {
		return &InvalidError{Kind: ErrInvalidArgument, Value: "PurgeOptions{" + value + "}", Reason: reason}
	}
	switch {
	case opts.Idle < 0:
		return nil, invalid("Idle: "+opts.Idle.String(), "must not be negative: leave it out to purge only what was retired")
	case p.batchSize < 1 || p.batchSize > MaxPurgeBatch:
		return nil, invalid("BatchSize: "+strconv.Itoa(opts.BatchSize), fmt.Sprintf("must be from 1 to %d, or 0 for %d", MaxPurgeBatch, DefaultPurgeBatch))
	case opts.Idle > 0:
		p.idleMicros = max(1, opts.Idle.Microseconds())
	}
	return p, nil
}

func (p *purge) run(ctx context.Context) error {
	for {
		more, err := p.page(ctx)
		if err != nil {
			return err
		}
		if p.report != nil {
			p.report(p.progress)
		}
		if !more {
			return nil
		}
	}
}

// page purges one page of the table.
func (p *purge) page(ctx context.Context) (more bool, err error) {
	var rows []*lockdb.PurgeCandidatesRow
	err = p.locker.read(ctx, "purge", p.progress.LastKey, sql.LevelReadCommitted, func(q *lockdb.Queries) (err error) {
		rows, err = q.PurgeCandidates(ctx, lockdb.PurgeCandidatesParams{
			IdleMicros: p.idleMicros,
			AfterHex:   lockdb.Hex(p.progress.LastKey),
			Limit:      PurgePage,
		})
		return err
	})
	if err != nil {
		return false, err
	}
	var candidates []candidate
	for _, row := range rows {
		switch {
		case row.Purgeable == 0:
		case row.HasFloor == 0:
			return false, noFloorError("purge", string(row.LockKey))
		default:
			candidates = append(candidates, candidate{string(row.LockKey), int16(row.Shard)})
		}
	}
	// By shard, so that each batch locks few floors.
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.shard, b.shard) })
	for batch := range slices.Chunk(candidates, p.batchSize) {
		n, err := p.batch(ctx, batch)
		if err != nil {
			return false, err
		}
		p.progress.Purged += n
		p.progress.Skipped += int64(len(batch)) - n
	}
	if len(rows) > 0 {
		p.progress.Scanned += int64(len(rows))
		p.progress.LastKey = string(rows[len(rows)-1].LockKey)
	}
	return len(rows) == PurgePage, nil
}

// readCommitted keeps a transaction that locks rows from locking the gaps beside
// them, where others insert.
var readCommitted = &sql.TxOptions{Isolation: sql.LevelReadCommitted}

// batch deletes what is still purgeable, in one transaction, and returns how many
// rows that were. The floors come first: who acquires a fresh key has its floor
// locked before its row, and who has neither sees both changed or none.
func (p *purge) batch(ctx context.Context, batch []candidate) (purged int64, err error) {
	l, key := p.locker, batch[0].key
	err = l.transact(ctx, job{op: "purge", key: key, txOptions: readCommitted}, func(q *lockdb.Queries) (err error) {
		purged, err = p.deleteBatch(ctx, q, batch)
		return err
	})
	if err != nil {
		return 0, err
	}
	return purged, nil
}

func (p *purge) deleteBatch(ctx context.Context, q *lockdb.Queries, batch []candidate) (int64, error) {
	var shards []int16
	for _, c := range batch {
		shards = append(shards, c.shard)
	}
	floors, err := q.LockFloors(ctx, slices.Compact(shards))
	if err != nil {
		return 0, err
	}
	var entries []lockdb.Entry
	for _, c := range batch {
		if slices.Contains(floors, c.shard) {
			entries = append(entries, lockdb.Entry{Key: c.key})
		}
	}
	if len(entries) == 0 {
		return 0, nil
	}
	places, err := q.LockPurgeable(ctx, lockdb.LockPurgeableParams{Batch: lockdb.Batch(entries), IdleMicros: p.idleMicros})
	if err != nil || len(places) == 0 {
		return 0, err
	}
	locked := make([]lockdb.Entry, len(places))
	for i, place := range places {
		locked[i] = entries[place]
	}
	if err := q.RaiseFloors(ctx, lockdb.Batch(locked)); err != nil {
		return 0, err
	}
	n, err := q.DeleteKeys(ctx, lockdb.Batch(locked))
	if err == nil && n != int64(len(locked)) {
		err = fmt.Errorf("of %d rows that it has locked, %d were deleted: look for a trigger on helix_locks, or a proxy between", len(locked), n)
	}
	return n, err
}
