package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// protected takes chunks and posts payouts with the library. It shows both of
// its shapes: a chunk is work of many transactions and is held under a lease, a
// payout is one transaction and runs under the lock of its account.
type protected struct {
	db     *sql.DB
	locker *txlock.Locker
	worker string
	ttl    time.Duration
	stops  stops
	tally  *tally
}

func newProtected(ctx context.Context, db *sql.DB, c workerConfig, s stops, t *tally) (*protected, error) {
	locker, err := txlock.New(db)
	if err != nil {
		return nil, err
	}
	if err := locker.Prepare(ctx); err != nil {
		return nil, err
	}
	return &protected{db: db, locker: locker, worker: c.Name, ttl: c.TTL, stops: s, tally: t}, nil
}

func chunkKey(chunk int) string        { return fmt.Sprintf("chunk:%03d", chunk) }
func accountKey(account string) string { return "account:" + account }

// claim acquires the lease of a chunk. When its holder died, that succeeds once
// the TTL is over; when the holder is only late, it is fenced from then on.
func (p *protected) claim(ctx context.Context, chunk int) (claim, error) {
	lease, err := p.locker.TryAcquire(ctx, chunkKey(chunk), txlock.TTL(p.ttl))
	var held *txlock.HeldError
	switch {
	case errors.As(err, &held):
		return nil, &takenError{retryAfter: held.RetryAfter}
	case errors.Is(err, txlock.ErrCommitUnknown):
		return nil, &takenError{retryAfter: p.ttl} // perhaps by us: then it expires
	case err != nil:
		return nil, err
	}

	var done bool
	err = lease.InTx(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		done, err = chunkDone(ctx, tx, chunk)
		return err
	})
	if err != nil {
		return nil, err
	}
	if done { // by another worker, after openChunks had looked
		return nil, errors.Join(errChunkDone, lease.Release(ctx))
	}
	return &leasedChunk{protected: p, chunk: chunk, lease: lease}, nil
}

type leasedChunk struct {
	*protected
	chunk int
	lease *txlock.Lease
}

func (c *leasedChunk) epoch() int64 { return c.lease.Epoch() }

// keep renews the lease when a third of its TTL is gone.
func (c *leasedChunk) keep(ctx context.Context) error {
	if time.Until(c.lease.Deadline()) > c.ttl*2/3 {
		return nil
	}
	if err := c.settled(func() error { return c.lease.Renew(ctx) }); err != nil {
		return asLost(err)
	}
	c.tally.Renewed++
	return nil
}

// post posts one payout under two protections. The lock of the account keeps
// every other payout to it out until this transaction ends, so that what was
// read stays true; when the process is killed, the server rolls back and the
// lock is free at once. The fence of the lease refuses the transaction of a
// worker that was away while its chunk went to another.
func (c *leasedChunk) post(ctx context.Context, payout payout) error {
	entry := posting{payout: payout, Chunk: c.chunk, Epoch: c.lease.Epoch(), Worker: c.worker}

	// The pause hits here. Inside the transaction it would only make rivals wait:
	// the server would not let them have the chunk before this one is done.
	if err := c.stops.at(ctx, stopBeforeTx, entry); err != nil {
		return err
	}
	posted := false
	err := c.settled(func() error {
		attempts := 0
		err := c.locker.Do(ctx, accountKey(payout.Account), func(ctx context.Context, tx *sql.Tx) error {
			attempts++
			if err := c.lease.VerifyTx(ctx, tx); err != nil {
				return err
			}
			var balance int64
			var err error
			posted, balance, err = entry.read(ctx, tx)
			if err != nil || posted {
				return err
			}
			if err := entry.writeEntry(ctx, tx); err != nil {
				return err
			}
			if err := c.stops.at(ctx, stopHalfWritten, entry); err != nil {
				return err
			}
			return entry.writeBalance(ctx, tx, balance+payout.AmountCents)
		})
		c.tally.Retried += max(attempts-1, 0)
		return err
	})
	switch {
	case err != nil:
		return asLost(err)
	case posted:
		c.tally.Skipped++
	default:
		c.tally.Posted++
	}
	return nil
}

// finish records that the chunk is done, fenced like everything else, and gives
// it back.
func (c *leasedChunk) finish(ctx context.Context) error {
	err := c.settled(func() error {
		return c.lease.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			// The fence lets transactions of one lease run side by side.
			if err := lockChunk(ctx, tx, c.chunk); err != nil {
				return err
			}
			done, err := chunkDone(ctx, tx, c.chunk)
			if err != nil || done {
				return err
			}
			return recordChunkDone(ctx, tx, c.chunk, c.lease.Epoch(), c.worker)
		})
	})
	if err != nil {
		return asLost(err)
	}
	// Called again after an unknown COMMIT that did happen, it finds the lease lost:
	// then it is over, which is what was wanted.
	return asLost(c.settled(func() error { return c.lease.Release(ctx) }))
}

// settled calls f again while the connection was lost in the middle of its
// COMMIT. f takes a lock that the transaction in question has until it is over,
// and looks only then whether its work is done, or it does no harm twice.
func (p *protected) settled(f func() error) error {
	for {
		err := f()
		if !errors.Is(err, txlock.ErrCommitUnknown) {
			return err
		}
		p.tally.CommitUnknown++
	}
}

func asLost(err error) error {
	if errors.Is(err, txlock.ErrLost) {
		return &lostError{err}
	}
	return err
}
