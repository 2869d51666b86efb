package doctor

import (
	"context"
	"database/sql"
)

// probe is a statement that asks for one privilege on one table.
type probe struct {
	table, privilege string
	purge            bool // only a purge needs it
	query            string
}

// writes reports whether the server has to take writes for it.
func (p probe) writes() bool { return p.privilege != "SELECT" }

const (
	tableLocks = "helix_locks"
	tableFloor = "helix_lock_floor"
)

func probes() []probe {
	return []probe{
		{tableLocks, "SELECT", false, probeSelectLocks},
		{tableLocks, "INSERT", false, probeInsertLocks},
		{tableLocks, "UPDATE", false, probeUpdateLocks},
		{tableLocks, "DELETE", true, probeDeleteLocks},
		{tableFloor, "SELECT", false, probeSelectFloor},
		{tableFloor, "INSERT", true, probeInsertFloor},
		{tableFloor, "UPDATE", true, probeUpdateFloor},
	}
}

// access is what came of the probes.
type access struct {
	probed []probed
	err    error // why there are none
}

type probed struct {
	probe
	err error
}

// readAccess probes in one transaction, which is rolled back. A refusal does not
// end it.
func (e *examination) readAccess(ctx context.Context) (a access) {
	a.err = e.on(ctx, func(ctx context.Context, conn *sql.Conn) (err error) {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() {
			if rollbackErr := tx.Rollback(); err == nil {
				err = rollbackErr
			}
		}()
		for _, p := range probes() {
			_, err := tx.ExecContext(ctx, p.query)
			if ctxErr := ctx.Err(); ctxErr != nil {
				return ctxErr
			}
			if isLost(err) {
				return err
			}
			a.probed = append(a.probed, probed{p, err})
		}
		return nil
	})
	if a.err != nil {
		a.probed = nil
	}
	return a
}

// outcome is that of one probe.
func (a access) outcome(table, privilege string) outcome {
	for _, p := range a.probed {
		if p.table == table && p.privilege == privilege {
			return outcomeOf(p.err)
		}
	}
	return failed
}

// write is whether the server takes writes from this user: it refused one, or
// took one, or nothing is known.
func (a access) write() (taken bool, refusal error) {
	if outcomeOf(a.err) == refused { // at BEGIN
		return false, a.err
	}
	for _, p := range a.probed {
		if !p.writes() {
			continue
		}
		o := outcomeOf(p.err)
		if o == refused {
			return false, p.err
		}
		taken = taken || o == done
	}
	return taken, nil
}
