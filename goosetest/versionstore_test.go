package goosetest

import (
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/gox-helix/gox-helix/migrations"
)

// Programs that start at once on an empty database, each with the application's migrations
// and our locker and store: one migrates, and none fails.
func TestProvidersStartAtOnce(t *testing.T) {
	const programs, rounds = 8, 10
	onServers(t, func(t *testing.T, open func(int) *sql.DB) {
		for round := range rounds {
			exec(t, open(1), "DROP TABLE IF EXISTS accounts, goose_db_version")
			var ready, done sync.WaitGroup
			start := make(chan struct{})
			errs := make([]error, programs)
			for i := range programs {
				locker, err := migrations.NewSessionLocker()
				if err != nil {
					t.Fatal(err)
				}
				p := provider(t, open(2), goose.WithSessionLocker(locker))
				ready.Add(1)
				done.Go(func() {
					ready.Done()
					<-start
					_, errs[i] = p.Up(t.Context())
				})
			}
			ready.Wait()
			close(start)
			done.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if got := count(t, open(1), "SELECT COUNT(*) FROM goose_db_version WHERE version_id = 0"); got != 1 {
				t.Errorf("round %d: %d rows for version 0", round, got)
			}
		}
	})
}

// A process that was killed, or is slow, between the two steps in which goose makes its
// table stops goose's own store for good, and not ours.
func TestTableWithoutItsFirstRow(t *testing.T) {
	onServers(t, func(t *testing.T, open func(int) *sql.DB) {
		db := open(2)
		exec(t, db, "CREATE TABLE goose_db_version (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, version_id BIGINT NOT NULL, is_applied BOOLEAN NOT NULL, tstamp DATETIME NULL DEFAULT CURRENT_TIMESTAMP)")
		own, err := goose.NewProvider(goose.DialectMySQL, db, application)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := own.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "missing zero version migration") {
			t.Errorf("goose's own store: %v", err)
		}
		if done, err := provider(t, db, goose.WithVerbose(false)).Up(t.Context()); err != nil || len(done) != 3 {
			t.Errorf("%d migrations, %v", len(done), err)
		}
		if done, err := own.Up(t.Context()); err != nil || len(done) != 0 {
			t.Errorf("goose's own store, afterwards: %d migrations, %v", len(done), err)
		}
	})
}

// Two processes that both saw no row of version 0 make one.
func TestOneRowForVersionZero(t *testing.T) {
	onServers(t, func(t *testing.T, open func(int) *sql.DB) {
		db := open(2)
		store, err := migrations.NewVersionStore(goose.DefaultTablename)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := errors.Join(store.CreateVersionTable(t.Context(), db), store.Insert(t.Context(), db, database.InsertRequest{})); err != nil {
				t.Fatal(err)
			}
		}
		if got := count(t, db, "SELECT COUNT(*) FROM goose_db_version"); got != 1 {
			t.Errorf("%d rows", got)
		}
	})
}

func TestVersionStoreOfABadName(t *testing.T) {
	for _, name := range []string{"", "a b", "a`b", "a.b.c", "a;b"} {
		if _, err := migrations.NewVersionStore(name); err == nil || !strings.HasPrefix(err.Error(), "migrations: NewVersionStore(") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
