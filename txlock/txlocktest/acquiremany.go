package txlocktest

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"slices"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/lockdb"
)

// ExpectAcquireManyTx expects Locker.AcquireManyTx of keys, in whatever order.
// [Granted] gives all of them this epoch, [Held] lets the first of keys be held; the
// failures are those of its first statement, and with [NoWait], [Busy] lets another
// transaction have the first of them locked.
func ExpectAcquireManyTx(mock sqlmock.Sqlmock, keys []string, outcome AcquireOutcome, opts ...Option) {
	a := configure(opts)
	if len(keys) == 0 {
		return // it is refused, and sends nothing
	}
	chunks := slices.Collect(slices.Chunk(slices.Sorted(slices.Values(keys)), lockdb.MaxBatch))
	r := outcome.acquisition()
	if a.noWait {
		for _, chunk := range chunks {
			mock.ExpectBegin()
			missingKeysStatement(chunk).query(mock).WillReturnRows(sqlmock.NewRows([]string{"i"}))
			mock.ExpectRollback()
		}
	}
	for _, chunk := range chunks {
		var e *sqlmock.ExpectedQuery
		if a.noWait {
			e = lockKeysNoWaitStatement(chunk).query(mock)
			if r.err != nil && !isBusy(r.err) {
				e.WillReturnError(r.err)
				return
			}
		} else {
			ensure := ensureKeysStatement(chunk)
			if r.err != nil {
				ensure.expectExec(mock, r)
				return
			}
			ensure.expectExec(mock, reply{matched: int64(len(chunk))})
			e = lockKeysStatement(chunk).query(mock)
		}
		rows, refused := sqlmock.NewRows([]string{"i", "owner_id", "epoch", "status", "remaining_micros"}), false
		for i, key := range chunk {
			first := key == keys[0]
			switch {
			case first && r.err != nil: // skipped
				refused = true
			case first && r.insertID < 0:
				rows.AddRow(int64(i), []byte("another"), int64(1), int64(1), -r.insertID)
				refused = true
			default:
				rows.AddRow(int64(i), []byte(nil), max(r.insertID-1, 0), int64(0), int64(0))
			}
		}
		e.WillReturnRows(rows)
		if refused {
			return
		}
	}
	for _, chunk := range chunks {
		acquireLeasesStatement(chunk).expectExec(mock, reply{matched: int64(len(chunk))})
	}
}

func missingKeysStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		_, err := q.MissingKeys(context.Background(), batch)
		return err
	})
}

func ensureKeysStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		return q.EnsureKeys(context.Background(), batch)
	})
}

func lockKeysStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		_, err := q.LockKeys(context.Background(), batch)
		return err
	})
}

func lockKeysNoWaitStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		_, err := q.LockKeysNoWait(context.Background(), batch)
		return err
	})
}

func acquireLeasesStatement(keys []string) statement {
	return recordBatch(keys, func(q *lockdb.Queries, batch string) error {
		_, err := q.AcquireLeases(context.Background(), lockdb.AcquireLeasesParams{Batch: batch})
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

// batchOf matches a batch of these keys, in this order, with whatever lease ids.
type batchOf []string

// Match compares the keys.
func (keys batchOf) Match(v driver.Value) bool {
	var entries [][]any
	text, _ := v.(string)
	if json.Unmarshal([]byte(text), &entries) != nil {
		return false
	}
	return slices.EqualFunc(keys, entries, func(key string, entry []any) bool {
		return len(entry) > 0 && entry[0] == lockdb.Hex(key)
	})
}
