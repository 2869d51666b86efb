package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// hook is an observer that calls a function at the end of each operation of that
// name.
type hook struct {
	name txlock.OperationName
	end  func()
}

func (hook) Start(ctx context.Context, _ txlock.Operation) context.Context { return ctx }

func (h hook) End(_ context.Context, op txlock.Operation, _ txlock.Result) {
	if op.Name == h.name {
		h.end()
	}
}

// count is a hook that counts.
func count(name txlock.OperationName, n *atomic.Int32) hook {
	return hook{name, func() { n.Add(1) }}
}

// A job may give its lease up itself, in its last transaction.
func TestRunWhoseJobReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var released atomic.Bool
		answer := granting(nil)
		locker, db := newFake(t, func(s string, args ...any) reply {
			if s == "ReleaseLease" {
				if released.Swap(true) {
					return reply{}
				}
			}
			return answer(s, args...)
		})
		err := locker.Run(t.Context(), "key", func(ctx context.Context, lease *txlock.Lease) error {
			return inTransaction(t, db, func(tx *sql.Tx) error { return lease.ReleaseTx(ctx, tx) })
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// A lease can be kept alive again while the end of the time before is still told to
// an observer.
func TestKeepAliveAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		goOn := make(chan struct{})
		var once sync.Once
		locker, db := newFake(t, granting(nil), txlock.WithObserver(hook{txlock.OpHold, func() {
			once.Do(func() { close(ended); <-goOn })
		}}))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
		ctx, cancel := context.WithCancel(t.Context())
		if err := lease.KeepAlive(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		<-ended
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		time.Sleep(40 * time.Second)
		if err := context.Cause(lease.Context()); err != nil {
			t.Errorf("%d heartbeats, then %v", len(db.times("RenewLeases")), err)
		}
	})
}

// An operation is ended once, also where a lease is kept alive again, and is lost.
func TestHoldEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends atomic.Int32
		var lost atomic.Bool
		locker, _ := newFake(t, granting(func(s string) (reply, bool) {
			return reply{}, lost.Load() && (s == "RenewLeases" || s == "StandingLeases")
		}), txlock.WithObserver(count(txlock.OpHold, &ends)))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
		ctx, cancel := context.WithCancel(t.Context())
		if err := lease.KeepAlive(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		time.Sleep(15 * time.Second) // a heartbeat is due
		lost.Store(true)
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-lease.Context().Done()
		if err := lease.KeepAlive(t.Context()); !errors.Is(err, txlock.ErrLost) {
			t.Fatal(err)
		}
		if n := ends.Load(); n != 2 {
			t.Errorf("ended %d times", n)
		}
	})
}

// A heartbeat that comes between a release's COMMIT and its answer is no loss.
func TestHeartbeatDuringARelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		releasing, released := false, false
		var losses atomic.Int32
		answer := granting(nil)
		locker, _ := newFake(t, func(s string, args ...any) reply {
			mu.Lock()
			switch {
			case s == "ReleaseLease":
				releasing = true
			case s == "COMMIT" && releasing && !released:
				released = true // done; the answer is on its way
				mu.Unlock()
				time.Sleep(100 * time.Millisecond)
				mu.Lock()
			case released && (s == "RenewLeases" || s == "StandingLeases"):
				mu.Unlock()
				return reply{}
			}
			mu.Unlock()
			return answer(s, args...)
		}, txlock.WithObserver(count(txlock.OpLoss, &losses)))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx := lease.Context()
		time.Sleep(10*time.Second - 50*time.Millisecond)
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if cause := context.Cause(ctx); cause != context.Canceled || losses.Load() != 0 {
			t.Errorf("ended because of %v, %d losses observed", cause, losses.Load())
		}
	})
}

// A context that is asked for after the deadline has ended.
func TestContextAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, _ := newFake(t, granting(nil))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(time.Second)))
		time.Sleep(time.Second)
		if lease.Context().Err() == nil {
			t.Error("is not canceled")
		}
	})
}

// A loss after a ReleaseTx that was rolled back is told as what it is.
func TestLossAfterAReleaseThatWasRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Bool
		var losses atomic.Int32
		locker, db := newFake(t, granting(func(s string) (reply, bool) {
			return reply{}, lost.Load() && (s == "RenewLeases" || s == "StandingLeases" || s == "ReleaseLease")
		}), txlock.WithObserver(count(txlock.OpLoss, &losses)))
		errJob := errors.New("roll back")
		err := locker.Run(t.Context(), "key", func(ctx context.Context, lease *txlock.Lease) error {
			if err := inTransaction(t, db, func(tx *sql.Tx) error {
				if err := lease.ReleaseTx(ctx, tx); err != nil {
					return err
				}
				return errJob
			}); !errors.Is(err, errJob) {
				t.Error(err)
			}
			time.Sleep(11 * time.Second) // a heartbeat has found it standing
			lost.Store(true)
			<-ctx.Done()
			return nil
		})
		synctest.Wait() // the observer is told by the heartbeat
		if !errors.Is(err, txlock.ErrLost) || losses.Load() != 1 {
			t.Errorf("got %v, %d losses observed", err, losses.Load())
		}
	})
}

