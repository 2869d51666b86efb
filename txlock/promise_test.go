package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// Promise 1: epochs only rise, whatever happened to the earlier lease.
func TestEpochsRise(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		last := int64(0)
		risen := func(how string) {
			l.Helper()
			if e := l.epoch(); e <= last {
				l.Fatalf("%s: epoch %d after %d", how, e, last)
			} else {
				last = e
			}
		}
		nothing := func(context.Context, *sql.Tx) error { return nil }

		lease := l.try(l.Locker)
		risen("fresh")
		l.must(lease.Release(ctx))
		l.try(l.Locker)
		risen("after release")
		l.expire()
		lease = l.try(l.locker(l.db))
		risen("takeover after expiry")
		l.must(lease.Release(ctx))
		l.must(l.Do(ctx, l.key, nothing, txlock.NewEpoch()))
		risen("lock")
		l.must(l.Do(ctx, l.key, nothing, txlock.NewEpoch()))
		risen("lock after lock")
		l.try(l.Locker)
		risen("lease after lock")
		l.try(l.Locker, txlock.Reclaim())
		risen("reclaim")
		l.expire()
		l.must(l.Retire(ctx, l.key))
		l.try(l.Locker)
		risen("after retirement")
	})
}

// A fresh row starts above the floor of its shard, which a purge has raised.
func TestFreshKeyStartsAboveTheFloor(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		l.exec(`UPDATE helix_lock_floor SET floor_epoch = 1000 + floor_epoch WHERE shard = CRC32(?) % 256`, l.key)
		if e := l.try(l.Locker).Epoch(); e <= 1000 {
			l.Errorf("epoch %d, floor is at least 1000", e)
		}
	})
}

// A purge raises a floor in the transaction that deletes the rows: whoever
// acquires a fresh key waits for it, in READ COMMITTED too.
func TestFreshKeyWaitsForAPurge(t *testing.T) {
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead} {
		t.Run(strings.ReplaceAll(level.String(), " ", ""), func(t *testing.T) {
			onServers(t, func(l *live) {
				l = l.alone()
				purge := l.begin()
				_, err := purge.ExecContext(l.Context(), `UPDATE helix_lock_floor SET floor_epoch = 1000 + floor_epoch WHERE shard = CRC32(?) % 256`, l.key)
				l.must(err)
				tx := l.begin(&sql.TxOptions{Isolation: level})
				var lease *txlock.Lease
				l.must(l.waits(func() (err error) {
					lease, err = l.AcquireTx(l.Context(), tx, l.key)
					return err
				}, func() { l.must(purge.Commit()) }))
				if lease.Epoch() <= 1000 {
					l.Errorf("epoch %d, the floor is at least 1000", lease.Epoch())
				}
				l.must(tx.Commit())
			})
		})
	}
}

// A lock is refused by every active lease, one of its own owner too.
func TestLockDoesNotReclaim(t *testing.T) {
	onServers(t, func(l *live) {
		for range 3 { // a fresh key, one that is there, and one that the Locker knows
			lease := l.try(l.Locker, txlock.TTL(long))
			l.wants(l.Do(l.Context(), l.key, func(context.Context, *sql.Tx) error { return nil }), txlock.ErrHeld)
			l.must(lease.Release(l.Context()))
		}
	})
}

// Promise 1 under contention: a read-modify-write that only the lock protects
// loses no update, and no two transactions share an epoch.
func TestLockExcludes(t *testing.T) {
	const workers, rounds = 8, 25
	for name, c := range map[string]struct {
		prepare bool
		opts    []txlock.AcquireOption
	}{
		"plain":     {false, nil},
		"prepared":  {true, nil},
		"new epoch": {false, []txlock.AcquireOption{txlock.NewEpoch()}},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				start := l.epoch()
				var wg sync.WaitGroup
				for i := range workers {
					locker := l.Locker // half of them one owner
					if i%2 == 1 {
						locker = l.locker(l.db)
					}
					if c.prepare {
						l.must(locker.Prepare(l.Context()))
					}
					wg.Go(func() {
						for range rounds {
							if err := locker.Do(l.Context(), l.key, func(ctx context.Context, tx *sql.Tx) error {
								var n int64
								if err := tx.QueryRowContext(ctx, `SELECT n FROM counters WHERE name = ?`, l.key).Scan(&n); err != nil {
									return err
								}
								_, err := tx.ExecContext(ctx, `UPDATE counters SET n = ? WHERE name = ?`, n+1, l.key)
								return err
							}, c.opts...); err != nil {
								l.Error(err)
							}
						}
					})
				}
				wg.Wait()
				if n := l.counter(l.db); n != workers*rounds {
					l.Errorf("%d of %d updates are left", n, workers*rounds)
				}
				if e := l.epoch(); len(c.opts) > 0 && e != start+workers*rounds {
					l.Errorf("epoch %d after %d locks from %d", e, workers*rounds, start)
				}
			})
		})
	}
}

