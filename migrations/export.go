package migrations

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
)

// ExportOption changes how files are numbered; an invalid one makes [Export] fail
// before anything is written.
type ExportOption func(*exportConfig) error

type exportConfig struct {
	sequential bool
	at         time.Time
}

// ExportSequential numbers the files on from the highest number in the directory,
// as goose create -s does, instead of by time.
func ExportSequential() ExportOption {
	return func(c *exportConfig) error {
		c.sequential = true
		return nil
	}
}

// ExportAt sets the time that the numbers begin with. The default is now.
func ExportAt(at time.Time) ExportOption {
	return func(c *exportConfig) error {
		if at.IsZero() {
			return errors.New("migrations: ExportAt of no time: give one, or leave the option out")
		}
		c.at = at
		return nil
	}
}

const (
	timestamp = "20060102150405" // as goose create writes it, in UTC
	mark      = "_helix_"        // between the directory's number and the file's own name
)

// Export writes the migrations into dir, a directory of the application's own
// goose migrations, for those who run all of theirs together, and returns the
// names of the new files, in order. A file has the directory's kind of number and
// then its own name, which later exports know it by:
//
//	20261124120000_helix_20261128104500_create_helix_locks.sql
//
// Numbers are timestamps in UTC, a second apart ([ExportAt]), or count on
// ([ExportSequential]); in either case they are above all that the directory has.
// After an upgrade of this library call it again: only what is new is written.
// Migrations that a database already has, from [Up] or from the goose command,
// can run again as exported files.
//
// It never changes a file. It fails, and writes nothing, if an exported file is
// not as it was written, or is missing among later ones; and with what the file
// system said.
func Export(dir string, opts ...ExportOption) ([]string, error) {
	var c exportConfig
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("migrations: an option of Export is nil: leave it out")
		}
		if err := opt(&c); err != nil {
			return nil, err
		}
	}
	d, err := readExportDir(dir)
	if err != nil {
		return nil, fmt.Errorf("migrations: export to %s: %w", dir, err)
	}
	if c.at.IsZero() {
		c.at = time.Now()
	}
	number := d.next(c)
	var written []string
	for _, name := range d.missing {
		text, err := exported(name)
		if err != nil {
			return written, fmt.Errorf("migrations: export %s: %w", name, err)
		}
		file := number() + mark + name
		if err := writeNew(filepath.Join(dir, file), text); err != nil {
			return written, fmt.Errorf("migrations: export %s, after %d files were written: %w", file, len(written), err)
		}
		written = append(written, file)
	}
	return written, nil
}

// exported is the text of a migration as Export writes it.
func exported(name string) ([]byte, error) {
	text, err := fs.ReadFile(FS, name)
	return append([]byte("-- gox-helix "+name+", exported: do not edit. Later migrations are exported beside it.\n"), text...), err
}

// exportDir is what a directory of migrations has.
type exportDir struct {
	highest int64
	width   int      // of numbers with leading zeros
	missing []string // of ours, in order
}

func readExportDir(dir string) (*exportDir, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	d := &exportDir{width: 5}
	present := map[string]string{} // by our own name
	for _, entry := range entries {
		name := entry.Name()
		number, rest, _ := strings.Cut(name, "_")
		version, err := goose.NumericComponent(name)
		if err != nil || entry.IsDir() {
			continue // no migration
		}
		d.highest = max(d.highest, version)
		if strings.HasPrefix(number, "0") {
			d.width = len(number)
		}
		if own, ours := strings.CutPrefix("_"+rest, mark); ours {
			if other, twice := present[own]; twice {
				return nil, fmt.Errorf("%s and %s are the same migration: delete the one that no database has", other, name)
			}
			present[own] = name
		}
	}
	for _, name := range names() {
		file, ok := present[name]
		if !ok {
			d.missing = append(d.missing, name)
			continue
		}
		if len(d.missing) > 0 {
			return nil, fmt.Errorf("%s is there, but %s, which comes before it, is not: restore that file", file, d.missing[0])
		}
		if err := unchanged(filepath.Join(dir, file), name); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// unchanged compares an exported file with what is exported, line ends apart.
func unchanged(path, name string) error {
	got, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	want, err := exported(name)
	if err != nil {
		return err
	}
	if strings.ReplaceAll(string(got), "\r\n", "\n") != string(want) {
		return fmt.Errorf("%s is not as it was exported: restore it, and put changes of your own into a migration of your own", filepath.Base(path))
	}
	return nil
}

// next returns what gives one number after the other.
func (d *exportDir) next(c exportConfig) func() string {
	if c.sequential {
		return func() string {
			d.highest++
			return fmt.Sprintf("%0*d", d.width, d.highest)
		}
	}
	at := c.at.UTC()
	return func() string {
		number := timeNumber(at)
		if last, err := time.Parse(timestamp, strconv.FormatInt(d.highest, 10)); number <= d.highest && err == nil {
			at = last.Add(time.Second)
			number = timeNumber(at)
		}
		d.highest = max(number, d.highest+1) // which is no time where the directory counts beyond all times
		return strconv.FormatInt(d.highest, 10)
	}
}

// timeNumber is a time as goose create numbers a file.
func timeNumber(t time.Time) int64 {
	date := int64(t.Year())*10000 + int64(t.Month())*100 + int64(t.Day())
	return date*1000000 + int64(t.Hour())*10000 + int64(t.Minute())*100 + int64(t.Second())
}

// writeNew writes a file that was not there before. One that was interrupted is
// found changed by the next export.
func writeNew(path string, text []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // as source files are
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
