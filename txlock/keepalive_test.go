package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// beats lets a test wait for heartbeats.
type beats chan txlock.Result

func (beats) Start(ctx context.Context, _ txlock.Operation) context.Context { return ctx }

func (b beats) End(_ context.Context, op txlock.Operation, result txlock.Result) {
	if op.Name == txlock.OpHeartbeat {
		b <- result
	}
}

func newBeats() beats { return make(beats, 10000) }

// heldAlive is a lease that is kept alive, and its heartbeats.
func (l *live) heldAlive(ttl time.Duration, opts ...txlock.Option) (*txlock.Lease, beats) {
	l.Helper()
	b := newBeats()
	lease := l.try(l.locker(l.db, append(opts, txlock.WithObserver(b))...), txlock.TTL(ttl))
	l.must(lease.KeepAlive(l.Context()))
	return lease, b
}

// await returns after so many heartbeats that went well. (On a busy machine one may
// take too long; the lease is there to say if that was once too often.)
func (l *live) await(lease *txlock.Lease, b beats, n int) {
	l.Helper()
	for n > 0 {
		select {
		case r := <-b:
			if r.Err == nil {
				n--
			}
		case <-lease.Context().Done():
			l.Fatalf("the lease is not trusted: %v", context.Cause(lease.Context()))
		}
	}
}

// stands fails the test unless the lease is held, for all that its holder and its
// rivals know.
func (l *live) stands(lease *txlock.Lease) {
	l.Helper()
	if err := context.Cause(lease.Context()); err != nil {
		l.Errorf("the lease is not trusted: %v", err)
	}
	if _, err := l.TryAcquire(l.Context(), l.key, txlock.NoWait()); !errors.Is(err, txlock.ErrHeld) && !errors.Is(err, txlock.ErrBusy) {
		l.Errorf("a rival got %v", err)
	}
	if time.Until(lease.Deadline()) <= 0 {
		l.Error("its deadline has passed")
	}
}

// beatTTL leaves a busy machine some time for a heartbeat.
const beatTTL = 1500 * time.Millisecond

func TestKeepAlive(t *testing.T) {
	onServers(t, func(l *live) {
		lease, b := l.heldAlive(beatTTL)
		l.await(lease, b, 4) // longer than the TTL
		l.stands(lease)
		if l.epoch() != lease.Epoch() {
			l.Errorf("epoch %d, was %d", l.epoch(), lease.Epoch())
		}
		l.must(lease.Release(l.Context()))
		l.must(l.try(l.Locker).Release(l.Context()))
	})
}

// A single transaction that outlasts the deadline ends the trust, and says why. It holds off
// rivals until it ends all the same, and commits.
func TestOneFenceLongerThanTheTrust(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease, _ := l.heldAlive(beatTTL)
		tx := l.begin()
		l.must(lease.VerifyTx(ctx, tx))
		<-lease.Context().Done()
		cause := context.Cause(lease.Context())
		l.wants(cause, txlock.ErrLost)
		if !strings.Contains(cause.Error(), "such as a fenced one of its own") {
			l.Errorf("the trust ended because of %v", cause)
		}
		for info, err := l.Inspect(ctx, l.key); err != nil || info.Held(); info, err = l.Inspect(ctx, l.key) {
			l.must(err)
		}
		var acquired *txlock.Lease
		err := l.waits(func() (err error) {
			acquired, err = l.TryAcquire(ctx, l.key)
			return err
		}, func() {
			l.bump(tx)
			l.must(tx.Commit())
		})
		l.must(err)
		if acquired.Epoch() != lease.Epoch()+1 || l.counter(l.db) != 1 {
			l.Errorf("epoch %d after %d, the counter is %d", acquired.Epoch(), lease.Epoch(), l.counter(l.db))
		}
	})
}

// fenceAllTheTime runs fenced transactions, each of that length, in so many goroutines, so
// that one is nearly always open, until the context ends. It returns how many there were.
func (l *live) fenceAllTheTime(ctx context.Context, lease *txlock.Lease, goroutines int, length time.Duration) int64 {
	l.Helper()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := lease.InTx(l.Context(), func(context.Context, *sql.Tx) error {
					select {
					case <-ctx.Done():
					case <-time.After(length): // the time that work takes
					}
					return nil
				})
				if err != nil {
					l.Errorf("fence: %v", err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return n.Load()
}

// A holder whose fenced transactions overlap without a gap keeps its lease for many TTLs,
// though no heartbeat finds its row free, while a rival asks all the time.
func TestHolderThatFencesAllTheTime(t *testing.T) {
	onServersInTurn(t, func(l *live) {
		ctx, cancel := context.WithTimeout(l.Context(), 4*beatTTL)
		defer cancel()
		lease, _ := l.heldAlive(beatTTL)
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := l.TryAcquire(l.Context(), l.key, txlock.NoWait()); !errors.Is(err, txlock.ErrHeld) && !errors.Is(err, txlock.ErrBusy) {
					l.Errorf("a rival got %v", err)
					return
				}
			}
		})
		n := l.fenceAllTheTime(ctx, lease, 8, beatTTL/10)
		wg.Wait()
		l.stands(lease)
		if n < 8 {
			l.Errorf("%d fenced transactions", n)
		}
		l.must(lease.Release(l.Context()))
	})
}

