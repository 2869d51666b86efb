package round

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gox-helix/gox-helix/proof/fault"
	"github.com/gox-helix/gox-helix/proof/load"
)

// field is what a fault can do something to.
type field struct {
	Plan
	servers  Servers
	database string
	crew     *crew
	proxies  []*fault.Proxy // one for each place of the crew
	rand     *rand.Rand
	away     map[int]bool // nodes that are not to be used
	note     func(format string, args ...any)
}

// each sets all wires.
func (f *field) each(w fault.Wire) {
	for _, p := range f.proxies {
		p.Set(w)
	}
}

// cuts is how many connections have been cut.
func (f *field) cuts() int64 {
	n := int64(0)
	for _, p := range f.proxies {
		n += p.Cuts()
	}
	return n
}

// place is one of the crew's, at random.
func (f *field) place() int { return f.rand.IntN(f.crew.size()) }

// sleep waits, or until ctx ends, which it reports.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// between is a duration between the two.
func (f *field) between(least, most time.Duration) time.Duration {
	return least + time.Duration(f.rand.Int64N(int64(most-least)))
}

// address is where a node listens.
func (f *field) address(node int) string { return f.servers.Config(node).Addr }

// route sends the workers to the nodes that take writes, and keeps asking
// until there is one, as a balancer would.
func (f *field) route(ctx context.Context) error {
	for {
		writers, err := f.servers.Writers(ctx)
		if err == nil {
			writers = slices.DeleteFunc(writers, func(n int) bool { return f.away[n] })
		}
		if len(writers) > 0 {
			for i, p := range f.proxies {
				if to := f.address(writers[i%len(writers)]); p.Target() != to {
					p.Retarget(to)
				}
			}
			return nil
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return fmt.Errorf("%s: no node takes writes: %w", f.servers.Name(), ctx.Err())
		}
	}
}

// killConnections ends connections of the workers by KILL.
func (f *field) killConnections(ctx context.Context) {
	_ = withAdmin(ctx, f.servers, "", func(db *sql.DB) error { // a fault of its own may be on
		ids, err := sessions(ctx, db, f.database)
		if err != nil || len(ids) == 0 {
			return err
		}
		_, err = db.ExecContext(ctx, fmt.Sprintf("KILL %d", ids[f.rand.IntN(len(ids))]))
		return err
	})
}

// sessions are the connections to a database.
func sessions(ctx context.Context, db *sql.DB, database string) (ids []int64, err error) {
	rows, err := db.QueryContext(ctx, `SELECT id FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()`, database)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // read to their end, or rows.Err says more
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// clock sets the clock of all workers' sessions.
func (f *field) clock(c load.Clock) { f.crew.each(load.Order{Clock: &c}) }
