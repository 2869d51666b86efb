package txlock_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// BenchmarkHandover measures the time from a release in one process, when its
// COMMIT is acknowledged, to the acquisition in another, for so many processes that
// wait. Each holder holds for as long as the sub-benchmark says.
func BenchmarkHandover(b *testing.B) {
	for _, hold := range []time.Duration{100 * time.Millisecond, 2 * time.Second} {
		for _, waiting := range []int{1, 10, 100} {
			if testing.Short() && (waiting > 10 || hold > time.Second) {
				continue
			}
			b.Run(fmt.Sprintf("held=%v/waiting=%d", hold, waiting), func(b *testing.B) {
				servertest.EachB(b, func(b *testing.B, s *servertest.Instance) { handover(b, s, waiting, hold) })
			})
		}
	}
}

// The children of BenchmarkHandover are this test binary with this variable set: to
// the database, and how long to hold.
const waiterVariable = "TXLOCK_BENCH_WAITER"

func handover(b *testing.B, s *servertest.Instance, waiting int, hold time.Duration) {
	name, err := s.Database()
	if err != nil {
		b.Fatal(err)
	}
	key := fmt.Sprintf("handover %d %d", waiting, time.Now().UnixNano())
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	events := make(chan string, 1000)
	var children []*exec.Cmd
	var readers sync.WaitGroup
	for range waiting + 1 { // one holds
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), waiterVariable+"="+strings.Join([]string{s.DSN(name), key, hold.String()}, "\n"))
		child.Stderr = os.Stderr
		stdout, err := child.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := child.Start(); err != nil {
			b.Fatal(err)
		}
		children = append(children, child)
		readers.Go(func() {
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				select {
				case events <- lines.Text():
				case <-ctx.Done():
				}
			}
			select {
			case events <- "a child has ended":
			case <-ctx.Done():
			}
		})
	}
	released, acquired := make(map[int64]int64), make(map[int64]int64) // by epoch: they come through different pipes
	var times []float64
	ready := 0
	note := func(event string) (handedOver bool) {
		fields := strings.Fields(event)
		if event == "ready" {
			ready++
			return false
		}
		if len(fields) != 3 {
			b.Fatal(event) // a child's end
		}
		epoch, err := strconv.ParseInt(fields[1], 10, 64)
		nanos, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || err2 != nil {
			b.Fatal(event)
		}
		if fields[0] == "released" {
			released[epoch] = nanos
			epoch++
		} else {
			acquired[epoch] = nanos
		}
		from, to := released[epoch-1], acquired[epoch]
		if from == 0 || to == 0 {
			return false
		}
		times = append(times, float64(to-from)/1e6)
		return true
	}
	next := func() {
		for !note(<-events) {
		}
	}
	for ready <= waiting {
		note(<-events)
	}
	for range 2 { // all wait by now
		next()
	}
	times = nil
	for b.Loop() {
		next()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(quantile(times, 0.5), "median-ms")
	b.ReportMetric(quantile(times, 0.9), "p90-ms")
	cancel()
	for _, child := range children {
		_ = child.Wait() // killed
	}
	readers.Wait()
}

// waitInTurn is what such a child does, until it is killed.
func waitInTurn(setup string, out io.Writer) error {
	var parts [3]string
	copy(parts[:], strings.SplitN(setup, "\n", 3))
	hold, err := time.ParseDuration(parts[2])
	if err != nil {
		return err
	}
	db, err := sql.Open("mysql", parts[0])
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	locker, err := txlock.New(db)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	say := func(event ...any) error {
		_, err := fmt.Fprintln(out, event...)
		return err
	}
	if err := say("ready"); err != nil {
		return err
	}
	for {
		lease, err := locker.Acquire(ctx, parts[1])
		if err != nil {
			return err
		}
		if err := say("acquired", lease.Epoch(), time.Now().UnixNano()); err != nil {
			return err
		}
		time.Sleep(hold)
		if err := lease.Release(ctx); err != nil {
			return err
		}
		if err := say("released", lease.Epoch(), time.Now().UnixNano()); err != nil {
			return err
		}
		time.Sleep(hold / 2) // not to be the next one itself
	}
}

