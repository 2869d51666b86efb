package txlock_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// BenchmarkAcquireMany compares AcquireManyTx with AcquireTx for one key after the
// other: keys that have rows, in one transaction that is rolled back, with the
// statements that it takes beside BEGIN and ROLLBACK.
func BenchmarkAcquireMany(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		for name, acquire := range map[string]func(ctx context.Context, locker *txlock.Locker, tx *sql.Tx, keys []string) error{
			"many": func(ctx context.Context, locker *txlock.Locker, tx *sql.Tx, keys []string) error {
				_, err := locker.AcquireManyTx(ctx, tx, keys)
				return err
			},
			"one by one": func(ctx context.Context, locker *txlock.Locker, tx *sql.Tx, keys []string) error {
				for _, key := range keys {
					if _, err := locker.AcquireTx(ctx, tx, key); err != nil {
						return err
					}
				}
				return nil
			},
		} {
			b.Run(fmt.Sprintf("keys=%d/%s", n, name), func(b *testing.B) {
				servertest.EachB(b, func(b *testing.B, s *servertest.Instance) {
					g := newGround(b, s, 10000)
					db := g.open(true)
					db.SetMaxOpenConns(1)
					locker, err := txlock.New(db)
					g.must(err)
					defer func() { g.must(locker.Close()) }()
					keys := make([]string, n)
					for i := range keys {
						keys[i] = benchKey(i * 7)
					}
					questions := func() (n int) {
						var name string
						g.must(db.QueryRowContext(b.Context(), `SHOW SESSION STATUS LIKE 'Questions'`).Scan(&name, &n))
						return n
					}
					once := func() {
						tx, err := db.BeginTx(b.Context(), nil)
						g.must(err)
						g.must(acquire(b.Context(), locker, tx, keys))
						g.must(tx.Rollback())
					}
					once() // the keys are known
					before := questions()
					rounds := 0
					for b.Loop() {
						once()
						rounds++
					}
					b.ReportMetric(float64(questions()-before-1)/float64(rounds)-2, "statements/op")
				})
			})
		}
	}
}
