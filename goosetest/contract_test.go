package goosetest

import (
	"database/sql"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/pressly/goose/v3/lock/locktesting"
	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
)

func TestMain(m *testing.M) {
	servertest.Main(m, func() error { return goleak.Find() })
}

// application is somebody's own migrations.
var application = fstest.MapFS{
	"00001_accounts.sql": {Data: []byte("-- +goose Up\nCREATE TABLE accounts (id INT PRIMARY KEY);\n-- +goose Down\nDROP TABLE accounts;\n")},
	"00002_index.sql":    {Data: []byte("-- +goose Up\nALTER TABLE accounts ADD COLUMN owner INT NOT NULL, ADD KEY owners (owner);\n-- +goose Down\nALTER TABLE accounts DROP COLUMN owner;\n")},
	"00003_first.sql":    {Data: []byte("-- +goose Up\nINSERT INTO accounts VALUES (1, 1);\n-- +goose Down\nDELETE FROM accounts;\n")},
}

// onServers gives a test a migrated database, and how to connect to it.
func onServers(t *testing.T, test func(t *testing.T, open func(connections int) *sql.DB)) {
	t.Helper()
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		name := s.EmptyDatabase(t)
		open := func(connections int) *sql.DB {
			db := s.Open(t, func(c *mysql.Config) { c.DBName = name })
			db.SetMaxOpenConns(connections)
			return db
		}
		if _, err := migrations.Up(t.Context(), open(1)); err != nil {
			t.Fatal(err)
		}
		test(t, open)
	})
}

func provider(t *testing.T, db *sql.DB, locker goose.ProviderOption) *goose.Provider {
	t.Helper()
	store, err := migrations.NewVersionStore(goose.DefaultTablename)
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectCustom, db, application, goose.WithStore(store), locker)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func leaseLocker(t *testing.T, opts ...migrations.LockOption) lock.Locker {
	t.Helper()
	locker, err := migrations.NewLeaseLocker(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return locker
}

func TestSessionLockerLocksProviders(t *testing.T) {
	for name, connections := range map[string]int{"pools of one": 1, "pools": 4} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(t *testing.T, open func(int) *sql.DB) {
				locktesting.TestProviderLocking(t, func(t *testing.T) *goose.Provider {
					locker, err := migrations.NewSessionLocker()
					if err != nil {
						t.Fatal(err)
					}
					return provider(t, open(connections), goose.WithSessionLocker(locker))
				})
			})
		})
	}
}

func TestLeaseLockerLocksProviders(t *testing.T) {
	for name, c := range map[string]struct {
		connections int
		opts        func(open func(int) *sql.DB) []migrations.LockOption
	}{
		"pools of two": {2, func(func(int) *sql.DB) []migrations.LockOption { return nil }},
		"pools of one, another": {1, func(open func(int) *sql.DB) []migrations.LockOption {
			return []migrations.LockOption{migrations.LockPool(open(1))}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(t *testing.T, open func(int) *sql.DB) {
				locktesting.TestProviderLocking(t, func(t *testing.T) *goose.Provider {
					return provider(t, open(c.connections), goose.WithLocker(leaseLocker(t, c.opts(open)...)))
				})
			})
		})
	}
}

func TestLeaseLockersCompete(t *testing.T) {
	onServers(t, func(t *testing.T, open func(int) *sql.DB) {
		locktesting.TestConcurrentLocking(t, open(0), func(t *testing.T) lock.Locker { return leaseLocker(t) }, time.Second)
	})
}
