package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

func nothing(context.Context, *sql.Tx) error { return nil }

// A kept lease is renewed every third of its TTL, and is trusted for as long as
// that goes well.
func TestHeartbeatEveryThirdOfTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, db := newFake(t, granting(nil))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.Sleep(65 * time.Second)
		beats := db.times("RenewLeases")
		if len(beats) != 6 {
			t.Fatalf("%d heartbeats in 65s, want 6", len(beats))
		}
		for i, at := range beats {
			if want := time.Duration(i+1) * 10 * time.Second; at.Sub(began) != want {
				t.Errorf("heartbeat after %v, want %v", at.Sub(began), want)
			}
		}
		if err := lease.Context().Err(); err != nil {
			t.Error(err)
		}
		if err := lease.KeepAlive(t.Context()); !errors.Is(err, txlock.ErrInvalidArgument) {
			t.Errorf("kept twice: got %v", err)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if n := len(db.times("RenewLeases")); n != 6 {
			t.Errorf("%d heartbeats after the release", n-6)
		}
	})
}

// A transient error is retried until the deadline, and not longer; then the cause
// tells it.
func TestHeartbeatRetriesUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		locker, db := newFake(t, granting(func(statement string) (reply, bool) {
			return reply{err: errDown}, down.Load() && statement == "BEGIN"
		}))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx := lease.Context()

		down.Store(true)
		time.Sleep(19 * time.Second) // one heartbeat and its retries; none is under way then
		down.Store(false)
		time.Sleep(20 * time.Second)
		if ctx.Err() != nil {
			t.Fatalf("did not recover: %v", context.Cause(ctx))
		}
		if len(db.times("RenewLeases")) == 0 {
			t.Fatal("no heartbeat after the server was back")
		}

		down.Store(true)
		began, before := time.Now(), len(db.times("BEGIN"))
		deadline := lease.Deadline()
		<-ctx.Done()
		if !time.Now().Equal(deadline) {
			t.Errorf("ended %v after the deadline", time.Since(deadline))
		}
		wantCause(t, ctx, txlock.ErrLost)
		if !errors.Is(context.Cause(ctx), errDown) {
			t.Errorf("the cause does not tell what failed: %v", context.Cause(ctx))
		}
		tried := len(db.times("BEGIN")) - before
		if tried < 4 {
			t.Errorf("only %d attempts in %v", tried, time.Since(began))
		}
		time.Sleep(time.Hour)
		if n := len(db.times("BEGIN")) - before; n != tried {
			t.Errorf("%d attempts after the deadline", n-tried)
		}
	})
}

var errDown = errors.New("the server is down")

// A definite loss is not retried.
func TestHeartbeatLearnsOfALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Bool
		locker, db := newFake(t, granting(func(statement string) (reply, bool) {
			return reply{}, lost.Load() && (statement == "RenewLeases" || statement == "StandingLeases")
		}))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		lost.Store(true)
		<-lease.Context().Done()
		if got := time.Since(began); got != 10*time.Second {
			t.Errorf("ended after %v, want 10s", got)
		}
		var lostErr *txlock.LostError
		if !errors.As(context.Cause(lease.Context()), &lostErr) || lostErr.Err != nil {
			t.Errorf("got %v", context.Cause(lease.Context()))
		}
		time.Sleep(time.Hour)
		if n := len(db.times("RenewLeases")); n != 1 {
			t.Errorf("%d heartbeats", n)
		}
	})
}

// After the caller's own transaction has released a lease, its heartbeat finds it
// gone, which is no loss.
func TestReleaseTxOfAKeptLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var released atomic.Bool
		locker, db := newFake(t, granting(func(statement string) (reply, bool) {
			return reply{}, released.Load() && (statement == "RenewLeases" || statement == "StandingLeases")
		}))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key"))
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := inTransaction(t, db, func(tx *sql.Tx) error { return lease.ReleaseTx(t.Context(), tx) }); err != nil {
			t.Fatal(err)
		}
		released.Store(true)
		<-lease.Context().Done()
		if cause := context.Cause(lease.Context()); cause != context.Canceled {
			t.Errorf("got %v", cause)
		}
	})
}

// The heartbeat ends with the context that KeepAlive was given; the lease is
// trusted for as long as it then lasts, and can be kept again.
func TestKeepAliveUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, db := newFake(t, granting(nil))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			if err := lease.KeepAlive(ctx); err != nil {
				t.Fatal(err)
			}
			time.Sleep(11 * time.Second)
			cancel()
			synctest.Wait()
		}
		time.Sleep(20 * time.Second)
		if lease.Context().Err() != nil {
			t.Fatal("ended before its deadline")
		}
		<-lease.Context().Done()
		wantCause(t, lease.Context(), txlock.ErrLost)
		if cause := context.Cause(lease.Context()).Error(); !strings.Contains(cause, "its heartbeat had ended") {
			t.Error(cause)
		}
		if n := len(db.times("RenewLeases")); n != 2 {
			t.Errorf("%d heartbeats, want 2", n)
		}
	})
}