// KeepAlive may come and end while a heartbeat is under way.
func TestKeepAliveDuringAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := granting(nil)
		locker, _ := newFake(t, func(s string, args ...any) reply {
			if s == "RenewLeases" {
				time.Sleep(100 * time.Millisecond)
			}
			return answer(s, args...)
		})
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(3*time.Second)))
		first, cancel := context.WithCancel(t.Context())
		if err := lease.KeepAlive(first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1001 * time.Millisecond) // its heartbeat is under way
		cancel()
		synctest.Wait()
		for range 20 {
			again, cancel := context.WithCancel(t.Context())
			if err := lease.KeepAlive(again); err != nil {
				t.Error(err)
			}
			time.Sleep(8 * time.Millisecond)
			cancel()
			synctest.Wait()
		}
		time.Sleep(time.Second)
	})
}

// Heartbeats of long leases that hang on every connection there is do not cost a
// short lease its own.
func TestHeartbeatsThatHangOnAllConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := granting(nil)
		locker, _ := newFake(t, func(statement string, args ...any) reply {
			if statement == "RenewLeases" {
				if slices.ContainsFunc(args, func(arg any) bool { micros, ok := arg.(int64); return ok && micros > time.Minute.Microseconds() }) {
					return reply{hang: true}
				}
			}
			return answer(statement, args...)
		})
		for i := range 4 {
			lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(time.Hour+time.Duration(i)*time.Millisecond)))
			if err := lease.KeepAlive(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20*time.Minute - 500*time.Millisecond)
		short := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(3*time.Second)))
		if err := short.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if err := context.Cause(short.Context()); err != nil {
			t.Errorf("the short lease: %v", err)
		}
	})
}

// openSerializable is a pool whose sessions lock what they read.
func (l *live) openSerializable() *sql.DB {
	l.Helper()
	variable := "transaction_isolation"
	if l.text(l.db, `SELECT VERSION() LIKE '%Maria%'`) == "1" {
		variable = "tx_isolation"
	}
	return l.open(variable, "'SERIALIZABLE'")
}

// In a session whose reads lock, a heartbeat does not wait for a rival who waits for
// the holder's fence.
func TestHeartbeatInASerializableSession(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		b := newBeats()
		lease := l.try(l.locker(l.openSerializable(), txlock.WithObserver(b)), txlock.TTL(beatTTL))
		l.must(lease.KeepAlive(ctx))
		l.must(lease.InTx(ctx, func(ctx context.Context, _ *sql.Tx) error {
			rival, rivals := l.begin(), l.locker(l.db)
			waiting, cancel := context.WithCancel(ctx)
			got := make(chan error, 1)
			go func() {
				_, err := rivals.AcquireTx(waiting, rival, l.key)
				got <- err
			}()
			for range 2 { // the row is locked: they skip it, at once
				<-b
			}
			cancel()
			if err := <-got; err == nil {
				l.Error("a rival has acquired it")
			}
			return nil
		}))
		l.stands(lease)
		l.must(lease.Release(ctx))
	})
}

// A renewal whose statement began before another's, and gets the row after it, does
// not move the expiry back: the deadline is that of the later one. (SET timestamp
// stands for the time it was stalled.)
func TestRenewalsInTheWrongOrder(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease := l.try(l.Locker, txlock.TTL(long))
		tx := l.begin()
		_, err := tx.ExecContext(ctx, `SET timestamp = UNIX_TIMESTAMP() - 1200`)
		l.must(err)
		l.must(lease.Renew(ctx))
		l.must(lease.RenewTx(ctx, tx))
		_, err = tx.ExecContext(ctx, `SET timestamp = DEFAULT`)
		l.must(err)
		l.must(tx.Commit())
		info, err := l.Inspect(ctx, l.key)
		l.must(err)
		if trusted := time.Until(lease.Deadline()); trusted > info.Remaining {
			l.Errorf("trusted for %v more, has %v", trusted, info.Remaining)
		}
	})
}

