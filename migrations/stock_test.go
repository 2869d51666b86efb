package migrations_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
)

// stock is goose as its command calls it, of the version in go.mod: the newest command is
// run beside it.
type stock struct {
	*database
	dir, table string
	parsed     *sql.DB // as the command changes the DSN
}

func (s stock) run(command string, args ...string) error {
	s.Helper()
	goose.SetTableName(s.table)
	return goose.RunContext(s.Context(), command, s.parsed, s.dir, args...)
}

func newStock(d *database, dir, table string) stock {
	d.Helper()
	goose.SetLogger(goose.NopLogger())
	if err := goose.SetDialect("mysql"); err != nil {
		d.Fatal(err)
	}
	return stock{d, dir, table, d.open(func(c *mysql.Config) { c.ParseTime = true })}
}

// oneByOne is onServers for what sets goose's globals.
func oneByOne(t *testing.T, test func(d *database)) {
	t.Helper()
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) { test(newDatabase(t, s)) })
}

// Every command of goose that changes or tells something.
func TestStockGoose(t *testing.T) {
	oneByOne(t, func(d *database) {
		oldest := newStock(d, "sql", migrations.VersionTable)
		for name, run := range map[string]func(command string, args ...string) error{
			"oldest": oldest.run,
			"newest": func(command string, args ...string) error {
				_, err := d.server.Migrate(d.Context(), d.name, append([]string{command}, args...)...)
				return err
			},
		} {
			d.clear()
			for _, step := range []struct {
				command string
				there   bool // afterwards
			}{
				{"up", true},
				{"status", true},
				{"version", true},
				{"up", true},
				{"redo", true},
				{"down", false},
				{"up-by-one", true},
				{"down-to 0", false},
				{"up-to " + fmt.Sprint(first(d.T)), true},
				{"reset", false},
			} {
				words := strings.Fields(step.command)
				if err := run(words[0], words[1:]...); err != nil {
					d.Errorf("%s: %s: %v", name, step.command, err)
				}
				if step.there {
					d.complete()
				} else if got := d.tables(); !slices.Equal(got, []string{"helix_goose_db_version"}) {
					d.Errorf("%s: %s leaves %s", name, step.command, got)
				}
			}
		}
		d.clear()
		for range 2 {
			d.goose("-no-versioning", "up")
			d.complete()
			if err := goose.UpContext(d.Context(), d.db, "sql", goose.WithNoVersioning()); err != nil {
				d.Error(err)
			}
		}
		if slices.Contains(d.tables(), "helix_goose_db_version") {
			d.Error("a table of versions was made")
		}
		d.goose("validate")
	})
}

// goose fix gives the files small numbers: a database that has them by the large one is not
// said to be up to date.
func TestStockFix(t *testing.T) {
	oneByOne(t, func(d *database) {
		dir := d.TempDir()
		for _, file := range files(d.T) {
			write(d.T, dir, file, string(ok[[]byte](d.T)(os.ReadFile(filepath.Join("sql", file)))))
		}
		s := newStock(d, dir, migrations.VersionTable)
		if err := s.run("up"); err != nil {
			d.Fatal(err)
		}
		if err := goose.Fix(dir); err != nil {
			d.Fatal(err)
		}
		if got := listed(d.T, dir); got[0] != "00001_create_helix_locks.sql" {
			d.Errorf("the files are %s", got)
		}
		if err := s.run("up"); err == nil || !strings.Contains(err.Error(), "missing migrations") {
			d.Errorf("error %v", err)
		}
		d.clear()
		if err := s.run("up"); err != nil {
			d.Error(err)
		}
		d.complete()
	})
}

// An application's own migrations are never taken for ours: whoever goes first, however
// many they are and however numbered, with a table of versions for each or by mistake one
// for both, all have run or goose fails.
func TestNobodysMigrationsAreSkipped(t *testing.T) {
	for name, numbers := range map[string][]string{
		"one":             {"00001"},
		"five":            {"00001", "00002", "00003", "00004", "00005"},
		"earlier":         {"20250101000000", "20250101000001"},
		"later":           {"20270101000000"},
		"around":          {"20250101000000", "20270101000000"},
		"numbered beyond": {"30000000000000"},
	} {
		for _, table := range []string{migrations.VersionTable, goose.DefaultTablename} {
			for _, oursFirst := range []bool{true, false} {
				t.Run(fmt.Sprint(name, " ", table, " ours first ", oursFirst), func(t *testing.T) {
					oneByOne(t, func(d *database) {
						dir := d.TempDir()
						for _, number := range numbers {
							write(d.T, dir, number+"_own.sql", "-- +goose Up\nCREATE TABLE own_"+number+" (id INT PRIMARY KEY);\n")
						}
						ours, theirs := newStock(d, "sql", table), newStock(d, dir, goose.DefaultTablename)
						order := []stock{theirs, ours}
						if oursFirst {
							slices.Reverse(order)
						}
						var errs []error
						for _, s := range append(order, order...) { // a second deployment, too
							errs = append(errs, s.run("up"))
						}
						err := errors.Join(errs...)
						if table == migrations.VersionTable && err != nil {
							d.Errorf("with tables of their own: %v", err)
						}
						if err != nil {
							if !strings.Contains(err.Error(), "missing migrations before current version") {
								d.Errorf("error %v", err)
							}
							return
						}
						d.complete()
						for _, number := range numbers {
							if !slices.Contains(d.tables(), "own_"+number) {
								d.Errorf("without an error, the application's migration %s has not run", number)
							}
						}
					})
				})
			}
		}
	}
}