// BenchmarkIdle counts what waiting and holding cost the server: the statements it
// sees in a second, BEGIN, COMMIT and ROLLBACK among them.
func BenchmarkIdle(b *testing.B) {
	moment := 10 * time.Second
	if testing.Short() {
		moment = 100 * time.Millisecond
	}
	idle := func(name string, moment time.Duration, setup func(b *testing.B, ctx context.Context, locker *txlock.Locker)) {
		b.Run(name, func(b *testing.B) {
			servertest.EachB(b, func(b *testing.B, s *servertest.Instance) {
				db := s.Open(b)
				locker, err := txlock.New(db)
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(b.Context())
				setup(b, ctx, locker)
				before := questions(b, db)
				for b.Loop() {
					time.Sleep(moment)
				}
				n := questions(b, db) - before - 1 // the first question itself
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(n)/moment.Seconds()/float64(b.N), "statements/s")
				cancel()
				if err := locker.Close(); err != nil {
					b.Error(err)
				}
			})
		})
	}
	for _, waiters := range []int{1, 100} {
		idle(fmt.Sprintf("waiters=%d", waiters), moment, func(b *testing.B, ctx context.Context, locker *txlock.Locker) {
			key := fmt.Sprint("idle ", time.Now().UnixNano())
			if _, err := locker.TryAcquire(ctx, key, txlock.TTL(time.Hour)); err != nil {
				b.Fatal(err)
			}
			for range waiters {
				go func() { _, _ = locker.Acquire(ctx, key) }() // until ctx ends
			}
			if !testing.Short() {
				time.Sleep(8 * time.Second) // from then on they ask once a second
			}
		})
	}
	for _, leases := range []int{1, 1000, 10000} {
		if testing.Short() && leases > 1000 {
			continue
		}
		idle(fmt.Sprintf("kept=%d", leases), 3*moment, func(b *testing.B, ctx context.Context, locker *txlock.Locker) {
			keep(b, ctx, locker, leases, 30*time.Second)
		})
	}
}

// questions is how many statements the server has seen from all its clients.
func questions(b *testing.B, db *sql.DB) (n int64) {
	b.Helper()
	var name string
	if err := db.QueryRowContext(b.Context(), `SHOW GLOBAL STATUS LIKE 'Questions'`).Scan(&name, &n); err != nil {
		b.Fatal(err)
	}
	return n
}

// keep acquires so many leases and keeps them alive.
func keep(b *testing.B, ctx context.Context, locker *txlock.Locker, n int, ttl time.Duration) []*txlock.Lease {
	b.Helper()
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("kept %d %d", time.Now().UnixNano(), i)
	}
	var leases []*txlock.Lease
	err := locker.Do(ctx, "keep", func(ctx context.Context, tx *sql.Tx) (err error) {
		leases, err = locker.AcquireManyTx(ctx, tx, keys, txlock.TTL(ttl))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, lease := range leases {
		if err := lease.KeepAlive(ctx); err != nil {
			b.Fatal(err)
		}
	}
	return leases
}

// BenchmarkRenewals measures a heartbeat of so many leases, beside as many single
// renewals.
func BenchmarkRenewals(b *testing.B) {
	ttl := 3 * time.Second
	if testing.Short() {
		ttl = 900 * time.Millisecond
	}
	for _, leases := range []int{100, 1000, 10000} {
		if testing.Short() && leases > 100 {
			continue
		}
		b.Run(fmt.Sprintf("leases=%d", leases), func(b *testing.B) {
			servertest.EachB(b, func(b *testing.B, s *servertest.Instance) {
				done := newBeats()
				locker, err := txlock.New(s.Open(b), txlock.WithObserver(done))
				if err != nil {
					b.Fatal(err)
				}
				b.Run("together", func(b *testing.B) {
					keep(b, b.Context(), locker, leases, ttl)
					await := func() (took time.Duration, statements int) {
						for range (leases + 999) / 1000 {
							r := <-done
							if r.Err != nil {
								b.Error(r.Err)
							}
							took += r.Duration
							statements++
						}
						return took, statements
					}
					for range 4 {
						await() // by then all are renewed together
					}
					var took time.Duration
					var statements int
					for b.Loop() {
						t, n := await()
						took, statements = took+t, statements+n
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(took.Microseconds())/1e3/float64(b.N), "ms/heartbeat")
					b.ReportMetric(float64(statements)/float64(b.N), "statements/heartbeat")
					if err := locker.Close(); err != nil {
						b.Error(err)
					}
				})
				b.Run("singly", func(b *testing.B) {
					locker, err := txlock.New(s.Open(b))
					if err != nil {
						b.Fatal(err)
					}
					var held []*txlock.Lease
					for i := range leases {
						lease, err := locker.TryAcquire(b.Context(), fmt.Sprintf("single %d %d", time.Now().UnixNano(), i), txlock.TTL(time.Hour))
						if err != nil {
							b.Fatal(err)
						}
						held = append(held, lease)
					}
					for b.Loop() {
						for _, lease := range held {
							if err := lease.Renew(b.Context()); err != nil {
								b.Fatal(err)
							}
						}
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(b.Elapsed().Microseconds())/1e3/float64(b.N), "ms/heartbeat")
					b.ReportMetric(float64(leases), "statements/heartbeat")
				})
			})
		})
	}
}