// Whoever gets the key by expiry, the holder's context has ended by then, whatever
// the holder and its rivals do: random fences, renewals and releases that commit or
// do not, heartbeats without a connection, rivals of every kind.
func TestTrustUnderChaos(t *testing.T) {
	levels := []sql.IsolationLevel{sql.LevelDefault, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
	onServers(t, func(l *live) {
		ctx, cancel := context.WithTimeout(l.Context(), 8*time.Second)
		defer cancel()
		const ttl = 200 * time.Millisecond
		hdb, fdb := l.server.Open(l.T), l.server.Open(l.T)
		hdb.SetMaxOpenConns(2)
		type holding struct {
			lease  *txlock.Lease
			ctx    context.Context
			gaveUp atomic.Bool
		}
		var current atomic.Pointer[holding]
		var takeovers, holds, held atomic.Int64
		var wg sync.WaitGroup
		holder := l.locker(hdb)
		nap := func(d time.Duration) { time.Sleep(rand.N(d)) }
		wg.Go(func() {
			for ctx.Err() == nil {
				lease, err := holder.Acquire(ctx, l.key, txlock.TTL(ttl))
				if err != nil {
					continue
				}
				h := &holding{lease: lease, ctx: lease.Context()}
				current.Store(h)
				holds.Add(1)
				keep, stop := context.WithCancel(ctx)
				_ = lease.KeepAlive(keep)
				for range 1 + rand.IntN(4) {
					if lease.Context().Err() != nil {
						break
					}
					switch rand.IntN(8) {
					case 0, 1, 2: // long fences, elsewhere
						tx, err := fdb.BeginTx(ctx, &sql.TxOptions{Isolation: levels[rand.IntN(4)]})
						if err != nil {
							continue
						}
						if lease.VerifyTx(ctx, tx) == nil {
							nap(3 * ttl)
						}
						_ = tx.Rollback()
					case 3: // the heartbeat has no connection
						c1, err1 := hdb.Conn(ctx)
						c2, err2 := hdb.Conn(ctx)
						nap(3 * ttl)
						if err1 == nil {
							_ = c1.Close()
						}
						if err2 == nil {
							_ = c2.Close()
						}
					case 4:
						tx, err := fdb.BeginTx(ctx, nil)
						if err != nil {
							continue
						}
						if rand.IntN(2) == 0 {
							_ = lease.RenewTx(ctx, tx)
							nap(2 * ttl)
							if rand.IntN(2) == 0 {
								_ = tx.Commit()
							}
						} else {
							_ = lease.ReleaseTx(ctx, tx)
							nap(2 * ttl)
						}
						_ = tx.Rollback()
					case 5:
						_ = lease.Renew(ctx)
					case 6: // kept again
						stop()
						nap(ttl / 2)
						keep, stop = context.WithCancel(ctx)
						_ = lease.KeepAlive(keep)
					case 7: // a fence while the heartbeat has no connection
						tx, err := fdb.BeginTx(ctx, nil)
						if err != nil {
							continue
						}
						_ = lease.VerifyTx(ctx, tx)
						nap(2 * ttl)
						c1, _ := hdb.Conn(ctx)
						c2, _ := hdb.Conn(ctx)
						nap(ttl)
						_ = tx.Rollback()
						nap(ttl)
						if c1 != nil {
							_ = c1.Close()
						}
						if c2 != nil {
							_ = c2.Close()
						}
					}
				}
				if rand.IntN(2) == 0 {
					h.gaveUp.Store(true)
					if lease.Release(ctx) != nil {
						nap(ttl)
					}
				} else {
					stop()
					<-lease.Context().Done()
				}
				stop()
			}
		})
		for range 3 {
			rival := l.locker(l.db)
			wg.Go(func() {
				for ctx.Err() == nil {
					h := current.Load()
					tx, err := l.db.BeginTx(ctx, &sql.TxOptions{Isolation: levels[rand.IntN(4)]})
					if err != nil {
						continue
					}
					within, stop := context.WithTimeout(ctx, 400*time.Millisecond)
					var opts []txlock.AcquireOption
					if rand.IntN(2) == 0 {
						opts = append(opts, txlock.NoWait())
					}
					switch rand.IntN(5) {
					case 0:
						err = rival.LockTx(within, tx, l.key, opts...)
					case 1:
						_, err = rival.AcquireTx(within, tx, l.key, append(opts, txlock.TTL(5*time.Millisecond))...)
					case 2:
						_, err = rival.AcquireManyTx(within, tx, []string{l.key + "/a", l.key}, append(opts, txlock.TTL(2*time.Millisecond))...)
					case 3:
						_ = tx.Rollback()
						_, err = rival.TryAcquire(within, l.key, append(opts, txlock.TTL(5*time.Millisecond))...)
					case 4:
						_ = tx.Rollback()
						err = rival.Retire(within, l.key)
					}
					stop()
					if errors.Is(err, txlock.ErrHeld) {
						held.Add(1)
					}
					if err == nil && h != nil && current.Load() == h {
						takeovers.Add(1)
						if h.ctx.Err() == nil && !h.gaveUp.Load() && current.Load() == h {
							l.Errorf("a rival has locked it, and lease %d is trusted for %v more", h.lease.Epoch(), time.Until(h.lease.Deadline()))
						}
					}
					switch {
					case err == nil && rand.IntN(3) == 0:
						nap(ttl)
						_ = tx.Rollback()
					default:
						_ = tx.Commit()
					}
					nap(20 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if holds.Load() < 5 || takeovers.Load() < 10 || held.Load() < 50 {
			l.Errorf("only %d holds, %d takeovers, %d refusals", holds.Load(), takeovers.Load(), held.Load())
		}
	})
}
