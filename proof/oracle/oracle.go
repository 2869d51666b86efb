// Package oracle judges a run by what is in the database at its end: the business
// rows, each with the epoch it was written under, and the lock rows beside them.
package oracle

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/gox-helix/gox-helix/proof/history"
)

// Finding is a rule that the database breaks.
type Finding struct {
	Rule string
	Text string // one case of it
	Of   int    // of so many
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s (of %d)", f.Rule, f.Text, f.Of) }

// rule finds what breaks it: rows of two columns, a key and what about it.
type rule struct{ name, query string }

var rules = []rule{
	{"a fenced counter had the same value twice", `
		SELECT k, CONCAT(COUNT(*), ' transactions made it ', n, ', under epochs ', GROUP_CONCAT(epoch))
		FROM proof_writes GROUP BY k, n HAVING COUNT(*) > 1`},
	{"a fenced counter is not the number of its rows", `
		SELECT c.k, CONCAT(c.n, ' instead of ', COUNT(w.op))
		FROM proof_counters AS c LEFT JOIN proof_writes AS w ON w.k = c.k GROUP BY c.k, c.n HAVING c.n <> COUNT(w.op)`},
	{"a counter changed under a shared lock", `
		SELECT k, CONCAT('operation ', op, ' read ', n, ', and then ', again) FROM proof_shared WHERE n <> again`},
	{"an epoch went back", `
		SELECT k, CONCAT('number ', n, ' was written under epoch ', epoch, ', after epoch ', earlier)
		FROM (SELECT k, n, epoch, MAX(epoch) OVER (PARTITION BY k ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier FROM proof_writes) AS w
		WHERE earlier > epoch`},
	{"two owners had one epoch", `
		SELECT k, CONCAT('epoch ', epoch, ' is that of operations ', GROUP_CONCAT(DISTINCT lease))
		FROM (SELECT k, epoch, lease FROM proof_writes WHERE lease <> 0 UNION SELECT k, epoch, op FROM proof_acquired) AS e
		GROUP BY k, epoch HAVING COUNT(DISTINCT lease) > 1`},
	{"business rows are ahead of the lock", `
		SELECT e.k, CONCAT('epoch ', MAX(e.epoch), ', while the lock is at ', COALESCE(MAX(l.epoch), -1), ' and the floor at ', MAX(f.floor_epoch))
		FROM (SELECT k, epoch FROM proof_writes UNION SELECT k, epoch FROM proof_acquired UNION SELECT k, epoch FROM proof_shared) AS e
		JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(e.k), 256)
		LEFT JOIN helix_locks AS l ON l.lock_key = e.k
		GROUP BY e.k HAVING MAX(e.epoch) > GREATEST(COALESCE(MAX(l.epoch), 0), MAX(f.floor_epoch))`},
}

// Check asks the database for what breaks a rule.
func Check(ctx context.Context, db *sql.DB) ([]Finding, error) {
	var found []Finding
	for _, r := range rules {
		f, err := r.check(ctx, db)
		if err != nil {
			return nil, fmt.Errorf("oracle: %s: %w", r.name, err)
		}
		if f.Of > 0 {
			found = append(found, f)
		}
	}
	return found, nil
}

func (r rule) check(ctx context.Context, db *sql.DB) (_ Finding, err error) {
	f := Finding{Rule: r.name}
	rows, err := db.QueryContext(ctx, r.query)
	if err != nil {
		return f, err
	}
	defer func() { _ = rows.Close() }() // read to their end, or rows.Err says more
	for rows.Next() {
		var key, text string
		if err := rows.Scan(&key, &text); err != nil {
			return f, err
		}
		if f.Of++; f.Of == 1 {
			f.Text = fmt.Sprintf("%q: %s", key, text)
		}
	}
	return f, rows.Err()
}

// Rows are the operations that wrote business rows, with their epochs.
func Rows(ctx context.Context, db *sql.DB) (map[int64]int64, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT op, epoch FROM proof_writes UNION SELECT op, epoch FROM proof_acquired UNION SELECT op, epoch FROM proof_shared`)
	if err != nil {
		return nil, fmt.Errorf("oracle: reading the business rows: %w", err)
	}
	defer func() { _ = rows.Close() }() // as above
	epochs := map[int64]int64{}
	for rows.Next() {
		var op, epoch int64
		if err := rows.Scan(&op, &epoch); err != nil {
			return nil, fmt.Errorf("oracle: reading the business rows: %w", err)
		}
		epochs[op] = epoch
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("oracle: reading the business rows: %w", err)
	}
	return epochs, nil
}

// Settle compares a history with the business rows: lock and rows commit or roll
// back together, so that an operation whose outcome its client did not learn has
// happened if its row is there, and not if it is not. It changes ops accordingly.
func Settle(ops []history.Op, rows map[int64]int64) []Finding {
	missing := Finding{Rule: "an acknowledged transaction has left no row"}
	extra := Finding{Rule: "a transaction that was refused or rolled back has left a row"}
	other := Finding{Rule: "a row has another epoch than its client was told"}
	add := func(f *Finding, op *history.Op) {
		if f.Of++; f.Of == 1 {
			f.Text = fmt.Sprintf("%q: operation %d, %s, %s, epoch %d %s", op.Key, op.ID, op.Kind, op.Outcome, op.Epoch, op.Error)
		}
	}
	known := 0
	for i := range ops {
		op := &ops[i]
		epoch, wrote := rows[op.ID]
		if wrote {
			known++
		}
		if !op.Kind.HasRow() {
			continue
		}
		switch {
		case wrote && op.Epoch != 0 && op.Epoch != epoch && op.Outcome == history.OK:
			add(&other, op)
		case op.Outcome == history.OK && !wrote:
			add(&missing, op)
		case op.Outcome == history.Unknown && wrote:
			op.Outcome, op.Epoch, op.Return = history.OK, epoch, history.Pending
		case op.Outcome == history.Unknown:
			op.Outcome = history.RolledBack
		case op.Outcome != history.OK && wrote:
			add(&extra, op)
		}
	}
	if n := len(rows) - known; n > 0 {
		extra.Of += n
		if extra.Text == "" {
			extra.Text = "of operations that nobody called"
		}
	}
	var found []Finding
	for _, f := range []Finding{missing, extra, other} {
		if f.Of > 0 {
			found = append(found, f)
		}
	}
	return found
}
