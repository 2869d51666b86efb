package migrations_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	servertest.Main(m, func() error { return goleak.Find() })
}

// database is an empty one on a server, for the stock goose command.
type database struct {
	*testing.T
	server *servertest.Instance
	name   string
	db     *sql.DB
	older  string // the file of testdata that it began with, if any
}

func onServers(t *testing.T, test func(d *database)) {
	t.Helper()
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		name := s.EmptyDatabase(t)
		test(&database{T: t, server: s, name: name, db: s.Open(t, func(c *mysql.Config) { c.DBName = name })})
	})
}

func (d *database) goose(args ...string) {
	d.Helper()
	if out, err := d.server.Migrate(d.Context(), d.name, args...); err != nil {
		d.Fatalf("goose %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (d *database) exec(query string, args ...any) {
	d.Helper()
	if _, err := d.db.ExecContext(d.Context(), query, args...); err != nil {
		d.Fatal(err)
	}
}

func (d *database) number(query string, args ...any) (n int) {
	d.Helper()
	if err := d.db.QueryRowContext(d.Context(), query, args...).Scan(&n); err != nil {
		d.Fatal(err)
	}
	return n
}

// complete fails the test unless the schema is what the library needs.
func (d *database) complete() {
	d.Helper()
	for column, want := range map[string]string{
		"lock_key": "varbinary(255) NO PRI", "owner_id": "varbinary(255) NO ", "epoch": "bigint NO ", "lease_id": "bigint NO ", "status": "tinyint NO ",
		"expires_at": "datetime(6) NO ", "acquired_at": "datetime(6) NO ", "created_at": "datetime(6) NO ", "updated_at": "datetime(6) NO ",
	} {
		var typ, null, key string
		err := d.db.QueryRowContext(d.Context(), `SELECT column_type, is_nullable, column_key FROM information_schema.columns
			WHERE table_schema = ? AND table_name = 'helix_locks' AND column_name = ?`, d.name, column).Scan(&typ, &null, &key)
		if err != nil {
			d.Fatalf("%s: %v", column, err)
		}
		// MariaDB also tells how wide an integer is displayed.
		typ = strings.NewReplacer("bigint(20)", "bigint", "tinyint(4)", "tinyint").Replace(typ)
		if got := typ + " " + null + " " + key; got != want {
			d.Errorf("%s is %s, want %s", column, got, want)
		}
	}
	if n := d.number(`SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = ? AND table_name = 'helix_locks'`, d.name); n != 1 {
		d.Errorf("helix_locks has %d indexed columns: only the primary key belongs there", n)
	}
	if n := d.number(`SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name IN ('helix_locks', 'helix_lock_floor') AND engine = 'InnoDB'`, d.name); n != 2 {
		d.Errorf("%d of 2 tables are there", n)
	}
	if n := d.number(`SELECT COUNT(*) FROM helix_lock_floor WHERE shard BETWEEN 0 AND 255`); n != 256 {
		d.Errorf("%d of 256 floors are there", n)
	}
}

func TestUpDownUp(t *testing.T) {
	onServers(t, func(d *database) {
		d.goose("up")
		d.complete()
		d.goose("up") // nothing to do
		d.goose("down-to", "0")
		if n := d.number(`SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name LIKE 'helix\_lock%'`, d.name); n != 0 {
			d.Errorf("%d tables are left", n)
		}
		d.goose("up")
		d.complete()
	})
}

// DDL commits at once, so that a migration that is interrupted has happened, in
// part or in whole, without its version being noted. Whatever it left, "up"
// finishes it, and keeps floors that were raised meanwhile.
func TestInterruptedUp(t *testing.T) {
	for _, file := range files(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			onServers(t, func(d *database) {
				version := strings.TrimLeft(strings.SplitN(filepath.Base(file), "_", 2)[0], "0")
				d.goose("up-to", version)
				d.exec(`DELETE FROM helix_goose_db_version WHERE version_id = ?`, version) // as if killed before it was noted
				raised := 0
				if d.number(`SELECT COUNT(*) FROM helix_lock_floor`) == 256 {
					d.exec(`DELETE FROM helix_lock_floor WHERE shard > 100`) // as if killed in the middle
					d.exec(`UPDATE helix_lock_floor SET floor_epoch = 7 WHERE shard = 3`)
					raised = 7
					d.exec(`DELETE FROM helix_goose_db_version WHERE version_id >= 2`)
				}
				d.goose("up")
				d.complete()
				if n := d.number(`SELECT floor_epoch FROM helix_lock_floor WHERE shard = 3`); n != raised {
					d.Errorf("floor %d, was %d", n, raised)
				}
			})
		})
	}
}

func TestInterruptedDown(t *testing.T) {
	onServers(t, func(d *database) {
		d.goose("up")
		d.exec(`DROP TABLE helix_locks`) // as if killed before version 3 was taken back
		d.goose("down-to", "0")
		d.goose("up")
		d.complete()
	})
}

// One statement of DDL a file: what follows one that succeeded in the same file
// could not be undone with it. But for the takeover of an older table, whose
// statements each ask for the state that they find.
func TestOneStatementAFile(t *testing.T) {
	for _, file := range files(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		up, down, ok := strings.Cut(string(text), "-- +goose Down")
		if !ok || !strings.Contains(up, "-- +goose Up") {
			t.Errorf("%s lacks a direction", file)
		}
		for _, direction := range []string{up, down} {
			if n := strings.Count(direction, ";\n"); n > 1 && !strings.Contains(direction, "@helix_") {
				t.Errorf("%s has %d statements in one direction", file, n)
			}
		}
	}
}

func files(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("no migrations here: %v", err)
	}
	return names
}
