package oracle

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/gox-helix/gox-helix/proof/history"
)

// Counters are the two counters of all keys together.
type Counters struct {
	Leased, Fenced Counter
}

// Counter is one that is read, incremented and written back.
type Counter struct {
	Acknowledged int64 // increments
	Unknown      int64 // increments of unknown outcome
	Lost         int64 // acknowledged, and certainly not in the counter
}

// Count reads the counters, and compares them with the increments that ops, settled,
// say there were.
func Count(ctx context.Context, db *sql.DB, ops []history.Op) (Counters, error) {
	type pair struct{ leased, fenced int64 }
	acked := map[string]pair{}
	var c Counters
	for i := range ops {
		op := &ops[i]
		p := acked[op.Key]
		switch {
		case op.Kind == history.Bump && op.Outcome == history.OK:
			p.leased++
			c.Leased.Acknowledged++
		case op.Kind == history.Bump && op.Outcome == history.Unknown:
			c.Leased.Unknown++
		case op.Kind.Counts() && op.Outcome == history.OK:
			p.fenced++
			c.Fenced.Acknowledged++
		case op.Kind.Counts() && op.Outcome == history.Unknown:
			c.Fenced.Unknown++
		}
		acked[op.Key] = p
	}
	rows, err := db.QueryContext(ctx, `SELECT k, leased, n FROM proof_counters`)
	if err != nil {
		return c, fmt.Errorf("oracle: reading the counters: %w", err)
	}
	defer func() { _ = rows.Close() }() // read to their end, or rows.Err says more
	for rows.Next() {
		var key string
		var leased, fenced int64
		if err := rows.Scan(&key, &leased, &fenced); err != nil {
			return c, fmt.Errorf("oracle: reading the counters: %w", err)
		}
		c.Leased.Lost += max(0, acked[key].leased-leased)
		c.Fenced.Lost += max(0, acked[key].fenced-fenced)
	}
	if err := rows.Err(); err != nil {
		return c, fmt.Errorf("oracle: reading the counters: %w", err)
	}
	return c, nil
}
