package txlock_test

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// BenchmarkDueFences measures what it costs fenced transactions that run side by side that
// they must renew their lease, since no heartbeat finds its row free: so many a second,
// under a lease that is kept alive and under one that is long enough to need no renewal.
func BenchmarkDueFences(b *testing.B) {
	const side = 8
	type load struct {
		name        string
		length, ttl time.Duration
	}
	loads := []load{{"50ms", 50 * time.Millisecond, 3 * time.Second}, {"2s", 2 * time.Second, 30 * time.Second}}
	if testing.Short() {
		loads = []load{{"short", time.Millisecond, time.Second}}
	}
	for _, c := range loads {
		for name, kept := range map[string]bool{"renewing": true, "not renewing": false} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				servertest.EachB(b, func(b *testing.B, s *servertest.Instance) {
					db := s.Open(b)
					locker, err := txlock.New(db, txlock.WithSingleWriter())
					if err != nil {
						b.Fatal(err)
					}
					ttl := c.ttl
					if !kept {
						ttl = time.Hour
					}
					lease, err := locker.TryAcquire(b.Context(), b.Name()+time.Now().String(), txlock.TTL(ttl))
					if err != nil {
						b.Fatal(err)
					}
					if kept {
						if err := lease.KeepAlive(b.Context()); err != nil {
							b.Fatal(err)
						}
					}
					n, moment := fences(b, lease, side, c.length, 2*c.ttl+c.ttl/4)
					if err := context.Cause(lease.Context()); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(n)/moment.Seconds(), "fences/s")
					if err := lease.Release(b.Context()); err != nil {
						b.Fatal(err)
					}
					if err := locker.Close(); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
	}
}

// fences runs fenced transactions of that length in so many goroutines, for a moment, and
// returns how many ended, and in what time.
func fences(b *testing.B, lease *txlock.Lease, side int, length, moment time.Duration) (int64, time.Duration) {
	ctx, cancel := context.WithTimeout(b.Context(), moment)
	defer cancel()
	began := time.Now()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range side {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := lease.InTx(b.Context(), func(context.Context, *sql.Tx) error {
					time.Sleep(length)
					return nil
				})
				if err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return n.Load(), time.Since(began)
}
