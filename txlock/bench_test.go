package txlock_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// The servers of the benchmarks do not wait for the disk (see
// testserver.FastArgs), so that what a lock adds is not lost in what a COMMIT
// costs: on durable servers the ratios are closer to one.

// ground is a database for benchmarks: so many locks in the table, accounts to
// write to, and rows to lock by hand.
type ground struct {
	*testing.B
	server *servertest.Instance
	name   string
}

const benchKeys = 64 // the keys in use; the other rows are there to be in the way

func newGround(b *testing.B, s *servertest.Instance, rows int) *ground {
	b.Helper()
	g := &ground{B: b, server: s, name: s.EmptyDatabase(b)}
	if _, err := s.Migrate(b.Context(), g.name); err != nil {
		b.Fatal(err)
	}
	db := g.open(false)
	const digits = `(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)`
	for _, query := range []string{
		`CREATE TABLE accounts (id INT PRIMARY KEY, cents BIGINT NOT NULL)`,
		`CREATE TABLE ledger (id BIGINT PRIMARY KEY AUTO_INCREMENT, account INT NOT NULL, cents BIGINT NOT NULL)`,
		`CREATE TABLE mutexes (name VARBINARY(255) PRIMARY KEY)`,
		fmt.Sprintf(`INSERT INTO helix_locks
			SELECT CONCAT('bench:', n), 'bench', 1, 0, UTC_TIMESTAMP(), UTC_TIMESTAMP(), UTC_TIMESTAMP(), UTC_TIMESTAMP()
			FROM (SELECT a.d + 10*b.d + 100*c.d + 1000*d.d + 10000*e.d + 100000*f.d AS n FROM %s a, %s b, %s c, %s d, %s e, %s f) AS t WHERE n < %d`,
			digits, digits, digits, digits, digits, digits, rows),
		`INSERT INTO mutexes SELECT lock_key FROM helix_locks`,
		fmt.Sprintf(`INSERT INTO accounts SELECT SUBSTRING(lock_key, 7), 0 FROM helix_locks WHERE lock_key IN (%s)`, keyList()),
	} {
		if _, err := db.ExecContext(b.Context(), query); err != nil {
			b.Fatal(err)
		}
	}
	return g
}

func benchKey(i int) string { return fmt.Sprintf("bench:%d", i) }

func keyList() string {
	list := "'" + benchKey(0) + "'"
	for i := 1; i < benchKeys; i++ {
		list += ", '" + benchKey(i) + "'"
	}
	return list
}

func (g *ground) open(interpolate bool) *sql.DB {
	g.Helper()
	db := g.server.Open(g.B, func(c *mysql.Config) { c.DBName, c.InterpolateParams = g.name, interpolate })
	db.SetMaxIdleConns(16)
	return db
}

func (g *ground) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// statement is one that is prepared, or sent as text by a driver that
// interpolates: one round trip either way.
type statement struct {
	query    string
	prepared *sql.Stmt // or nil
}

func (s statement) exec(ctx context.Context, tx *sql.Tx, args ...any) error {
	if s.prepared != nil {
		_, err := tx.StmtContext(ctx, s.prepared).ExecContext(ctx, args...) //nolint:sqlclosecheck // tx closes it
		return err
	}
	_, err := tx.ExecContext(ctx, s.query, args...)
	return err
}

func (s statement) row(ctx context.Context, tx *sql.Tx, dest any, args ...any) error {
	if s.prepared != nil {
		return tx.StmtContext(ctx, s.prepared).QueryRowContext(ctx, args...).Scan(dest) //nolint:sqlclosecheck // tx closes it
	}
	return tx.QueryRowContext(ctx, s.query, args...).Scan(dest)
}

// shop has the statements of the business transaction, and the locks that can
// protect it.
type shop struct {
	db                                     *sql.DB
	locker                                 *txlock.Locker
	read, write, enter, forUpdate, trivial statement
}

