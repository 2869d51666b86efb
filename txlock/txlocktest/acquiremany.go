package txlocktest

import (
	"context"
	"database/sql/driver"
	"slices"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/lockdb"
)

// ExpectAcquireManyTx expects Locker.AcquireManyTx of keys, in whatever order.
// [Granted] gives all of them this epoch, [Held] lets the first of keys be held; the
// failures are those of its first statement, and with [NoWait], [Busy] lets another
// transaction have the first of them locked.
func ExpectAcquireManyTx(mock sqlmock.Sqlmock, keys []string, outcome AcquireOutcome, opts ...AcquireOption) {
	a := acquiring(opts)
	if len(keys) == 0 {
		return // it is refused, and sends nothing
	}
	chunks := slices.Collect(slices.Chunk(slices.Sorted(slices.Values(keys)), lockdb.MaxBatch))
	r := outcome.acquisition()
	if a.noWait {
		for _, chunk := range chunks {
			mock.ExpectBegin()
			missingLocksStatement(chunk).query(mock).WillReturnRows(sqlmock.NewRows([]string{"i"}))
			mock.ExpectRollback()
		}
	}
	for _, chunk := range chunks {
		var e *sqlmock.ExpectedQuery
		if a.noWait {
			e = lockRowsNoWaitStatement(chunk).query(mock)
			if r.err != nil && !isBusy(r.err) {
				e.WillReturnError(r.err)
				return
			}
		} else {
			ensure := ensureLocksStatement(chunk)
			if r.err != nil {
				ensure.expectExec(mock, r)
				return
			}
			ensure.expectExec(mock, reply{matched: int64(len(chunk))})
			e = lockRowsStatement(chunk).query(mock)
		}
		rows, refused := sqlmock.NewRows([]string{"i", "epoch", "held_micros"}), false
		for i, key := range chunk {
			first := key == keys[0]
			switch {
			case first && r.err != nil: // skipped
				refused = true
			case first && r.insertID < 0:
				rows.AddRow(int64(i), int64(1), -r.insertID)
				refused = true
			default:
				rows.AddRow(int64(i), max(r.insertID-1, 0), int64(0))
			}
		}
		e.WillReturnRows(rows)
		if refused {
			return
		}
	}
	for _, chunk := range chunks {
		takeLocksStatement(chunk).expectExec(mock, reply{matched: int64(len(chunk))})
	}
}

func missingLocksStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		_, err := q.MissingLocks(context.Background(), batch)
		return err
	})
}

func ensureLocksStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		return q.EnsureLocks(context.Background(), batch)
	})
}

func lockRowsStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		_, err := q.LockRows(context.Background(), lockdb.LockRowsParams{Batch: batch})
		return err
	})
}

func lockRowsNoWaitStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		_, err := q.LockRowsNoWait(context.Background(), lockdb.LockRowsNoWaitParams{Batch: batch})
		return err
	})
}

func takeLocksStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		_, err := q.TakeLocks(context.Background(), lockdb.TakeLocksParams{Batch: batch})
		return err
	})
}

// recordBatch records a statement about many keys.
func recordBatch(keys []string, send func(q *lockdb.Queries, batch string) error) statement {
	s := record("", 0, func(q *lockdb.Queries) error { return send(q, placeholder.key) })
	for i, arg := range s.args {
		if arg == driver.Value(lockdb.Hex("")) {
			s.args[i] = batchOf(keys)
		}
	}
	return s
}

func (s statement) query(mock sqlmock.Sqlmock) *sqlmock.ExpectedQuery {
	return mock.ExpectQuery(s.pattern()).WithArgs(s.args...)
}

// batchOf matches a batch of these keys, in this order, with whatever lease ids.
type batchOf []string

// Match compares all but the ids, which are where two batches differ that differ in
// these alone.
func (keys batchOf) Match(v driver.Value) bool {
	got, ok := v.(string)
	none, ones := keys.batch(0), keys.batch(1111111111111111111)
	if !ok || len(got) != len(none) {
		return false
	}
	for i := range len(got) {
		if got[i] != none[i] && none[i] == ones[i] {
			return false
		}
	}
	return true
}

func (keys batchOf) batch(id int64) string {
	entries := make([]lockdb.Entry, len(keys))
	for i, key := range keys {
		entries[i] = lockdb.Entry{Key: key, LeaseID: id}
	}
	return lockdb.Batch(entries)
}