// Two goroutines of one owner exclude each other, as two owners do.
func TestOneOwnerExcludesItself(t *testing.T) {
	onServers(t, func(l *live) {
		const goroutines = 8
		leases := make(chan *txlock.Lease, goroutines)
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				lease, err := l.TryAcquire(l.Context(), l.key)
				switch {
				case err == nil:
					leases <- lease
				case !errors.Is(err, txlock.ErrHeld):
					l.Error(err)
				}
			})
		}
		wg.Wait()
		if len(leases) != 1 {
			l.Fatalf("%d goroutines hold the key", len(leases))
		}
	})
}

// Promise 2: whoever would take over an expired lease waits for the transactions
// that it fences, and the fence of a lease that was taken over fails.
func TestTakeoverWaitsForFencedTransactions(t *testing.T) {
	for name, opts := range map[string][]txlock.Option{"shared fence": nil, "written fence": {txlock.WithMultiWriter()}} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				holder := l.locker(l.db, opts...)
				lease := l.try(holder)
				l.expire()
				fenced := l.begin()
				l.must(lease.VerifyTx(l.Context(), fenced)) // nobody has taken over yet

				rival := l.locker(l.db)
				var taken *txlock.Lease
				err := l.waits(func() (err error) {
					taken, err = rival.TryAcquire(l.Context(), l.key)
					return err
				}, func() {
					l.bump(fenced)
					l.must(fenced.Commit())
				})
				if opts != nil { // the fence has renewed the lease
					l.wants(err, txlock.ErrHeld)
					l.expire()
					taken, err = rival.TryAcquire(l.Context(), l.key)
				}
				l.must(err)
				if taken.Epoch() <= lease.Epoch() {
					l.Errorf("epoch %d after %d", taken.Epoch(), lease.Epoch())
				}

				late := l.begin()
				l.wants(lease.VerifyTx(l.Context(), late), txlock.ErrLost)
				l.must(late.Rollback()) // it kept the row locked
				l.wants(lease.InTx(l.Context(), func(context.Context, *sql.Tx) error {
					l.Error("a fenced transaction ran after the takeover")
					return nil
				}), txlock.ErrLost)
			})
		})
	}
}

// A transaction that renews or releases its lease is fenced by that: rivals wait
// for it as for one that verified.
func TestRenewalAndReleaseFence(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(*txlock.Lease, context.Context, *sql.Tx) error
		then error // what the rival gets after COMMIT
	}{
		"RenewTx":   {(*txlock.Lease).RenewTx, txlock.ErrHeld},
		"ReleaseTx": {(*txlock.Lease).ReleaseTx, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				lease := l.try(l.Locker)
				l.expire()
				fenced := l.begin()
				l.must(c.run(lease, l.Context(), fenced))
				rival := l.locker(l.db)
				l.wants(l.waits(func() error {
					_, err := rival.TryAcquire(l.Context(), l.key)
					return err
				}, func() {
					l.bump(fenced)
					l.must(fenced.Commit())
				}), c.then)
			})
		})
	}
}

// Many transactions of one holder are fenced side by side.
func TestSharedFencesRunSideBySide(t *testing.T) {
	onServers(t, func(l *live) {
		lease := l.try(l.Locker)
		a, b := l.begin(), l.begin()
		l.must(lease.VerifyTx(l.Context(), a))
		l.must(lease.VerifyTx(l.Context(), b))
		l.must(a.Commit())
		l.must(b.Commit())
	})
}

