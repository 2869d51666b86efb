package load

import (
	"context"
	"database/sql"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
)

// counter makes the counter of a key, unless it is there.
func (c *client) counter(ctx context.Context, key string) {
	if _, ok := c.counters.Load(key); ok {
		return
	}
	if _, err := c.db.ExecContext(ctx, `INSERT IGNORE INTO proof_counters (k) VALUES (?)`, key); err == nil {
		c.counters.Store(key, true)
	} // else what follows fails, and says why
}

// write is the business of a protected transaction: it reads a counter without a
// lock, adds one, writes it back, and says so in a row.
func (c *client) write(ctx context.Context, tx *sql.Tx, op *history.Op, lease, epoch int64) error {
	var n int64
	if err := tx.QueryRowContext(ctx, `SELECT n FROM proof_counters WHERE k = ?`, op.Key).Scan(&n); err != nil {
		return ownError(err)
	}
	c.think()
	if _, err := tx.ExecContext(ctx, `UPDATE proof_counters SET n = ? WHERE k = ?`, n+1, op.Key); err != nil {
		return ownError(err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO proof_writes (op, k, n, epoch, lease) VALUES (?, ?, ?, ?, ?)`, op.ID, op.Key, n+1, epoch, lease); err != nil {
		return ownError(err)
	}
	return nil
}

// work is all that a protected transaction does: it writes, and perhaps rolls back.
func (c *client) work(ctx context.Context, tx *sql.Tx, op *history.Op, lease, epoch int64) error {
	if err := c.write(ctx, tx, op, lease, epoch); err != nil {
		return err
	}
	return c.rollback()
}

// acquired says in a row that the key was acquired.
func (c *client) acquired(ctx context.Context, tx *sql.Tx, op *history.Op, epoch int64) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO proof_acquired (op, k, epoch) VALUES (?, ?, ?)`, op.ID, op.Key, epoch); err != nil {
		return ownError(err)
	}
	return nil
}

// bump adds one to the other counter, under the lease and nothing else: what a program
// does that trusts its lock.
func (c *client) bump(ctx context.Context, h *holding) {
	c.counter(ctx, h.Key())
	if h.Context().Err() != nil {
		c.giveUp(h)
		return
	}
	c.trust(h)
	op := c.about(history.Bump, h)
	c.recorder.Call(op)
	var n int64
	err := c.db.QueryRowContext(ctx, `SELECT leased FROM proof_counters WHERE k = ?`, h.Key()).Scan(&n)
	if err != nil {
		op.Outcome, op.Error = history.Failed, err.Error()
		c.recorder.Return(op)
		return
	}
	time.Sleep(time.Duration(c.rand.Int64N(int64(3 * time.Millisecond)))) // what a pause may hit
	_, err = c.db.ExecContext(ctx, `UPDATE proof_counters SET leased = ? WHERE k = ?`, n+1, h.Key())
	if c.returns(op, autocommitted(err)) == history.Unknown {
		c.forget(h) // it may be under way still
	}
}

// trust looks whether the lease may be trusted by the clock.
func (c *client) trust(h *holding) {
	if contested(h.Key()) {
		return // it may be taken away at any time
	}
	op := c.about(history.Trust, h)
	c.recorder.Call(op)
	op.Outcome = history.Ended // which says nothing: it may stand all the same
	if trusted(h) {
		op.Outcome = history.OK
	}
	c.recorder.Return(op)
}