// Leases of one TTL come to be renewed together, whenever they were acquired, and
// a thousand of them in one statement.
func TestHeartbeatsOfManyLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, db := newFake(t, granting(nil))
		const leases = 2500
		for range leases {
			time.Sleep(2 * time.Millisecond) // 5 s in all
			lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(60*time.Second)))
			if err := lease.KeepAlive(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(60 * time.Second)
		before := len(db.times("RenewLeases"))
		time.Sleep(60 * time.Second)
		if n := len(db.times("RenewLeases")) - before; n != 9 {
			t.Errorf("%d statements for three heartbeats of %d leases, want 9", n, leases)
		}
		if at := db.times("RenewLeases"); !at[len(at)-1].Equal(at[len(at)-3]) {
			t.Error("the last three batches were not sent together")
		}
	})
}

// A heartbeat that does not come back keeps no other lease from being renewed.
func TestHeartbeatThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := granting(nil)
		locker, db := newFake(t, func(statement string, args ...any) reply {
			if statement == "RenewLeases" && slices.Contains(args, any(time.Hour.Microseconds())) {
				return reply{hang: true}
			}
			return answer(statement, args...)
		})
		var leases []*txlock.Lease
		for _, ttl := range []time.Duration{time.Hour, 3 * time.Second} {
			lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(ttl)))
			if err := lease.KeepAlive(t.Context()); err != nil {
				t.Fatal(err)
			}
			leases = append(leases, lease)
		}
		<-leases[0].Context().Done()
		if cause := context.Cause(leases[0].Context()); !errors.Is(cause, txlock.ErrLost) || !errors.Is(cause, context.DeadlineExceeded) {
			t.Errorf("got %v", cause)
		}
		if n := len(db.times("ROLLBACK")); n < 4 { // each attempt is given up in time for another
			t.Errorf("%d attempts", n)
		}
		if err := context.Cause(leases[1].Context()); err != nil {
			t.Error(err)
		}
	})
}

// What one connection can do is not spread over more than four, however many leases
// are due and however slow the server is.
func TestHeartbeatsUseFewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var using, most atomic.Int32
		answer := granting(nil)
		locker, db := newFake(t, func(statement string, args ...any) reply {
			if statement == "RenewLeases" {
				n := using.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				time.Sleep(2 * time.Second)
				using.Add(-1)
			}
			return answer(statement, args...)
		})
		var leases []*txlock.Lease
		for range 9500 {
			lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(time.Minute)))
			if err := lease.KeepAlive(t.Context()); err != nil {
				t.Fatal(err)
			}
			leases = append(leases, lease)
		}
		if n := len(db.times("RenewLease")); n > 0 {
			t.Errorf("%d renewals before the first heartbeat", n)
		}
		time.Sleep(5*time.Minute + 10*time.Second) // no heartbeat is under way then
		for _, lease := range leases {
			if err := context.Cause(lease.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := most.Load(); n != 4 {
			t.Errorf("%d connections at once, want 4", n)
		}
		if n := len(db.times("RenewLeases")); n > 16*10 {
			t.Errorf("%d statements for 15 heartbeats", n)
		}
	})
}

// A lease that is kept alive late is renewed when it would have been, or at once.
func TestFirstHeartbeatOfALeaseThatWasKeptLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, waited := range []time.Duration{0, 5 * time.Second, 25 * time.Second} {
			locker, db := newFake(t, granting(nil))
			acquired := time.Now()
			lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
			time.Sleep(waited)
			if err := lease.KeepAlive(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(11*time.Second - min(waited, 10*time.Second))
			renewals := db.times("RenewLeases")
			if len(renewals) != 1 || renewals[0].Sub(acquired) != max(10*time.Second, waited) {
				t.Errorf("kept after %v: renewals at %v", waited, renewals)
			}
			if err := lease.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A lease whose release fails at the end of Run is not kept alive any more.
func TestRunGivesUpAReleaseThatFails(t *testing.T) {
	for name, job := range map[string]func(context.Context, *txlock.Lease) error{
		"returns": func(context.Context, *txlock.Lease) error { return nil },
		"panics":  func(context.Context, *txlock.Lease) error { panic("the job") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				locker, db := newFake(t, granting(func(statement string) (reply, bool) {
					return reply{err: errDown}, statement == "ReleaseLease"
				}))
				func() {
					defer func() { _ = recover() }()
					if err := locker.Run(t.Context(), "key", job); !errors.Is(err, errDown) {
						t.Errorf("got %v", err)
					}
				}()
				time.Sleep(time.Hour)
				if n := len(db.times("RenewLeases")); n > 0 {
					t.Errorf("%d heartbeats after the end", n)
				}
			})
		})
	}
}
