package migrations_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	servertest.Main(m, func() error { return goleak.Find() })
}

// database is an empty one on a server.
type database struct {
	*testing.T
	server *servertest.Instance
	name   string
	db     *sql.DB
	older  string // the file of testdata that it began with, if any
}

func onServers(t *testing.T, test func(d *database)) {
	t.Helper()
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) { test(newDatabase(t, s)) })
}

func newDatabase(t *testing.T, s *servertest.Instance) *database {
	t.Helper()
	name := s.EmptyDatabase(t)
	d := &database{T: t, server: s, name: name}
	d.db = d.open()
	return d
}

// goose runs the stock command.
func (d *database) goose(args ...string) string {
	d.Helper()
	out, err := d.server.Migrate(d.Context(), d.name, args...)
	if err != nil {
		d.Fatalf("goose %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (d *database) open(opts ...func(*mysql.Config)) *sql.DB {
	d.Helper()
	return d.pool(d.connector(opts...))
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

func (d *database) valueOf(db *sql.DB, query string) (value string) {
	d.Helper()
	if err := db.QueryRowContext(d.Context(), query).Scan(&value); err != nil {
		d.Fatal(err)
	}
	return value
}

// strings runs a query of one column.
func (d *database) strings(query string) (all []string) {
	d.Helper()
	rows, err := d.db.QueryContext(d.Context(), query)
	if err != nil {
		d.Fatal(err)
	}
	defer func() {
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			d.Error(err)
		}
	}()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			d.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func (d *database) tables() []string {
	d.Helper()
	all := d.strings(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`)
	slices.Sort(all)
	return all
}

// user makes one that may do this in the database.
func (d *database) user(privileges string) func(c *mysql.Config) {
	d.Helper()
	user := "u_" + d.name[len(d.name)-6:]
	d.exec(fmt.Sprintf(`CREATE USER '%s'@'%%' IDENTIFIED BY 'secret'`, user))
	d.Cleanup(func() {
		if _, err := d.db.ExecContext(context.Background(), fmt.Sprintf(`DROP USER '%s'@'%%'`, user)); err != nil {
			d.Error(err)
		}
	})
	d.exec(fmt.Sprintf("GRANT %s ON `%s`.* TO '%s'@'%%'", privileges, d.name, user))
	return func(c *mysql.Config) { c.User, c.Passwd = user, "secret" }
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
	if n := d.number(`SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name LIKE 'helix%' AND engine <> 'InnoDB'`, d.name); n != 0 {
		d.Errorf("%d tables are not InnoDB's", n)
	}
	if n := d.number(`SELECT COUNT(*) FROM helix_lock_floor WHERE shard BETWEEN 0 AND 255`); n != 256 {
		d.Errorf("%d of 256 floors are there", n)
	}
}

func files(t *testing.T) (names []string) {
	t.Helper()
	for _, entry := range ok[[]fs.DirEntry](t)(fs.ReadDir(migrations.FS, ".")) {
		names = append(names, entry.Name())
	}
	return names
}

// statements are those of a file, in one direction.
func statements(t *testing.T, file, direction string) (all []string) {
	t.Helper()
	up, down, _ := strings.Cut(string(ok[[]byte](t)(os.ReadFile(filepath.Join("sql", file)))), "-- +goose Down")
	half := up
	if direction == "down" {
		half = down
	}
	for statement := range strings.SplitSeq(strings.TrimSpace(half), ";\n") {
		all = append(all, strings.TrimSuffix(statement, ";"))
	}
	return all
}

// The files are for a person to read: numbered by time, short, and SQL alone.
func TestFiles(t *testing.T) {
	lines := 0
	for _, file := range files(t) {
		number, _, _ := strings.Cut(file, "_")
		if _, err := time.Parse("20060102150405", number); err != nil || filepath.Ext(file) != ".sql" {
			t.Errorf("%s: %v", file, err)
		}
		lines += strings.Count(string(ok[[]byte](t)(os.ReadFile(filepath.Join("sql", file)))), "\n")
		for _, direction := range []string{"up", "down"} {
			for _, statement := range statements(t, file, direction) {
				var code []string
				for line := range strings.Lines(statement) {
					if !strings.HasPrefix(line, "--") {
						code = append(code, line)
					}
				}
				verb := strings.Fields(strings.Join(code, ""))[0]
				if !slices.Contains([]string{"CREATE", "DROP", "INSERT", "SELECT"}, verb) || strings.Contains(strings.Join(code, ""), "@") {
					t.Errorf("%s: %s", file, statement)
				}
			}
		}
	}
	if lines > 150 {
		t.Errorf("%d lines", lines)
	}
}

// Killed behind any statement, and whatever is noted, the same is finished by the next.
func TestFilesRunAgain(t *testing.T) {
	onServers(t, func(d *database) {
		all := statements(d.T, files(d.T)[0], "up")
		for n := range len(all) + 1 {
			d.clear()
			for _, statement := range all[:n] {
				d.exec(statement)
			}
			ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
			d.complete()
			if highest := d.number(`SELECT MAX(floor_epoch) FROM helix_lock_floor`); highest != 0 {
				d.Errorf("after %d statements floors begin at %d", n, highest)
			}
			down := statements(d.T, files(d.T)[0], "down")
			for _, statement := range down[:min(n, len(down))] {
				d.exec(statement)
			}
			ok[[]*goose.MigrationResult](d.T)(migrations.Down(d.Context(), d.db))
			if got := d.tables(); !slices.Equal(got, []string{"helix_goose_db_version"}) {
				d.Errorf("going down leaves %s", got)
			}
		}
	})
}

// A floor that was raised stays; one that was lost comes back above every epoch.
func TestFloorsComeBack(t *testing.T) {
	for name, lose := range map[string]string{
		"some":                    `DELETE FROM helix_lock_floor WHERE shard > 100`,
		"all":                     `DELETE FROM helix_lock_floor`,
		"all, without any lock":   `DELETE FROM helix_lock_floor`,
		"the table, beside locks": `DROP TABLE helix_lock_floor`,
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				d.goose("up")
				d.exec(`UPDATE helix_lock_floor SET floor_epoch = 7 WHERE shard = 3`)
				if name != "all, without any lock" {
					d.exec(`INSERT INTO helix_locks VALUES ('k', 'o', 9, 0, 0, '1970-01-01', NOW(), NOW(), NOW())`)
				}
				d.exec(lose)
				if strings.HasPrefix(lose, "DELETE") {
					var drift *migrations.DriftError
					if err := migrations.Verify(d.Context(), d.db); !errors.As(err, &drift) {
						d.Fatalf("verify: %v", err)
					}
					d.exec(drift.Differences[0].Cure)
				} else {
					d.goose("-no-versioning", "up")
				}
				d.complete()
				if err := migrations.Verify(d.Context(), d.db); err != nil {
					d.Error(err)
				}
				raised, lost := d.number(`SELECT floor_epoch FROM helix_lock_floor WHERE shard = 3`), d.number(`SELECT floor_epoch FROM helix_lock_floor WHERE shard = 200`)
				now := d.number(`SELECT UNIX_TIMESTAMP() * 1000000`)
				if lost < now-60_000_000 || lost > now || raised != 7 && raised != lost {
					d.Errorf("floors %d and %d", raised, lost)
				}
			})
		})
	}
}

// On a server that makes another engine than it was asked for, two could have one lock: the
// migration fails with the reason, as often as it is run, until that is corrected.
func TestAnotherEngine(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		args := []string{"--default-storage-engine=MyISAM", "--disabled-storage-engines=InnoDB", "--sql-mode="}
		cure := "SET GLOBAL sql_mode = ''" // by another server: this one cannot be told
		if s.Engine == "mariadb" {
			args, cure = []string{"--enforce-storage-engine=Aria", "--sql-mode="}, "SET GLOBAL enforce_storage_engine = NULL"
		}
		d := newDatabase(t, s.Fresh(t, args...))
		for _, up := range []func() error{
			func() error { _, err := migrations.Up(t.Context(), d.open()); return err },
			func() error { _, err := migrations.Up(t.Context(), d.open()); return err },
			func() error { _, err := d.server.Migrate(t.Context(), d.name, "up"); return err },
		} {
			if err := up(); err == nil || !strings.Contains(err.Error(), "tables_must_be_of_engine_innodb") {
				t.Errorf("error %v", err)
			}
		}
		if v := ok[int64](t)(migrations.Version(t.Context(), d.db)); v != 0 {
			t.Errorf("version %d is noted", v)
		}
		_, err := migrations.Up(t.Context(), d.open())
		if err == nil || !strings.Contains(err.Error(), "ALTER TABLE helix_locks ENGINE = InnoDB") {
			t.Errorf("error %v", err)
		}
		if s.Engine != "mariadb" {
			return
		}
		d.exec(cure)
		d.db = d.open() // sessions of before go on as they were
		d.exec("ALTER TABLE helix_locks ENGINE = InnoDB")
		d.exec("ALTER TABLE helix_lock_floor ENGINE = InnoDB")
		d.exec("ALTER TABLE helix_goose_db_version ENGINE = InnoDB")
		ok[[]*goose.MigrationResult](t)(migrations.Up(t.Context(), d.open()))
		d.complete()
	})
}

// A version table of the server's default engine, which has no transactions, is in nobody's
// way: goose's own on such a server, and ours is of InnoDB in any case. And a server that is
// read-only says so.
func TestServersOfTheirOwn(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		args := []string{"--default-storage-engine=MyISAM"}
		if s.Engine == "mysql" {
			args = append(args, "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
		}
		fresh := s.Fresh(t, args...)
		d := newDatabase(t, fresh)
		ok[[]*goose.MigrationResult](t)(migrations.Up(t.Context(), d.db))
		d.complete()
		stock := newDatabase(t, fresh)
		stock.goose("up")
		if err := migrations.Verify(t.Context(), stock.db); err != nil {
			t.Error(err)
		}
		stock.goose("down")
		readOnly(newDatabase(t, fresh))
	})
}

func readOnly(d *database) {
	limited := d.open(d.user("ALL"))
	d.exec(`SET GLOBAL read_only = 1`)
	_, err := migrations.Up(d.Context(), limited)
	d.exec(`SET GLOBAL read_only = 0`)
	if err == nil || !strings.Contains(err.Error(), "this server takes no writes: migrate on the primary") {
		d.Errorf("error %v", err)
	}
}

// A table of an older version is left as it is, with the cure.
func TestOlderIsRefused(t *testing.T) {
	eachOlderTable(t, func(d *database, _ []string) {
		before := d.olderRows("helix_locks")
		_, err := migrations.Up(d.Context(), d.db)
		if !errors.Is(err, migrations.ErrOlder) || !strings.Contains(err.Error(), "call migrations.Adopt, or txlock migrate adopt") || !strings.Contains(err.Error(), "nothing was changed") {
			d.Errorf("up: %v", err)
		}
		for range 2 {
			if out, err := d.server.Migrate(d.Context(), d.name, "up"); err == nil || !strings.Contains(string(out), "helix_locks is an older table, take it over by txlock migrate adopt") {
				d.Errorf("goose up: %v\n%s", err, out)
			}
		}
		var drift *migrations.DriftError
		if err := migrations.Verify(d.Context(), d.db); !errors.As(err, &drift) || !strings.Contains(err.Error(), "txlock migrate adopt") {
			d.Errorf("verify: %v", err)
		}
		if got := d.tables(); !slices.Equal(got, []string{"helix_goose_db_version", "helix_locks"}) {
			d.Errorf("the tables are %s", got)
		}
		if got := d.olderRows("helix_locks"); !slices.Equal(got, before) {
			d.Errorf("rows %s, were %s", got, before)
		}
	})
}

// As the documentation tells users of other tools.
func TestPlainSQL(t *testing.T) {
	var pipe string
	for line := range strings.Lines(string(ok[[]byte](t)(os.ReadFile("doc.go")))) {
		if command, is := strings.CutPrefix(line, "//\tsed "); is {
			pipe, _, _ = strings.Cut("sed "+command, " |")
		}
	}
	command := exec.Command("sh", "-c", pipe)
	command.Dir = ".."
	text := ok[[]byte](t)(command.Output())
	onServers(t, func(d *database) {
		up := string(text)
		db := d.open(func(c *mysql.Config) { c.MultiStatements = true })
		for range 2 {
			if _, err := db.ExecContext(d.Context(), up); err != nil {
				d.Fatal(err)
			}
			d.complete()
		}
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		if err := migrations.Verify(d.Context(), d.db); err != nil {
			d.Error(err)
		}
	})
}

// A backup takes epochs back. The statements of the documentation raise every epoch and
// every floor above what was ever given out, and leave no lease to a holder of before.
func TestRestoredBackup(t *testing.T) {
	onServers(t, func(d *database) {
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		l := ok[*txlock.Locker](d.T)(txlock.New(d.db))
		before := ok[*txlock.Lease](d.T)(l.TryAcquire(d.Context(), "held"))
		purged := ok[*txlock.Lease](d.T)(l.TryAcquire(d.Context(), "purged"))
		d.exec(`DELETE FROM helix_locks WHERE lock_key = 'purged'`) // the backup is older than it
		var leaps int
		for line := range strings.Lines(string(ok[[]byte](d.T)(os.ReadFile("doc.go")))) {
			if statement, is := strings.CutPrefix(strings.TrimSpace(line), "//\tUPDATE "); is {
				d.exec("UPDATE " + statement)
				leaps++
			}
		}
		if leaps != 2 {
			d.Fatalf("%d statements", leaps)
		}
		if err := before.Renew(d.Context()); !errors.Is(err, txlock.ErrLost) {
			d.Errorf("a lease of before: %v", err)
		}
		if _, err := l.TryAcquire(d.Context(), "held"); !errors.Is(err, txlock.ErrHeld) {
			d.Errorf("a lock of the backup: %v", err)
		}
		if err := l.Revoke(d.Context(), "held"); err != nil {
			d.Fatal(err)
		}
		for key, old := range map[string]int64{"held": before.Epoch(), "purged": purged.Epoch()} {
			if lease := ok[*txlock.Lease](d.T)(l.TryAcquire(d.Context(), key)); lease.Epoch() < old+1_000_000_000 {
				d.Errorf("%s has epoch %d after %d", key, lease.Epoch(), old)
			}
		}
	})
}