func (g *ground) shop(prepare bool) *shop {
	g.Helper()
	db := g.open(!prepare)
	locker, err := txlock.New(db)
	g.must(err)
	g.Cleanup(func() { g.must(locker.Close()) })
	s := &shop{db: db, locker: locker}
	if prepare {
		g.must(locker.Prepare(g.Context()))
	}
	for dest, query := range map[*statement]string{
		&s.read:      `SELECT cents FROM accounts WHERE id = ?`,
		&s.write:     `UPDATE accounts SET cents = ? WHERE id = ?`,
		&s.enter:     `INSERT INTO ledger (account, cents) VALUES (?, ?)`,
		&s.forUpdate: `SELECT name FROM mutexes WHERE name = ? FOR UPDATE`,
		&s.trivial:   `SELECT ?`,
	} {
		dest.query = query
		if prepare {
			dest.prepared, err = db.PrepareContext(g.Context(), query)
			g.must(err)
			g.Cleanup(func() { g.must(dest.prepared.Close()) })
		}
	}
	for i := range benchKeys { // every key is known, every page is read
		g.must(locker.Do(g.Context(), benchKey(i), func(context.Context, *sql.Tx) error { return nil }))
	}
	return s
}

// business reads a balance, writes it and enters it in the ledger.
func (s *shop) business(ctx context.Context, tx *sql.Tx, account int) error {
	var cents int64
	if err := s.read.row(ctx, tx, &cents, account); err != nil {
		return err
	}
	if err := s.write.exec(ctx, tx, cents+1, account); err != nil {
		return err
	}
	return s.enter.exec(ctx, tx, account, 1)
}

// protection is one way to run the business transaction.
type protection struct {
	name string
	run  func(ctx context.Context, key int) error
}

func (s *shop) protections() []protection {
	inTx := func(ctx context.Context, protect func(tx *sql.Tx) error, key int) error {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if err := protect(tx); err != nil {
			return err
		}
		if err := s.business(ctx, tx, key); err != nil {
			return err
		}
		return tx.Commit()
	}
	return []protection{
		{"unprotected", func(ctx context.Context, key int) error {
			return inTx(ctx, func(*sql.Tx) error { return nil }, key)
		}},
		{"FOR-UPDATE", func(ctx context.Context, key int) error {
			return inTx(ctx, func(tx *sql.Tx) error {
				var name []byte
				return s.forUpdate.row(ctx, tx, &name, benchKey(key))
			}, key)
		}},
		{"LockTx", func(ctx context.Context, key int) error {
			return inTx(ctx, func(tx *sql.Tx) error { return s.locker.LockTx(ctx, tx, benchKey(key)) }, key)
		}},
	}
}

var sizes = []int{1_000, 1_000_000}

// eachSize runs a benchmark on a table of a thousand locks and one of a million
// (not with -short), sent both ways.
func eachSize(b *testing.B, run func(g *ground, s *shop)) {
	servertest.EachB(b, func(b *testing.B, server *servertest.Instance) {
		for _, rows := range sizes {
			if rows > 1_000 && testing.Short() {
				continue
			}
			b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
				g := newGround(b, server, rows)
				for name, prepare := range map[string]bool{"prepared": true, "interpolated": false} {
					b.Run(name, func(b *testing.B) {
						g := &ground{B: b, server: server, name: g.name}
						run(g, g.shop(prepare))
					})
				}
			})
		}
	})
}

