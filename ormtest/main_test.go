package ormtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

func TestMain(m *testing.M) {
	gormsOwn := goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1") // of PrepareStmt, which has no end
	servertest.Main(m, func() error { return goleak.Find(gormsOwn) })
}

// fixture is a test on a real server: a lease, and pools with and without its
// fence.
type fixture struct {
	*testing.T
	db, fenced *sql.DB
	locker     *txlock.Locker
	lease      *txlock.Lease
	base       *mysql.Config
	key        string
}

// onServers runs test on every engine, as the driver does without options and
// where it interpolates.
func onServers(t *testing.T, test func(f *fixture)) {
	t.Helper()
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		for _, interpolate := range []bool{false, true} {
			t.Run(map[bool]string{false: "plain", true: "interpolated"}[interpolate], func(t *testing.T) {
				f := &fixture{T: t, key: t.Name() + "/" + rand.Text()}
				database, err := s.Database()
				f.must(err)
				f.base = s.Config()
				f.base.DBName, f.base.ParseTime, f.base.InterpolateParams = database, true, interpolate
				f.db = s.Open(t)
				f.exec(`CREATE TABLE IF NOT EXISTS accounts (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL UNIQUE, cents BIGINT NOT NULL)`)
				f.locker, err = txlock.New(f.db)
				f.must(err)
				t.Cleanup(func() { f.must(f.locker.Close()) })
				f.lease, err = f.locker.TryAcquire(t.Context(), f.key)
				f.must(err)
				f.fenced = f.fence()
				test(f)
			})
		}
	})
}

// fence opens a pool that the lease fences.
func (f *fixture) fence(opts ...txlock.FenceOption) *sql.DB {
	f.Helper()
	connector, err := mysql.NewConnector(f.base)
	f.must(err)
	db := sql.OpenDB(txlock.FencedConnector(connector, f.lease, opts...))
	f.Cleanup(func() { f.must(db.Close()) })
	return db
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wants(err, target error) {
	f.Helper()
	if !errors.Is(err, target) {
		f.Errorf("got %v, want %v", err, target)
	}
}

func (f *fixture) exec(query string, args ...any) {
	f.Helper()
	_, err := f.db.ExecContext(f.Context(), query, args...)
	f.must(err)
}

// wantsCents checks what is committed of an account of this test; -1 is none.
func (f *fixture) wantsCents(account string, want int64) {
	f.Helper()
	cents := int64(-1)
	err := f.db.QueryRowContext(f.Context(), `SELECT cents FROM accounts WHERE name = ?`, f.key+account).Scan(&cents)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		f.Fatal(err)
	}
	if cents != want {
		f.Errorf("account %s has %d cents, want %d", account, cents, want)
	}
}

// takeOver lets another holder have the key, as after the lease's expiry.
func (f *fixture) takeOver() {
	f.Helper()
	f.exec(`UPDATE helix_locks SET expires_at = UTC_TIMESTAMP() - INTERVAL 1 HOUR WHERE lock_key = ?`, f.key)
	rival, err := txlock.New(f.db)
	f.must(err)
	f.Cleanup(func() { f.must(rival.Close()) })
	ctx, cancel := context.WithTimeout(f.Context(), 10*time.Second) // nothing may be left open
	defer cancel()
	_, err = rival.TryAcquire(ctx, f.key)
	f.must(err)
}