// On a multi-writer cluster only a write is certified at COMMIT: the fence there
// must change its row every time, whatever the clock says.
func TestMultiWriterFenceWrites(t *testing.T) {
	onServers(t, func(l *live) {
		lease := l.try(l.locker(l.db, txlock.WithMultiWriter()))
		const read = `SELECT CAST(updated_at AS CHAR) FROM helix_locks WHERE lock_key = ?`
		tx := l.begin()
		_, err := tx.ExecContext(l.Context(), `SET timestamp = 1700000000`) // as if the clock went back, and stood still
		l.must(err)
		before := l.text(tx, read, l.key)
		for range 3 {
			l.must(lease.VerifyTx(l.Context(), tx))
			after := l.text(tx, read, l.key)
			if after <= before {
				l.Fatalf("updated_at %s after %s", after, before)
			}
			before = after
		}
		_, err = tx.ExecContext(l.Context(), `SET timestamp = DEFAULT`)
		l.must(err)
	})
}

// Promise 3: what is done in a transaction takes effect with its COMMIT, with the
// business rows, and not at all with its ROLLBACK.
func TestAtomicWithTheCallersTransaction(t *testing.T) {
	for name, op := range map[string]struct {
		run    func(l *live, lease *txlock.Lease, tx *sql.Tx) error
		leased bool // starts with an active lease
	}{
		"AcquireTx of a fresh key": {run: func(l *live, _ *txlock.Lease, tx *sql.Tx) error {
			_, err := l.AcquireTx(l.Context(), tx, l.key)
			return err
		}},
		"LockTx of a fresh key": {run: func(l *live, _ *txlock.Lease, tx *sql.Tx) error {
			return l.LockTx(l.Context(), tx, l.key)
		}},
		"AcquireTx, reclaiming": {leased: true, run: func(l *live, _ *txlock.Lease, tx *sql.Tx) error {
			_, err := l.AcquireTx(l.Context(), tx, l.key, txlock.Reclaim(), txlock.TTL(long))
			return err
		}},
		"RenewTx": {leased: true, run: func(l *live, lease *txlock.Lease, tx *sql.Tx) error {
			return lease.RenewTx(l.Context(), tx)
		}},
		"ReleaseTx": {leased: true, run: func(l *live, lease *txlock.Lease, tx *sql.Tx) error {
			return lease.ReleaseTx(l.Context(), tx)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				var lease *txlock.Lease
				if op.leased {
					lease = l.try(l.Locker)
					l.expire() // so that a renewal shows
				}
				before := l.row()

				tx := l.begin()
				l.must(op.run(l, lease, tx))
				l.bump(tx)
				if r := l.row(); r != before {
					l.Errorf("visible before COMMIT: %+v, was %+v", r, before)
				}
				l.must(tx.Rollback())
				if r := l.row(); r != before || l.counter(l.db) != 0 {
					l.Errorf("after ROLLBACK: %+v, was %+v", r, before)
				}

				tx = l.begin()
				l.must(op.run(l, lease, tx))
				l.bump(tx)
				l.must(tx.Commit())
				if r := l.row(); r == before || l.counter(l.db) != 1 {
					l.Errorf("after COMMIT: still %+v", r)
				}
			})
		})
	}
}

