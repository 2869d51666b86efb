package txlock_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// A waiter asks often at first, then ever more seldom, and gives up with its
// context, telling who has the key.
func TestAcquireAsksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, db := newFake(t, granting(func(statement string) (reply, bool) {
			return reply{rows: heldRow(1, time.Hour)}, statement == "ListKeys"
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		_, err := locker.Acquire(ctx, "key")
		var held *txlock.HeldError
		switch {
		case !errors.Is(err, context.DeadlineExceeded), !errors.Is(err, txlock.ErrHeld), !errors.As(err, &held):
			t.Fatalf("got %v", err)
		case held.Owner != "another" || held.Epoch != 7 || held.RetryAfter != time.Hour || held.Key != "key":
			t.Errorf("got %#v", held)
		}
		asked := db.times("ListKeys")
		// 10 ms at first, then an eighth of the time waited, then a second; each at
		// random down to the half.
		for i := 1; i < len(asked); i++ {
			waited, pause := asked[i-1].Sub(asked[0]), asked[i].Sub(asked[i-1])
			most := min(max(waited/8, 10*time.Millisecond), time.Second)
			if pause < most/2 || pause > most+time.Microsecond {
				t.Errorf("paused for %v after %v", pause, waited)
			}
		}
		if n := len(asked); n < 600 || n > 1300 {
			t.Errorf("asked %d times in 10 minutes", n)
		}
		if n := len(db.times("AcquireLeaseNoWait")); n != 0 {
			t.Errorf("tried %d times to lock a row that it saw to be held", n)
		}
		if begun, ended := len(db.times("BEGIN")), len(db.times("ROLLBACK")); begun != ended {
			t.Errorf("%d transactions begun, %d ended", begun, ended)
		}
	})
}

// The pause between two questions is free: no transaction is open, no connection
// in use.
func TestAcquireHoldsNothingWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, db := newFake(t, granting(func(statement string) (reply, bool) {
			return reply{rows: heldRow(1, time.Hour)}, statement == "ListKeys"
		}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := locker.Acquire(ctx, "key")
			done <- err
		}()
		for range 100 {
			time.Sleep(time.Second)
			synctest.Wait()
			if begun, ended := len(db.times("BEGIN")), len(db.times("ROLLBACK")); begun != ended || begun == 0 {
				t.Fatalf("%d transactions begun, %d ended", begun, ended)
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// WithPollInterval bounds the pauses, and the end of the lease does.
func TestAcquirePauses(t *testing.T) {
	for name, c := range map[string]struct {
		opts      []txlock.Option
		remaining time.Duration
		want      time.Duration // to be granted after this, at most a tenth later
	}{
		"lease that ends soon":    {nil, 3 * time.Second, 3 * time.Second},
		"lease that ends late":    {nil, time.Hour, time.Hour},
		"long poll interval":      {[]txlock.Option{txlock.WithPollInterval(time.Hour)}, 10 * time.Minute, 10 * time.Minute},
		"lease that ends at once": {nil, 100 * time.Microsecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				locker, db := newFake(t, granting(func(statement string) (reply, bool) {
					left := c.remaining - time.Since(began)
					return reply{rows: heldRow(1, left)}, statement == "ListKeys"
				}), c.opts...)
				if _, err := locker.Acquire(t.Context(), "key"); err != nil {
					t.Fatal(err)
				}
				late := time.Since(began) - c.want
				if late < 0 || late > 150*time.Millisecond {
					t.Errorf("acquired %v after the end of the lease", late)
				}
				if name == "long poll interval" {
					if n := len(db.times("ListKeys")); n > 150 {
						t.Errorf("asked %d times", n)
					}
				}
			})
		})
	}
}

// A key whose row this Locker has seen is acquired in three statements, if it is free;
// who finds it held looks from then on, and locks nothing.
func TestAcquireOfAKnownKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := false
		locker, db := newFake(t, granting(func(statement string) (reply, bool) {
			switch {
			case statement == "ListKeys" && held:
				return reply{rows: heldRow(1, time.Hour)}, true
			case statement == "AcquireLeaseNoWait" && held:
				return reply{insertID: -time.Hour.Microseconds()}, true
			}
			return reply{}, false
		}))
		for i, want := range []struct{ acquire, look int }{{1, 1}, {2, 1}} {
			if _, err := locker.Acquire(t.Context(), "key"); err != nil {
				t.Fatal(err)
			}
			if acquired, looked := len(db.times("AcquireLeaseNoWait")), len(db.times("ListKeys")); acquired != want.acquire || looked != want.look {
				t.Errorf("after call %d: acquired %d times, looked %d", i+1, acquired, looked)
			}
		}
		held = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := locker.Acquire(ctx, "key"); !errors.Is(err, txlock.ErrHeld) {
			t.Errorf("held: got %v", err)
		}
		if acquired, looked := len(db.times("AcquireLeaseNoWait")), len(db.times("ListKeys")); acquired != 3 || looked < 10 {
			t.Errorf("held: acquired %d times, looked %d", acquired, looked)
		}
	})
}