// An operator's revocation reaches the holder with the next heartbeat.
func TestHeartbeatAfterRevocation(t *testing.T) {
	onServers(t, func(l *live) {
		lease, _ := l.heldAlive(3 * beatTTL)
		l.must(l.Revoke(l.Context(), l.key))
		<-lease.Context().Done()
		var lost *txlock.LostError
		if !errors.As(context.Cause(lease.Context()), &lost) || lost.Err != nil {
			l.Errorf("got %v", context.Cause(lease.Context()))
		}
	})
}

// The trust in a lease that cannot be renewed ends before a rival can have it.
func TestTrustEndsBeforeTheTakeover(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		db := l.server.Open(l.T)
		db.SetMaxOpenConns(1)
		lease := l.try(l.locker(db), txlock.TTL(beatTTL))
		l.must(lease.KeepAlive(ctx))
		conn, err := db.Conn(ctx) // the only one: no heartbeat from now on
		l.must(err)
		defer func() { l.must(conn.Close()) }()

		rival, err := l.Acquire(ctx, l.key)
		l.must(err)
		select {
		case <-lease.Context().Done():
		default:
			l.Error("a rival has the key, and its holder does not know")
		}
		cause := context.Cause(lease.Context())
		l.wants(cause, txlock.ErrLost)
		l.wants(cause, context.DeadlineExceeded) // there was no connection
		l.must(rival.Release(ctx))
	})
}

// On a multi-writer cluster every fenced transaction renews the lease.
func TestFencesRenewWithMultiWriter(t *testing.T) {
	onServers(t, func(l *live) {
		lease, _ := l.heldAlive(long, txlock.WithMultiWriter())
		before := lease.Deadline()
		l.must(lease.InTx(l.Context(), nothing))
		if !lease.Deadline().After(before) {
			l.Error("did not renew")
		}
		l.must(lease.Release(l.Context()))
	})
}

// In a pool of one connection heartbeats and fenced transactions take turns.
func TestRunInAPoolOfOne(t *testing.T) {
	onServers(t, func(l *live) {
		db := l.server.Open(l.T)
		db.SetMaxOpenConns(1)
		b := newBeats()
		locker := l.locker(db, txlock.WithObserver(b))
		l.must(locker.Run(l.Context(), l.key, func(ctx context.Context, lease *txlock.Lease) error {
			for range 3 {
				l.await(lease, b, 1)
				if err := lease.InTx(ctx, func(_ context.Context, tx *sql.Tx) error { l.bump(tx); return nil }); err != nil {
					return err
				}
			}
			return nil
		}, txlock.TTL(beatTTL)))
		if n := l.counter(l.db); n != 3 {
			l.Errorf("counted to %d", n)
		}
	})
}

func TestRun(t *testing.T) {
	errJob := errors.New("the job failed")
	for name, c := range map[string]struct {
		job  func(l *live, ctx context.Context, lease *txlock.Lease) error
		want []error // nil for none
	}{
		"done": {func(l *live, ctx context.Context, lease *txlock.Lease) error {
			if epoch, ok := txlock.EpochFromContext(ctx); !ok || epoch != lease.Epoch() {
				l.Errorf("epoch %d, %v in the context", epoch, ok)
			}
			return nil
		}, nil},
		"failed": {func(l *live, ctx context.Context, lease *txlock.Lease) error { return errJob }, []error{errJob}},
		"released by itself": {func(l *live, ctx context.Context, lease *txlock.Lease) error {
			return lease.Release(ctx)
		}, nil},
		"lost": {func(l *live, ctx context.Context, lease *txlock.Lease) error {
			l.must(l.Revoke(l.Context(), l.key))
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), txlock.ErrLost) {
				l.Errorf("ended because of %v", context.Cause(ctx))
			}
			return errJob
		}, []error{errJob, txlock.ErrLost}},
		"lost, and not noticed": {func(l *live, ctx context.Context, lease *txlock.Lease) error {
			l.must(l.Revoke(l.Context(), l.key))
			return nil
		}, []error{txlock.ErrLost}},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				err := l.Locker.Run(l.Context(), l.key, func(ctx context.Context, lease *txlock.Lease) error {
					return c.job(l, ctx, lease)
				}, txlock.TTL(time.Second))
				if len(c.want) == 0 {
					l.must(err)
				}
				for _, want := range c.want {
					l.wants(err, want)
				}
				if r := l.row(); r.status != 0 {
					l.Errorf("left with status %d", r.status)
				}
			})
		})
	}
}

