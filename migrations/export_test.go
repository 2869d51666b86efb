package migrations_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/migrations"
)

var noon = migrations.ExportAt(time.Date(2026, 11, 24, 12, 59, 58, 0, time.FixedZone("", 3600)))

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func listed(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, entry := range ok[[]os.DirEntry](t)(os.ReadDir(dir)) {
		names = append(names, entry.Name())
	}
	return names
}

func numbers(names []string) string {
	var all []string
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		all = append(all, number)
	}
	return strings.Join(all, " ")
}

// threeFiles has the library know three migrations, as a later version may.
func threeFiles(t *testing.T) {
	one := migrations.FS
	t.Cleanup(func() { migrations.FS = one })
	text := ok[[]byte](t)(fs.ReadFile(one, files(t)[0]))
	migrations.FS = fstest.MapFS{files(t)[0]: {Data: text}, "20270101000000_b.sql": {Data: []byte("-- +goose Up\n")}, "20280101000000_c.sql": {Data: []byte("-- +goose Up\n")}}
}

func TestExportNumbers(t *testing.T) {
	threeFiles(t)
	for name, c := range map[string]struct {
		before []string
		opts   []migrations.ExportOption
		want   string
	}{
		"times":                    {nil, []migrations.ExportOption{noon}, "20261124115958 20261124115959 20261124120000"},
		"times after counts":       {[]string{"00007_own.sql"}, []migrations.ExportOption{noon}, "20261124115958 20261124115959 20261124120000"},
		"times after later ones":   {[]string{"20261231235958_own.sql", "README.md"}, []migrations.ExportOption{noon}, "20261231235959 20270101000000 20270101000001"},
		"times after the same":     {[]string{"20261124115958_own.go"}, []migrations.ExportOption{noon}, "20261124115959 20261124120000 20261124120001"},
		"times after beyond times": {[]string{"99999999999999_own.sql"}, []migrations.ExportOption{noon}, "100000000000000 100000000000001 100000000000002"},
		"counts":                   {nil, []migrations.ExportOption{migrations.ExportSequential()}, "00001 00002 00003"},
		"counts on":                {[]string{"007_own.sql", "009_own.sql"}, []migrations.ExportOption{migrations.ExportSequential()}, "010 011 012"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range c.before {
				write(t, dir, name, "-- +goose Up\n")
			}
			got := ok[[]string](t)(migrations.Export(dir, c.opts...))
			if numbers(got) != c.want {
				t.Errorf("numbers %s, want %s", numbers(got), c.want)
			}
			for i, name := range got {
				if !strings.HasSuffix(name, "_helix_"+files(t)[i]) {
					t.Errorf("file %d is %s", i+1, name)
				}
			}
			before := listed(t, dir)
			if again := ok[[]string](t)(migrations.Export(dir, c.opts...)); len(again) > 0 || !slices.Equal(listed(t, dir), before) {
				t.Errorf("a second export wrote %s", again)
			}
		})
	}
}

// An upgrade of the library exports what it brings, after all that came since.
func TestExportLaterMigrations(t *testing.T) {
	threeFiles(t)
	dir := t.TempDir()
	all := ok[[]string](t)(migrations.Export(dir, noon))
	last := all[len(all)-1]
	if err := os.Remove(filepath.Join(dir, last)); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "20270303000000_own.sql", "-- +goose Up\n")
	got := ok[[]string](t)(migrations.Export(dir, noon))
	if want := strings.Replace(last, numbers([]string{last}), "20270303000001", 1); !slices.Equal(got, []string{want}) {
		t.Errorf("exported %s, want %s", got, want)
	}
}

func TestExportRefuses(t *testing.T) {
	threeFiles(t)
	for name, c := range map[string]struct {
		change func(dir string, all []string) error
		want   string
	}{
		"an edited file": {func(dir string, all []string) error {
			return os.WriteFile(filepath.Join(dir, all[1]), []byte("-- +goose Up\n"), 0o600)
		}, "is not as it was exported"},
		"a lost file": {func(dir string, all []string) error { return os.Remove(filepath.Join(dir, all[1])) }, "restore that file"},
		"one file twice": {func(dir string, all []string) error {
			return os.Link(filepath.Join(dir, all[1]), filepath.Join(dir, "9"+all[1]))
		}, "are the same migration"},
		"no directory": {func(dir string, _ []string) error { return os.RemoveAll(dir) }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			all := ok[[]string](t)(migrations.Export(dir))
			if err := c.change(dir, all); err != nil {
				t.Fatal(err)
			}
			if name == "an edited file" {
				if err := os.Remove(filepath.Join(dir, all[len(all)-1])); err != nil {
					t.Fatal(err)
				}
			}
			got, err := migrations.Export(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(got) > 0 {
				t.Errorf("exported %s, error %v", got, err)
			}
		})
	}
	for name, opt := range map[string]migrations.ExportOption{"no time": migrations.ExportAt(time.Time{}), "no option": nil} {
		if _, err := migrations.Export(t.TempDir(), opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Line ends that version control changes are no edit.
func TestExportKnowsOtherLineEnds(t *testing.T) {
	dir := t.TempDir()
	for _, name := range ok[[]string](t)(migrations.Export(dir)) {
		text := ok[[]byte](t)(os.ReadFile(filepath.Join(dir, name)))
		write(t, dir, name, strings.ReplaceAll(string(text), "\n", "\r\n"))
	}
	if got := ok[[]string](t)(migrations.Export(dir)); len(got) > 0 {
		t.Errorf("exported %s again", got)
	}
}

// Exported files run among the application's own, in its table; and where this package has
// run already, or runs later, nothing is harmed. They do not take an older table over.
func TestExportedFilesRun(t *testing.T) {
	eachOlderTable(t, func(d *database, want []string) {
		dir := d.TempDir()
		write(d.T, dir, "20260101000000_accounts.sql", "-- +goose Up\nCREATE TABLE accounts (id INT PRIMARY KEY);\n-- +goose Down\nDROP TABLE accounts;\n")
		ok[[]string](d.T)(migrations.Export(dir, noon))
		p, err := goose.NewProvider(goose.DialectMySQL, d.db, os.DirFS(dir), goose.WithLogger(goose.NopLogger()))
		if err != nil {
			d.Fatal(err)
		}
		if _, err := p.Up(d.Context()); err == nil || !strings.Contains(err.Error(), "take it over by txlock migrate adopt") {
			d.Errorf("beside an older table: %v", err)
		}
		d.adopt(d.db)
		if done := ok[[]*goose.MigrationResult](d.T)(p.Up(d.Context())); len(done) != len(files(d.T)) {
			d.Errorf("%d files ran", len(done))
		}
		if err := migrations.Verify(d.Context(), d.db); err != nil {
			d.Error(err)
		}
		d.exec(`DELETE FROM goose_db_version WHERE version_id > 20260101000000`)
		ok[[]*goose.MigrationResult](d.T)(p.Up(d.Context()))
		if got := d.locks(); !slices.Equal(got, want) {
			d.Errorf("the locks are %s", got)
		}
		ok[[]*goose.MigrationResult](d.T)(p.DownTo(d.Context(), 20260101000000))
		if !slices.Contains(d.tables(), "accounts") {
			d.Error("the application's table is gone")
		}
	})
}