// A hundred goroutines that wait for one key cost the server no more than one, and
// get it in the order in which they came, each as soon as the one before releases.
func TestAcquireQueues(t *testing.T) {
	questions := func(waiting int) int {
		var n int
		synctest.Test(t, func(t *testing.T) {
			locker, db := newFake(t, granting(func(statement string) (reply, bool) {
				return reply{rows: heldRow(1, time.Hour)}, statement == "ListKeys"
			}))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var wg sync.WaitGroup
			for range waiting {
				wg.Go(func() {
					if _, err := locker.Acquire(ctx, "key"); !errors.Is(err, txlock.ErrHeld) || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("got %v", err)
					}
				})
			}
			wg.Wait()
			n = len(db.times("ListKeys"))
		})
		return n
	}
	one, hundred := questions(1), questions(100)
	if hundred > one*3/2 { // both are random
		t.Errorf("one waiter asked %d times, a hundred did %d times", one, hundred)
	}

	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		held := false
		locker, _ := newFake(t, func(statement string, args ...any) reply {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case statement == "ListKeys" && held:
				return reply{rows: heldRow(1, time.Hour)}
			case statement == "AcquireLeaseNoWait" && held:
				return reply{insertID: -time.Hour.Microseconds()}
			case statement == "AcquireLeaseNoWait":
				held = true
			case statement == "ReleaseLease":
				held = false
			}
			return granting(nil)(statement, args...)
		})
		var order []int
		var wg sync.WaitGroup
		began := time.Now()
		for i := range 100 {
			wg.Go(func() {
				lease, err := locker.Acquire(t.Context(), "key")
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i)
				time.Sleep(time.Second) // hold it
				if err := lease.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // it is in the queue
		}
		wg.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("acquired in the order %v", order)
			}
		}
		// Each waiter was told of the release: nobody slept on.
		if got := time.Since(began); len(order) != 100 || got != 100*time.Second {
			t.Errorf("%d leases of a second took %v", len(order), got)
		}
	})
}

// A waiter that gives up passes its turn on, wherever it stands.
func TestAcquireLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Bool
		locker, _ := newFake(t, granting(func(statement string) (reply, bool) {
			return reply{rows: heldRow(1, time.Hour)}, statement == "ListKeys" && !free.Load()
		}))
		contexts := make([]context.CancelFunc, 4)
		results := make([]chan error, 4)
		for i := range 4 {
			ctx, cancel := context.WithCancel(t.Context())
			contexts[i], results[i] = cancel, make(chan error, 1)
			go func() {
				_, err := locker.Acquire(ctx, "key")
				results[i] <- err
			}()
			synctest.Wait()
		}
		for _, i := range []int{2, 0} { // from the middle, and the one that asks
			contexts[i]()
			if err := <-results[i]; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
		free.Store(true)
		for _, i := range []int{1, 3} {
			if err := <-results[i]; err != nil {
				t.Error(err)
			}
		}
		contexts[1]()
		contexts[3]()
	})
}

// Waiters in many processes, who have all seen a lease that is about to end, do not
// ask all at once when it does, nor do they in between.
func TestAcquireSpreadsItsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters, ttl = 50, 10 * time.Second
		began := time.Now()
		asked := make(map[time.Time]int)
		var mu sync.Mutex
		var wg sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 2*ttl)
		defer cancel()
		for range waiters {
			locker, _ := newFake(t, granting(func(statement string) (reply, bool) {
				if statement != "ListKeys" {
					return reply{}, false
				}
				mu.Lock()
				defer mu.Unlock()
				if time.Since(began) > 0 { // all begin at once
					asked[time.Now()]++
				}
				left := ttl - time.Since(began)
				if left <= 0 {
					left = ttl // another one was first
				}
				return reply{rows: heldRow(1, left)}, true
			}))
			wg.Go(func() { _, _ = locker.Acquire(ctx, "key") })
		}
		wg.Wait()
		afterwards := 0
		for at, n := range asked {
			if n > 3 {
				t.Errorf("%d of %d asked at once, after %v", n, waiters, at.Sub(began))
			}
			if late := at.Sub(began) - ttl; late >= 0 && late < 150*time.Millisecond {
				afterwards += n
			}
		}
		if afterwards < waiters/2 {
			t.Errorf("only %d of %d asked soon after the lease's end", afterwards, waiters)
		}
	})
}

