package contender_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/peer"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// dials counts connections by where they go.
type dials struct {
	mu    sync.Mutex
	count map[string]int
}

func (d *dials) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	d.count[addr]++
	d.mu.Unlock()
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, addr)
}

func (d *dials) to(addr string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count[addr]
}

// stopper is a peer.
type stopper interface {
	Addr() string
	Stop() error
}

func start[P stopper](t *testing.T, start func(context.Context) (P, error)) string {
	t.Helper()
	p, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p.Addr()
}

func redis(durable bool) func(context.Context) (*peer.Redis, error) {
	return func(ctx context.Context) (*peer.Redis, error) { return peer.StartRedis(ctx, durable) }
}

// peers runs fn on each way to keep the lock outside the database.
func peers(t *testing.T, fn func(t *testing.T, c contender.Contender, e contender.Env, d *dials)) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		base := contender.Env{MySQL: s.Config(), TTL: 10 * time.Second}
		base.MySQL.DBName = s.EmptyDatabase(t)
		run := func(t *testing.T, e contender.Env, contenders ...contender.Contender) {
			for _, c := range contenders {
				t.Run(c.Name, func(t *testing.T) {
					d := &dials{count: make(map[string]int)}
					e := e
					e.Dial = d.dial
					fn(t, c, e, d)
				})
			}
		}
		t.Run("redis", func(t *testing.T) {
			needRedis(t)
			// Each has one server only, so it cannot use the other's.
			memory, durable := base, base
			memory.Redis, durable.DurableRedis = start(t, redis(false)), start(t, redis(true))
			for _, c := range contender.Redis() {
				if strings.Contains(c.Name, "fsync") {
					run(t, durable, c)
				} else {
					run(t, memory, c)
				}
			}
		})
		t.Run("etcd", func(t *testing.T) {
			e := base
			e.Etcd = start(t, peer.StartEtcd)
			run(t, e, contender.Etcd()...)
		})
	})
}

func open(t *testing.T, c contender.Contender, e contender.Env) contender.Lock {
	t.Helper()
	l, err := c.Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("could not close it: %v", err)
		}
	})
	return l
}

func TestPeersLoseNoUpdate(t *testing.T) {
	peers(t, func(t *testing.T, c contender.Contender, e contender.Env, d *dials) {
		const workers, times = 8, 20
		n := newCounter(t, e)
		l := open(t, c, e)
		var wg sync.WaitGroup
		var alone atomic.Int32
		for worker := range workers {
			wg.Go(func() {
				for range times {
					err := l.Do(t.Context(), worker, "counter", func(ctx context.Context, tx *sql.Tx) error {
						if alone.Add(1) != 1 {
							t.Error("two at a time")
						}
						defer alone.Add(-1)
						return n.increment(ctx, tx)
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if got := n.value(t); got != workers*times {
			t.Errorf("%d updates, but the counter is %d", workers*times, got)
		}
		if d.to(e.Redis+e.DurableRedis+e.Etcd) == 0 || d.to(e.MySQL.Addr) == 0 {
			t.Errorf("connections past the dialer: %v", d.count)
		}
	})
}

func TestPeersReturnBusinessErrors(t *testing.T) {
	peers(t, func(t *testing.T, c contender.Contender, e contender.Env, _ *dials) {
		n := newCounter(t, e)
		l := open(t, c, e)
		refused := errors.New("refused")
		err := l.Do(t.Context(), 0, "counter", func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(n.increment(ctx, tx), refused)
		})
		if !errors.Is(err, refused) {
			t.Errorf("the error of business was lost: %v", err)
		}
		if got := n.value(t); got != 0 {
			t.Errorf("not rolled back: the counter is %d", got)
		}
		// Also when the caller has gone meanwhile.
		ctx, cancel := context.WithCancel(t.Context())
		err = l.Do(ctx, 0, "counter", func(ctx context.Context, tx *sql.Tx) error {
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("not the end of ctx: %v", err)
		}
		// Well within the TTL.
		ctx, cancel = context.WithTimeout(t.Context(), e.TTL/2)
		defer cancel()
		if err := l.Do(ctx, 1, "counter", n.increment); err != nil {
			t.Errorf("the key is not free: %v", err)
		}
		if got := n.value(t); got != 1 {
			t.Errorf("the counter is %d, not 1", got)
		}
	})
}

// Who gives up waiting does not keep the key from others, and other keys are free.
func TestPeersWaitersGiveUp(t *testing.T) {
	peers(t, func(t *testing.T, c contender.Contender, e contender.Env, _ *dials) {
		n := newCounter(t, e)
		l := open(t, c, e)
		err := l.Do(t.Context(), 0, "counter", func(ctx context.Context, tx *sql.Tx) error {
			if err := l.Do(ctx, 1, "counter/2", func(context.Context, *sql.Tx) error { return nil }); err != nil {
				return fmt.Errorf("another key is taken: %w", err)
			}
			waiting, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			err := l.Do(waiting, 1, "counter", func(context.Context, *sql.Tx) error {
				return errors.New("two at a time")
			})
			if !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("not the end of ctx: %w", err)
			}
			return n.increment(ctx, tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), e.TTL/2)
		defer cancel()
		for worker := range 3 {
			if err := l.Do(ctx, worker, "counter", n.increment); err != nil {
				t.Errorf("the key is not free for worker %d: %v", worker, err)
			}
		}
	})
}

// What the contenders promise of Redis: nothing stops a holder whose key has
// expired, who only learns of it afterwards.
func TestRedisDoesNotFence(t *testing.T) {
	peers(t, func(t *testing.T, c contender.Contender, e contender.Env, _ *dials) {
		if c.Promises.OtherServer != "Redis" {
			t.Skip("its holders keep their keys for as long as they run")
		}
		if c.Promises.Fences || !c.Promises.SurvivesCrash {
			t.Errorf("it promises %+v", c.Promises)
		}
		e.TTL = time.Second
		n := newCounter(t, e)
		l := open(t, c, e)
		err := l.Do(t.Context(), 0, "counter", func(ctx context.Context, tx *sql.Tx) error {
			// Waits for the key until it expires.
			if err := l.Do(ctx, 1, "counter", func(context.Context, *sql.Tx) error { return nil }); err != nil {
				return err
			}
			return n.increment(ctx, tx)
		})
		if !errors.Is(err, contender.ErrLost) {
			t.Errorf("it does not say that the key was lost: %v", err)
		}
		if got := n.value(t); got != 1 {
			t.Errorf("the counter is %d: it was fenced", got)
		}
	})
}

func TestPeerNames(t *testing.T) {
	var names []string
	for _, c := range append(contender.Redis(), contender.Etcd()...) {
		names = append(names, c.Name)
		if c.About == "" || c.Promises.OtherServer == "" || c.OwnKeys {
			t.Errorf("%s: %+v", c.Name, c)
		}
	}
	want := []string{"redislock", "redislock, fsync always", "redsync", "redsync, fsync always", "etcd"}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

func TestNoPeer(t *testing.T) {
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close() //nolint:errcheck // may be closed
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range append(contender.Redis(), contender.Etcd()...) {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			d := &dials{count: make(map[string]int)}
			l, err := c.Open(ctx, contender.Env{Redis: addr, DurableRedis: addr, Etcd: addr, TTL: time.Second, Dial: d.dial})
			if err == nil {
				t.Errorf("opened without a server: %v", l.Close())
			}
		})
	}
}
