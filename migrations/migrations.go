// Package migrations holds the schema of gox-helix and runs it.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"

	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/internal/schema"
)

// FS holds the migrations, as goose reads them: one SQL file each, at its root.
//
//go:embed *.sql
var FS embed.FS

// VersionTable is where goose notes which of these migrations a database has,
// beside the goose_db_version of the application's own.
const VersionTable = "helix_goose_db_version"

// Option changes how migrations are run; an invalid one makes the call fail
// before anything is sent.
type Option func(*config) error

type config struct{}

func Up(ctx context.Context, db *sql.DB, opts ...Option) ([]*goose.MigrationResult, error) {
	return nil, errors.ErrUnsupported
}

func UpTo(ctx context.Context, db *sql.DB, version int64, opts ...Option) ([]*goose.MigrationResult, error) {
	return nil, errors.ErrUnsupported
}

func Down(ctx context.Context, db *sql.DB, opts ...Option) ([]*goose.MigrationResult, error) {
	return nil, errors.ErrUnsupported
}

func DownTo(ctx context.Context, db *sql.DB, version int64, opts ...Option) ([]*goose.MigrationResult, error) {
	return nil, errors.ErrUnsupported
}

func Status(ctx context.Context, db *sql.DB, opts ...Option) ([]*goose.MigrationStatus, error) {
	return nil, errors.ErrUnsupported
}

func Version(ctx context.Context, db *sql.DB, opts ...Option) (int64, error) {
	return 0, errors.ErrUnsupported
}

// DriftError says in what a database differs from what this version needs.
type DriftError = schema.DriftError

// Difference is one of them, with its cure.
type Difference = schema.Difference

func Verify(ctx context.Context, db *sql.DB) error { return schema.Verify(ctx, db) }