// One that may take the key over from its own owner does not queue behind those who
// may not.
func TestAcquireWithReclaimDoesNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, _ := newFake(t, granting(func(statement string) (reply, bool) {
			return reply{rows: heldRow(1, time.Hour)}, statement == "ListKeys"
		}), txlock.WithOwner("another"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _, _ = locker.Acquire(ctx, "key") }()
		synctest.Wait()
		began := time.Now()
		if _, err := locker.Acquire(ctx, "key", txlock.Reclaim()); err != nil || time.Since(began) > 0 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

// Close and Revoke reach those who wait at once, whether they ask or queue.
func TestAcquireIsWoken(t *testing.T) {
	for name, c := range map[string]struct {
		wake func(locker *txlock.Locker) error
		want error
	}{
		"Close":  {func(locker *txlock.Locker) error { return locker.Close() }, txlock.ErrClosed},
		"Revoke": {func(locker *txlock.Locker) error { return locker.Revoke(context.Background(), "key") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var free atomic.Bool
				locker, _ := newFake(t, granting(func(statement string) (reply, bool) {
					free.CompareAndSwap(false, statement == "RevokeKey")
					return reply{rows: heldRow(1, time.Hour)}, statement == "ListKeys" && !free.Load()
				}), txlock.WithPollInterval(time.Hour))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				results := make(chan error)
				for range 2 {
					go func() {
						_, err := locker.Acquire(ctx, "key")
						results <- err
					}()
				}
				time.Sleep(30 * time.Minute)
				woken := time.Now()
				if err := c.wake(locker); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := <-results; !errors.Is(err, c.want) {
						t.Errorf("got %v", err)
					}
				}
				if late := time.Since(woken); late > 0 {
					t.Errorf("noticed after %v", late)
				}
			})
		})
	}
}

// A waiter who gives up says so where another transaction had the row locked.
func TestAcquireGivesUpBehindATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, _ := newFake(t, granting(func(statement string) (reply, bool) {
			return reply{}, statement == "AcquireLeaseNoWait" // skips the row
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := locker.Acquire(ctx, "key"); !errors.Is(err, txlock.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// What is not a matter of waiting is returned at once.
func TestAcquireFails(t *testing.T) {
	for name, c := range map[string]struct {
		statement string
		err       error
		want      error
	}{
		"no connection":       {"connect", errDown, errDown},
		"the question fails":  {"ListKeys", errDown, errDown},
		"the statement fails": {"AcquireLeaseNoWait", errDown, errDown},
		"unknown COMMIT":      {"COMMIT", errDown, txlock.ErrCommitUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				locker, _ := newFake(t, granting(func(statement string) (reply, bool) {
					return reply{err: c.err}, statement == c.statement
				}))
				if lease, err := locker.Acquire(t.Context(), "key"); !errors.Is(err, c.want) || lease != nil {
					t.Errorf("got %v, %v", lease, err)
				}
			})
		})
	}
	t.Run("closed", func(t *testing.T) {
		locker, _ := newFake(t, granting(nil))
		if err := locker.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := locker.Acquire(t.Context(), "key"); !errors.Is(err, txlock.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// On real servers: a release elsewhere is noticed, an expired lease is taken over,
// a fresh key is had, and a row that another transaction has locked is waited for
// without waiting in the server.
func TestAcquire(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		other := l.locker(l.db)

		first, err := l.Acquire(ctx, l.key)
		l.must(err)
		got := make(chan error, 1)
		var second *txlock.Lease
		go func() {
			var err error
			second, err = other.Acquire(ctx, l.key)
			got <- err
		}()
		l.must(first.Release(ctx))
		l.must(<-got)
		if second.Epoch() != first.Epoch()+1 {
			l.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
		}

		l.expire()
		third, err := l.Acquire(ctx, l.key)
		l.must(err)
		l.wants(second.Renew(ctx), txlock.ErrLost)

		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		_, err = other.Acquire(short, l.key, txlock.TTL(time.Minute))
		var held *txlock.HeldError
		if !errors.As(err, &held) || held.Owner != l.Owner() || held.Epoch != third.Epoch() || !errors.Is(err, context.DeadlineExceeded) {
			l.Errorf("got %v", err)
		}
		if _, err := other.Acquire(ctx, l.key, txlock.NoWait()); !errors.Is(err, txlock.ErrHeld) {
			l.Errorf("got %v", err)
		}
		reclaimed, err := l.Acquire(ctx, l.key, txlock.Reclaim())
		l.must(err)
		l.wants(third.Renew(ctx), txlock.ErrLost)
		l.must(reclaimed.Release(ctx))
	})
}

// While another transaction has the row locked, be it one that is about to insert
// it, no transaction of the waiter waits in the server: also where sessions lock what
// they read.
func TestAcquireDoesNotWaitInTheServer(t *testing.T) {
	for name, c := range map[string]struct{ fresh, serializable bool }{
		"fresh key":               {fresh: true},
		"known key":               {},
		"known key, SERIALIZABLE": {serializable: true},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				if !c.fresh {
					l.must(l.try(l.Locker).Release(ctx))
				}
				tx := l.begin()
				l.must(l.LockTx(ctx, tx, l.key))
				db := l.server.Open(l.T)
				if c.serializable {
					db = l.openSerializable()
				}
				db.SetMaxOpenConns(1) // one that waited in the server would have it
				waiter := l.locker(db)
				got := make(chan error, 1)
				go func() {
					lease, err := waiter.Acquire(ctx, l.key)
					if err == nil {
						err = lease.Release(ctx)
					}
					got <- err
				}()
				for range 50 {
					l.must(db.PingContext(ctx))
				}
				select {
				case err := <-got:
					l.Fatalf("did not wait: %v", err)
				default:
				}
				l.must(tx.Commit())
				l.must(<-got)
			})
		})
	}
}
