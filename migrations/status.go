package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/lockdb"
)

// Status lists every migration, in order, and which of them the database has.
// AppliedAt is when, as the server's clock read in the time zone of the session
// that applied it, taken to be this session's; to the second.
//
// It is one statement, which only reads: it needs SELECT on [VersionTable], takes
// no lock, and does not wait for a migration under way. A database without that
// table has none of them. Migrations that ran as exported files, as part of the
// application's own, are not seen here: ask [Verify].
func Status(ctx context.Context, db *sql.DB) ([]*goose.MigrationStatus, error) {
	applied, err := listApplied(ctx, db)
	if err != nil {
		return nil, failed("status", nil, err)
	}
	var all []*goose.MigrationStatus
	for _, source := range sources() {
		s := &goose.MigrationStatus{Source: source, State: goose.StatePending}
		if at, ok := applied[source.Version]; ok {
			s.State, s.AppliedAt = goose.StateApplied, at
		}
		all = append(all, s)
	}
	return all, nil
}

// Version returns the latest migration that the database has, 0 if none. It may
// be newer than any that this version of the library knows. It costs what
// [Status] costs.
func Version(ctx context.Context, db *sql.DB) (int64, error) {
	applied, err := listApplied(ctx, db)
	if err != nil {
		return 0, failed("version", nil, err)
	}
	return applied.newest(), nil
}

// applied are the versions that a database has, and since when.
type applied map[int64]time.Time

func listApplied(ctx context.Context, db *sql.DB) (applied, error) {
	if db == nil {
		return nil, errors.New("no *sql.DB: give the pool of the database to migrate")
	}
	var rows []*lockdb.ListVersionsRow
	err := read(func() (err error) {
		rows, err = lockdb.New(db).ListVersions(ctx)
		return err
	})
	if isServerError(err, 1146) { // the first migration makes that table
		return applied{}, nil
	}
	if isServerError(err, 1142, 1143) {
		return nil, fmt.Errorf("%w: %w", errVersionsDenied, err)
	}
	if err != nil {
		return nil, err
	}
	a := applied{}
	for _, row := range rows {
		a[row.VersionID] = time.Unix(row.AppliedAt, 0).UTC()
	}
	return a, nil
}

func (a applied) newest() (version int64) {
	for v := range a {
		version = max(version, v)
	}
	return version
}

// before is the version that remains when one is taken back.
func (a applied) before(version int64) (previous int64) {
	for v := range a {
		if v < version {
			previous = max(previous, v)
		}
	}
	return previous
}

// plan is what migrating to a version would do.
func (a applied) plan(direction string, version int64) (results []*goose.MigrationResult) {
	for _, source := range sources() {
		_, has := a[source.Version]
		if has == (direction == "down") && (source.Version > version) == (direction == "down") {
			results = append(results, &goose.MigrationResult{Source: source, Direction: direction})
		}
	}
	if direction == "down" {
		slices.Reverse(results)
	}
	return results
}

// sources lists the migrations, in order.
func sources() (all []*goose.Source) {
	for _, name := range names() {
		version, err := goose.NumericComponent(name)
		if err != nil {
			continue // a test holds every name against this
		}
		all = append(all, &goose.Source{Type: goose.TypeSQL, Path: name, Version: version})
	}
	return all
}

// names are those of the files, in order.
func names() []string {
	names, err := fs.Glob(FS, "*.sql")
	if err != nil {
		return nil // only a malformed pattern fails
	}
	return names
}

func latest() (version int64) {
	for _, source := range sources() {
		version = source.Version
	}
	return version
}

func checkVersion(direction string, version int64) error {
	var known []string
	for _, source := range sources() {
		if source.Version == version {
			return nil
		}
		known = append(known, fmt.Sprint(source.Version))
	}
	return fmt.Errorf("migrations: %s to version %d: there is no such migration: the versions are %s", direction, version, strings.Join(known, ", "))
}
