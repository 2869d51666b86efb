package txlock_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
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
	rows   int // a power of ten
}

const benchKeys = 64 // the keys in use; the other rows are there to be in the way

func newGround(b *testing.B, s *servertest.Instance, rows int) *ground {
	b.Helper()
	g := &ground{B: b, server: s, name: s.MigratedDatabase(b), rows: rows}
	db := g.open(false)
	number, from := "0", ""
	for i, tens := 0, 1; tens < rows; i, tens = i+1, 10*tens { // a digit each
		number += fmt.Sprintf(" + %d*t%d.d", tens, i)
		from += fmt.Sprintf(", (SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) t%d", i)
	}
	for _, query := range []string{
		`CREATE TABLE accounts (id INT PRIMARY KEY, cents BIGINT NOT NULL)`,
		`CREATE TABLE ledger (id BIGINT PRIMARY KEY AUTO_INCREMENT, account INT NOT NULL, cents BIGINT NOT NULL)`,
		`CREATE TABLE mutexes (name VARBINARY(255) PRIMARY KEY)`,
		fmt.Sprintf(`INSERT INTO helix_locks
			SELECT CONCAT('bench:', n), 'bench', 1, 0, 0, UTC_TIMESTAMP(), UTC_TIMESTAMP(), UTC_TIMESTAMP(), UTC_TIMESTAMP()
			FROM (SELECT %s AS n FROM %s) AS t`, number, from[2:]),
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
func (s *shop) business(ctx context.Context, tx *sql.Tx, key int) error {
	account := key % benchKeys
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

// BenchmarkLocks runs on a table of a thousand locks and on one of a million (not
// with -short), with prepared statements and with interpolated ones.
func BenchmarkLocks(b *testing.B) {
	servertest.EachB(b, func(b *testing.B, server *servertest.Instance) {
		small := newGround(b, server, thousand)
		small.all(b)
		if testing.Short() {
			return
		}
		large := newGround(b, server, million)
		large.all(b)
		b.Run("growth", func(b *testing.B) { growth(b, small.on(b).shop(true), large.on(b).shop(true)) })
	})
}

const thousand, million = 1_000, 1_000_000

func (g *ground) all(b *testing.B) {
	b.Run(fmt.Sprintf("rows=%d", g.rows), func(b *testing.B) {
		for _, mode := range []string{"prepared", "interpolated"} {
			b.Run(mode, func(b *testing.B) {
				g := g.on(b)
				s := g.shop(mode == "prepared")
				b.Run("statement", func(b *testing.B) { g.on(b).statements(s) })
				b.Run("transaction", func(b *testing.B) { g.on(b).transactions(s) })
			})
		}
	})
}

// on is the same ground for a sub-benchmark.
func (g *ground) on(b *testing.B) *ground {
	return &ground{B: b, server: g.server, name: g.name, rows: g.rows}
}

// transactions runs the three ways to run a business transaction, with one
// worker, with eight on keys of their own, and with eight on one key.
func (g *ground) transactions(s *shop) {
	own := func(worker int) int { return worker }
	one := func(int) int { return 0 }
	ways := s.protections()
	against := [][2]string{{"LockTx", "FOR-UPDATE"}, {"LockTx", "unprotected"}}
	g.Run("1-worker", func(b *testing.B) { inTurns(b, 1, one, ways, against) })
	g.Run("8-workers-8-keys", func(b *testing.B) { inTurns(b, 8, own, ways, against) })
	g.Run("8-workers-1-key", func(b *testing.B) { inTurns(b, 8, one, ways[1:], against[:1]) }) // unprotected, it would lose updates
}

// growth compares LockTx on a table of a thousand locks with one of a million:
// on a few keys in use, and on any key, which in a large table are mostly ones
// that this process has not seen before and no page of which is warm.
func growth(b *testing.B, small, large *shop) {
	lock := func(name string, s *shop, key func() int) protection {
		run := s.protections()[2].run
		return protection{name, func(ctx context.Context, _ int) error { return run(ctx, key()) }}
	}
	among := func(rows int) func() int { return func() int { return rand.N(rows) } }
	inTurns(b, 1, func(int) int { return 0 }, []protection{
		lock("few-of-1k", small, among(benchKeys)),
		lock("few-of-1M", large, among(benchKeys)),
		lock("any-of-1k", small, among(thousand)),
		lock("any-of-1M", large, among(million)),
	}, [][2]string{{"few-of-1M", "few-of-1k"}, {"any-of-1M", "any-of-1k"}})
}

// inTurns runs every way in turns, so that whatever else the machine does hits all
// alike: an iteration is a round of all. It reports the median time of a
// transaction in each way, and the quartiles of the rounds' ratios of some.
func inTurns(b *testing.B, workers int, key func(worker int) int, ways []protection, against [][2]string) {
	const transactions = 10 // of each worker in each round
	times := make(map[string][]float64)
	for b.Loop() {
		for _, way := range ways {
			began := time.Now()
			var wg sync.WaitGroup
			for worker := range workers {
				wg.Go(func() {
					for range transactions {
						if err := way.run(b.Context(), key(worker)); err != nil {
							b.Error(way.name, err)
							return
						}
					}
				})
			}
			wg.Wait()
			times[way.name] = append(times[way.name], float64(time.Since(began).Microseconds())/float64(workers*transactions))
		}
	}
	b.ReportMetric(0, "ns/op") // a round is no unit
	for _, way := range ways {
		b.ReportMetric(quantile(times[way.name], 0.5), way.name+"-µs/tx")
	}
	for _, pair := range against {
		ratios := make([]float64, len(times[pair[0]]))
		for i, t := range times[pair[0]] {
			ratios[i] = t / times[pair[1]][i]
		}
		for name, q := range map[string]float64{"q1": 0.25, "median": 0.5, "q3": 0.75} {
			b.ReportMetric(quantile(ratios, q), pair[0]+"/"+pair[1]+"-"+name)
		}
	}
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// statements runs each operation in an open transaction, beside a statement that
// does nothing and one that locks a row.
func (g *ground) statements(s *shop) {
	type call = func(ctx context.Context, tx *sql.Tx) error
	var lease *txlock.Lease
	acquire := func(ctx context.Context, tx *sql.Tx) (err error) {
		lease, err = s.locker.AcquireTx(ctx, tx, benchKey(0), txlock.Reclaim())
		return err
	}
	fresh := 0
	for _, op := range []struct {
		name            string
		first, measured call
	}{
		{"trivial", nil, func(ctx context.Context, tx *sql.Tx) error {
			var one int
			return s.trivial.row(ctx, tx, &one, 1)
		}},
		{"FOR-UPDATE", nil, func(ctx context.Context, tx *sql.Tx) error {
			var name []byte
			return s.forUpdate.row(ctx, tx, &name, benchKey(0))
		}},
		{"LockTx", nil, func(ctx context.Context, tx *sql.Tx) error { return s.locker.LockTx(ctx, tx, benchKey(0)) }},
		{"LockTx-fresh-key", nil, func(ctx context.Context, tx *sql.Tx) error {
			fresh++
			return s.locker.LockTx(ctx, tx, fmt.Sprintf("fresh:%d", fresh))
		}},
		{"AcquireTx", nil, acquire},
		{"RenewTx", acquire, func(ctx context.Context, tx *sql.Tx) error { return lease.RenewTx(ctx, tx) }},
		{"VerifyTx", acquire, func(ctx context.Context, tx *sql.Tx) error { return lease.VerifyTx(ctx, tx) }},
		{"AcquireTx+ReleaseTx", nil, func(ctx context.Context, tx *sql.Tx) error {
			if err := acquire(ctx, tx); err != nil {
				return err
			}
			return lease.ReleaseTx(ctx, tx)
		}},
	} {
		g.Run(op.name, func(b *testing.B) {
			tx, err := s.db.BeginTx(b.Context(), nil)
			g.must(err)
			if op.first != nil {
				g.must(op.first(b.Context(), tx))
			}
			b.ReportAllocs()
			for b.Loop() {
				g.must(op.measured(b.Context(), tx))
			}
			g.must(tx.Rollback())
		})
	}
}