// A lease that is over: released, taken over, or reclaimed by its own owner.
// Nothing done with it changes anything.
func TestStaleLease(t *testing.T) {
	for name, lose := range map[string]func(l *live, lease *txlock.Lease){
		"released":   func(l *live, lease *txlock.Lease) { l.must(lease.Release(l.Context())) },
		"taken over": func(l *live, _ *txlock.Lease) { l.expire(); l.try(l.locker(l.db)) },
		"reclaimed":  func(l *live, _ *txlock.Lease) { l.try(l.Locker, txlock.Reclaim()) },
		"released and locked": func(l *live, lease *txlock.Lease) {
			l.must(lease.Release(l.Context()))
			l.must(l.Do(l.Context(), l.key, func(context.Context, *sql.Tx) error { return nil }))
		},
		"purged": func(l *live, _ *txlock.Lease) { l.exec(`DELETE FROM helix_locks WHERE lock_key = ?`, l.key) },
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				lease := l.try(l.Locker)
				lose(l, lease)
				now := l.row()
				nothing := func(context.Context, *sql.Tx) error { return nil }
				for op, call := range map[string]func() error{
					"Renew":     func() error { return lease.Renew(ctx) },
					"Release":   func() error { return lease.Release(ctx) },
					"InTx":      func() error { return lease.InTx(ctx, nothing) },
					"RenewTx":   func() error { return l.inTx(func(tx *sql.Tx) error { return lease.RenewTx(ctx, tx) }) },
					"VerifyTx":  func() error { return l.inTx(func(tx *sql.Tx) error { return lease.VerifyTx(ctx, tx) }) },
					"ReleaseTx": func() error { return l.inTx(func(tx *sql.Tx) error { return lease.ReleaseTx(ctx, tx) }) },
				} {
					err := call()
					var lost *txlock.LostError
					if !errors.As(err, &lost) || !errors.Is(err, txlock.ErrLost) {
						l.Errorf("%s: got %v", op, err)
					} else if *lost != (txlock.LostError{Key: l.key, Owner: l.Owner(), Epoch: lease.Epoch()}) {
						l.Errorf("%s: got %+v", op, lost)
					}
					if r := l.row(); r != now {
						l.Fatalf("%s changed the row to %+v, was %+v", op, r, now)
					}
				}
			})
		})
	}
}

// inTx commits whatever fn did, so that a change it should not have made shows.
func (l *live) inTx(fn func(tx *sql.Tx) error) error {
	l.Helper()
	tx := l.begin()
	err := fn(tx)
	l.must(tx.Commit())
	return err
}

// A lease that was acquired in a transaction that rolled back never was, also
// when the next one of the same owner is given its epoch again.
func TestRolledBackLeaseIsNoLease(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		tx := l.begin()
		ghost, err := l.AcquireTx(ctx, tx, l.key)
		l.must(err)
		l.must(tx.Rollback())
		multi := l.locker(l.db, txlock.WithMultiWriter(), txlock.WithOwner(l.Owner()))
		tx = l.begin()
		written, err := multi.AcquireTx(ctx, tx, l.key)
		l.must(err)
		l.must(tx.Rollback())
		lease := l.try(l.Locker)
		if lease.Epoch() != ghost.Epoch() || lease.Epoch() != written.Epoch() {
			l.Fatalf("epochs %d, %d and %d: this test wants them equal", ghost.Epoch(), written.Epoch(), lease.Epoch())
		}
		l.wants(written.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }), txlock.ErrLost)
		l.wants(ghost.Renew(ctx), txlock.ErrLost)
		l.wants(ghost.InTx(ctx, func(context.Context, *sql.Tx) error { return nil }), txlock.ErrLost)
		l.wants(ghost.Release(ctx), txlock.ErrLost)
		l.must(lease.Renew(ctx))
		l.must(lease.Release(ctx))
	})
}

// The server counts a TTL from the start of the statement, also of one that then
// waits for the row: what was waited for must not come out of the lease.
func TestWaitingDoesNotUseUpTheLease(t *testing.T) {
	const ttl = 50 * time.Millisecond
	lasts := func(l *live) int64 {
		l.Helper()
		var micros int64
		l.must(l.db.QueryRowContext(l.Context(), `SELECT TIMESTAMPDIFF(MICROSECOND, acquired_at, expires_at) FROM helix_locks WHERE lock_key = ?`, l.key).Scan(&micros))
		return micros
	}
	t.Run("acquire", func(t *testing.T) {
		onServers(t, func(l *live) {
			tx := l.begin()
			l.must(l.LockTx(l.Context(), tx, l.key))
			locker := l.locker(l.db)
			l.must(l.waits(func() error {
				_, err := locker.TryAcquire(l.Context(), l.key, txlock.TTL(ttl))
				return err
			}, func() {
				<-time.After(ttl)
				l.must(tx.Commit())
			}))
			if micros := lasts(l); micros < (2 * ttl).Microseconds() {
				l.Errorf("the lease ends %dµs after its statement was sent, having waited for %v", micros, ttl)
			}
		})
	})
	t.Run("renew", func(t *testing.T) {
		onServers(t, func(l *live) {
			lease := l.try(l.Locker, txlock.TTL(ttl))
			tx := l.begin()
			l.must(lease.VerifyTx(l.Context(), tx)) // the holder's own fence is in the way
			before := lease.Deadline()
			l.must(l.waits(func() error { return lease.Renew(l.Context()) }, func() {
				<-time.After(2 * ttl)
				l.must(tx.Commit())
			}))
			if d := lease.Deadline().Sub(before); d < 2*ttl {
				l.Errorf("the deadline moved by %v", d)
			}
			if micros := lasts(l); micros < (2 * ttl).Microseconds() {
				l.Errorf("the lease ends %dµs after it was acquired, having waited for %v", micros, 2*ttl)
			}
		})
	})
}

