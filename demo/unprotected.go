package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

// unprotected does the same without the library, as it is commonly done: a chunk
// is claimed in columns of its row, for some time, by a look and then a write; a
// payout is looked for, its account read, and both written, in a transaction. A
// claim is kept up, and work on it ends when it is seen to be lost. Each step is
// sensible, and between any two of them there is room for somebody else.
type unprotected struct {
	db     *sql.DB
	worker string
	ttl    time.Duration
	stops  stops
	tally  *tally
}

func (u *unprotected) claim(ctx context.Context, chunk int) (claim, error) {
	done, err := chunkDone(ctx, u.db, chunk)
	if err != nil {
		return nil, err
	}
	if done {
		return nil, errChunkDone
	}
	var micros, attempt int64
	err = u.db.QueryRowContext(ctx,
		"SELECT COALESCE(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), claimed_until), 0), attempt FROM chunks WHERE chunk_id = ?", chunk).Scan(&micros, &attempt)
	if err != nil {
		return nil, fmt.Errorf("chunk %d: looking whether it is claimed: %w", chunk, err)
	}
	if micros > 0 {
		return nil, &takenError{retryAfter: time.Duration(micros) * time.Microsecond}
	}
	c := &claimedChunk{unprotected: u, chunk: chunk, attempt: attempt + 1, claimed: time.Now()}
	_, err = u.db.ExecContext(ctx,
		"UPDATE chunks SET claimed_by = ?, claimed_until = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)), attempt = ? WHERE chunk_id = ?",
		u.worker, u.ttl.Microseconds(), c.attempt, chunk)
	if err != nil {
		return nil, fmt.Errorf("chunk %d: claiming it: %w", chunk, err)
	}
	return c, nil
}

type claimedChunk struct {
	*unprotected
	chunk   int
	attempt int64
	claimed time.Time
}

func (c *claimedChunk) epoch() int64 { return c.attempt }

// keep extends the claim when a third of its time is gone, and sees whether it
// still is one.
func (c *claimedChunk) keep(ctx context.Context) error {
	if time.Since(c.claimed) < c.ttl/3 {
		return nil
	}
	now := time.Now()
	res, err := c.db.ExecContext(ctx,
		"UPDATE chunks SET claimed_until = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) WHERE chunk_id = ? AND claimed_by = ?",
		c.ttl.Microseconds(), c.chunk, c.worker)
	if err != nil {
		return fmt.Errorf("chunk %d: extending the claim: %w", c.chunk, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return &lostError{fmt.Errorf("chunk %d: another worker has claimed it", c.chunk)}
	}
	c.claimed = now
	c.tally.Renewed++
	return nil
}

func (c *claimedChunk) post(ctx context.Context, payout payout) error {
	entry := posting{payout: payout, Chunk: c.chunk, Epoch: c.attempt, Worker: c.worker}
	for {
		err := c.postOnce(ctx, entry)
		var e *mysql.MySQLError
		if errors.As(err, &e) && (e.Number == 1205 || e.Number == 1213) { // lock wait timeout, deadlock
			c.tally.Retried++
			continue
		}
		return err
	}
}

// postOnce asks for READ COMMITTED, as many applications do, so that every
// server shows the same: MariaDB from 11.6.2 on refuses some of the lost updates
// of REPEATABLE READ (innodb_snapshot_isolation).
func (c *claimedChunk) postOnce(ctx context.Context, entry posting) error {
	tx, err := c.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do

	posted, balance, err := entry.read(ctx, tx)
	if err != nil {
		return err
	}
	if posted {
		c.tally.Skipped++
		return nil
	}
	if err := c.stops.at(ctx, stopBeforeWrite, entry); err != nil {
		return err
	}
	if err := entry.writeEntry(ctx, tx); err != nil {
		return err
	}
	if err := c.stops.at(ctx, stopHalfWritten, entry); err != nil {
		return err
	}
	if err := entry.writeBalance(ctx, tx, balance+entry.AmountCents); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	c.tally.Posted++
	return nil
}

func (c *claimedChunk) finish(ctx context.Context) error {
	if err := recordChunkDone(ctx, c.db, c.chunk, c.attempt, c.worker); err != nil {
		return err
	}
	_, err := c.db.ExecContext(ctx,
		"UPDATE chunks SET claimed_by = NULL, claimed_until = NULL WHERE chunk_id = ? AND claimed_by = ?", c.chunk, c.worker)
	return err
}