// The lease is kept until the job returns, also when its context has ended, and
// released then.
func TestRunAfterCancellation(t *testing.T) {
	onServers(t, func(l *live) {
		ctx, cancel := context.WithCancel(l.Context())
		b := newBeats()
		err := l.locker(l.db, txlock.WithObserver(b)).Run(ctx, l.key, func(ctx context.Context, lease *txlock.Lease) error {
			cancel()
			<-ctx.Done()
			l.await(lease, b, 4) // longer than the TTL
			l.stands(lease)
			return ctx.Err()
		}, txlock.TTL(beatTTL))
		l.wants(err, context.Canceled)
		if errors.Is(err, txlock.ErrLost) {
			l.Errorf("got %v", err)
		}
		if r := l.row(); r.status != 0 {
			l.Errorf("left with status %d", r.status)
		}
		if err := l.Locker.Run(ctx, l.key, func(context.Context, *txlock.Lease) error { l.Error("called"); return nil }); !errors.Is(err, context.Canceled) {
			l.Errorf("got %v", err)
		}
	})
}

// A panic releases, and goes on.
func TestRunPanics(t *testing.T) {
	onServers(t, func(l *live) {
		func() {
			defer func() {
				if r := recover(); r != "the job" {
					l.Errorf("recovered %v", r)
				}
			}()
			err := l.Locker.Run(l.Context(), l.key, func(context.Context, *txlock.Lease) error { panic("the job") })
			l.Errorf("returned %v", err)
		}()
		if r := l.row(); r.status != 0 {
			l.Errorf("left with status %d", r.status)
		}
	})
}

// Many processes run under one key, each for a moment: one at a time.
func TestRunOneAtATime(t *testing.T) {
	onServers(t, func(l *live) {
		var running atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			locker := l.locker(l.db)
			wg.Go(func() {
				for range 5 {
					err := locker.Run(l.Context(), l.key, func(ctx context.Context, lease *txlock.Lease) error {
						if n := running.Add(1); n != 1 {
							l.Errorf("%d at a time", n)
						}
						defer running.Add(-1)
						return lease.InTx(ctx, func(_ context.Context, tx *sql.Tx) error {
							var n int64
							if err := tx.QueryRowContext(ctx, `SELECT n FROM counters WHERE name = ?`, l.key).Scan(&n); err != nil {
								return err
							}
							_, err := tx.ExecContext(ctx, `UPDATE counters SET n = ? WHERE name = ?`, n+1, l.key)
							return err
						})
					})
					if err != nil {
						l.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := l.counter(l.db); n != 40 {
			l.Errorf("counted to %d, want 40", n)
		}
	})
}

// A process with many leases renews them in a few statements, on a few
// connections, and notices the one that is lost.
func TestKeepManyAlive(t *testing.T) {
	onServers(t, func(l *live) {
		const leases = 2200
		ctx := l.Context()
		db := l.server.Open(l.T)
		db.SetMaxOpenConns(8)
		b := newBeats()
		locker := l.locker(db, txlock.WithObserver(b), txlock.WithTTL(30*time.Second))
		keys := make([]string, leases)
		for i := range keys {
			keys[i] = fmt.Sprintf("%s/%d", l.key, i)
		}
		tx := l.beginOn(db)
		held, err := locker.AcquireManyTx(ctx, tx, keys, txlock.TTL(6*time.Second))
		l.must(err)
		l.must(tx.Commit())
		for _, lease := range held {
			l.must(lease.KeepAlive(ctx))
		}
		l.await(held[0], b, 3)
		l.exec(`UPDATE helix_locks SET epoch = epoch + 1, status = 0, lease_id = 0 WHERE lock_key = ?`, keys[leases/2])
		<-held[leases/2].Context().Done()
		for i, lease := range held {
			if i != leases/2 && lease.Context().Err() != nil {
				l.Fatalf("lease %d: %v", i, context.Cause(lease.Context()))
			}
		}
		l.must(locker.Close())
		wantCause(l.T, held[0].Context(), txlock.ErrClosed)
	})
}