// An expired lease that nobody took over is renewed, verified and released: an
// unchanged epoch proves that nobody else held it.
func TestExpiredButNotTakenOver(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease := l.try(l.Locker)
		l.expire()
		l.must(l.inTx(func(tx *sql.Tx) error { return lease.VerifyTx(ctx, tx) }))
		l.must(lease.Renew(ctx))
		_, err := l.locker(l.db).TryAcquire(ctx, l.key)
		l.wants(err, txlock.ErrHeld)
		l.expire()
		l.must(lease.Release(ctx))
	})
}

// A refusal says for how long, changes nothing, and leaves the caller's
// transaction usable.
func TestHeld(t *testing.T) {
	for name, refuse := range map[string]func(l *live, locker *txlock.Locker, tx *sql.Tx) error{
		"AcquireTx": func(l *live, locker *txlock.Locker, tx *sql.Tx) error {
			_, err := locker.AcquireTx(l.Context(), tx, l.key)
			return err
		},
		"LockTx": func(l *live, locker *txlock.Locker, tx *sql.Tx) error { return locker.LockTx(l.Context(), tx, l.key) },
		"another's Reclaim": func(l *live, locker *txlock.Locker, tx *sql.Tx) error {
			_, err := locker.AcquireTx(l.Context(), tx, l.key, txlock.Reclaim())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				unaware, knowing := l.locker(l.db), l.locker(l.db)
				for range 3 {
					l.must(knowing.Do(l.Context(), l.key, func(context.Context, *sql.Tx) error { return nil }))
				}
				l.try(l.Locker, txlock.TTL(long))
				before := l.row()
				for _, rival := range []*txlock.Locker{unaware, unaware, knowing} {
					tx := l.begin()
					err := refuse(l, rival, tx)
					var held *txlock.HeldError
					if !errors.As(err, &held) {
						l.Fatalf("got %v", err)
					}
					if held.Key != l.key || held.RetryAfter > long || held.RetryAfter < long-10*time.Minute {
						l.Errorf("got %+v", held)
					}
					l.bump(tx)
					l.must(tx.Commit())
				}
				if r := l.row(); r != before {
					l.Errorf("the refusal changed the row to %+v, was %+v", r, before)
				}
				if n := l.counter(l.db); n != 3 {
					l.Errorf("%d of 3 writes are left", n)
				}
			})
		})
	}
}

// An expiry so far away that its distance is no time.Duration.
func TestHeldForCenturies(t *testing.T) {
	onServers(t, func(l *live) {
		l.try(l.Locker)
		l.exec(`UPDATE helix_locks SET expires_at = '9999-12-31 23:59:59' WHERE lock_key = ?`, l.key)
		_, err := l.locker(l.db).TryAcquire(l.Context(), l.key)
		var held *txlock.HeldError
		if !errors.As(err, &held) || held.RetryAfter < 100*365*24*time.Hour {
			l.Errorf("got %v", err)
		}
	})
}

// A lock for the length of a transaction: rivals wait for its end, COMMIT or
// ROLLBACK, and find the key free.
func TestLockLastsAsLongAsItsTransaction(t *testing.T) {
	for name, end := range map[string]func(tx *sql.Tx) error{"COMMIT": (*sql.Tx).Commit, "ROLLBACK": (*sql.Tx).Rollback} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				for range 3 { // fresh, there, and known
					tx := l.begin()
					l.must(l.LockTx(l.Context(), tx, l.key))
					rival := l.locker(l.db)
					l.must(l.waits(func() error {
						return rival.Do(l.Context(), l.key, func(context.Context, *sql.Tx) error { return nil })
					}, func() { l.must(end(tx)) }))
				}
			})
		})
	}
}