// BenchmarkProtections runs the three ways to run a business transaction in turns,
// so that whatever else the machine does hits all alike: an iteration is a round
// of all three. It reports the median time of a transaction in each way, and the
// quartiles of the rounds' ratios.
func BenchmarkProtections(b *testing.B) {
	for _, load := range []struct {
		name    string
		workers int
		key     func(worker int) int
	}{
		{"1-worker", 1, func(int) int { return 0 }},
		{"8-workers-8-keys", 8, func(worker int) int { return worker }},
		{"8-workers-1-key", 8, func(int) int { return 0 }},
	} {
		b.Run(load.name, func(b *testing.B) {
			eachSize(b, func(g *ground, s *shop) {
				const transactions = 10 // of each worker in each round
				ways := s.protections()
				if load.name == "8-workers-1-key" {
					ways = ways[1:] // unprotected, it would lose updates and deadlock
				}
				times := make(map[string][]float64)
				for g.Loop() {
					for _, way := range ways {
						began := time.Now()
						var wg sync.WaitGroup
						for worker := range load.workers {
							wg.Go(func() {
								for range transactions {
									if err := way.run(g.Context(), load.key(worker)); err != nil {
										g.Error(way.name, err)
										return
									}
								}
							})
						}
						wg.Wait()
						times[way.name] = append(times[way.name], float64(time.Since(began).Microseconds())/float64(load.workers*transactions))
					}
				}
				g.ReportMetric(0, "ns/op") // a round is no unit
				for _, way := range ways {
					g.ReportMetric(quantile(times[way.name], 0.5), way.name+"-µs/tx")
				}
				for _, base := range ways[:len(ways)-1] {
					ratios := make([]float64, len(times["LockTx"]))
					for i, t := range times["LockTx"] {
						ratios[i] = t / times[base.name][i]
					}
					for name, q := range map[string]float64{"q1": 0.25, "median": 0.5, "q3": 0.75} {
						g.ReportMetric(quantile(ratios, q), "LockTx/"+base.name+"-"+name)
					}
				}
			})
		})
	}
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// BenchmarkStatement is one operation in an open transaction, beside a statement
// that does nothing and one that locks a row.
func BenchmarkStatement(b *testing.B) {
	type call = func(ctx context.Context, tx *sql.Tx) error
	for _, op := range []struct {
		name string
		make func(g *ground, s *shop) (prepare, measured call)
	}{
		{"trivial", func(_ *ground, s *shop) (call, call) {
			return nil, func(ctx context.Context, tx *sql.Tx) error {
				var one int
				return s.trivial.row(ctx, tx, &one, 1)
			}
		}},
		{"FOR-UPDATE", func(_ *ground, s *shop) (call, call) {
			return nil, func(ctx context.Context, tx *sql.Tx) error {
				var name []byte
				return s.forUpdate.row(ctx, tx, &name, benchKey(0))
			}
		}},
		{"LockTx", func(_ *ground, s *shop) (call, call) {
			return nil, func(ctx context.Context, tx *sql.Tx) error { return s.locker.LockTx(ctx, tx, benchKey(0)) }
		}},
		{"LockTx-fresh-key", func(_ *ground, s *shop) (call, call) {
			n := 0
			return nil, func(ctx context.Context, tx *sql.Tx) error {
				n++
				return s.locker.LockTx(ctx, tx, fmt.Sprintf("fresh:%d", n))
			}
		}},
		{"AcquireTx", func(_ *ground, s *shop) (call, call) {
			return nil, func(ctx context.Context, tx *sql.Tx) error {
				_, err := s.locker.AcquireTx(ctx, tx, benchKey(0), txlock.Reclaim())
				return err
			}
		}},
		{"RenewTx", func(_ *ground, s *shop) (call, call) {
			var lease *txlock.Lease
			return s.leaseInto(&lease), func(ctx context.Context, tx *sql.Tx) error { return lease.RenewTx(ctx, tx) }
		}},
		{"VerifyTx", func(_ *ground, s *shop) (call, call) {
			var lease *txlock.Lease
			return s.leaseInto(&lease), func(ctx context.Context, tx *sql.Tx) error { return lease.VerifyTx(ctx, tx) }
		}},
		{"AcquireTx+ReleaseTx", func(_ *ground, s *shop) (call, call) {
			return nil, func(ctx context.Context, tx *sql.Tx) error {
				lease, err := s.locker.AcquireTx(ctx, tx, benchKey(0))
				if err != nil {
					return err
				}
				return lease.ReleaseTx(ctx, tx)
			}
		}},
	} {
		b.Run(op.name, func(b *testing.B) {
			eachSize(b, func(g *ground, s *shop) {
				prepare, measured := op.make(g, s)
				tx, err := s.db.BeginTx(g.Context(), nil)
				g.must(err)
				if prepare != nil {
					g.must(prepare(g.Context(), tx))
				}
				g.ReportAllocs()
				for g.Loop() {
					g.must(measured(g.Context(), tx))
				}
				g.must(tx.Rollback())
			})
		})
	}
}

func (s *shop) leaseInto(lease **txlock.Lease) func(ctx context.Context, tx *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) (err error) {
		*lease, err = s.locker.AcquireTx(ctx, tx, benchKey(0))
		return err
	}
}
