package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pressly/goose/v3/database"

	"github.com/gox-helix/gox-helix/lockdb"
)

var tableName = regexp.MustCompile(`^([0-9A-Za-z_$]+\.)?[0-9A-Za-z_$]+$`)

// NewVersionStore is goose's own store of versions for MySQL, but for how the table is
// made: processes that start at once on an empty database cannot disturb each other, a
// process that is killed in between leaves nothing that stops the next, and the table is
// of InnoDB whatever the server's default is. It is for the application's own migrations
// beside [NewSessionLocker] or [NewLeaseLocker], since goose makes its table outside of
// any lock:
//
//	store, err := migrations.NewVersionStore(goose.DefaultTablename)
//	...
//	goose.NewProvider(goose.DialectCustom, db, fsys, goose.WithStore(store), ...)
//
// The table is one of letters, digits, _ and $, perhaps after the name of a database and
// a dot.
func NewVersionStore(table string) (database.Store, error) {
	if !tableName.MatchString(table) {
		return nil, fmt.Errorf("migrations: NewVersionStore(%q): give the name of a table, of letters, digits, _ and $", table)
	}
	inner, err := database.NewStore(database.DialectMySQL, table)
	if err != nil {
		return nil, fmt.Errorf("migrations: NewVersionStore(%q): %w", table, err)
	}
	return &versionStore{inner, strings.NewReplacer(VersionTable, table)}, nil
}

type versionStore struct {
	database.Store

	name *strings.Replacer
}

func (s *versionStore) queries(db database.DBTxConn) *lockdb.Queries {
	return lockdb.New(renamed{db, s.name})
}

// TableExists is false for a table without its first row, so that it gets one. It does not
// ask the catalog, in which some proxies find nothing.
func (s *versionStore) TableExists(ctx context.Context, db database.DBTxConn) (bool, error) {
	_, err := s.queries(db).HasVersions(ctx)
	if errors.Is(err, sql.ErrNoRows) || isServerError(err, 1146) {
		return false, nil
	}
	return err == nil, err
}

func (s *versionStore) CreateVersionTable(ctx context.Context, db database.DBTxConn) error {
	return s.queries(db).CreateVersionTable(ctx)
}

func (s *versionStore) Insert(ctx context.Context, db database.DBTxConn, req database.InsertRequest) error {
	if req.Version == 0 {
		return s.queries(db).InsertVersionZero(ctx)
	}
	return s.Store.Insert(ctx, db, req)
}

// renamed is a database whose tables have other names than in the statements of lockdb.
type renamed struct {
	database.DBTxConn

	names *strings.Replacer
}

func (r renamed) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return r.DBTxConn.ExecContext(ctx, r.names.Replace(query), args...)
}

func (r renamed) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return r.DBTxConn.QueryContext(ctx, r.names.Replace(query), args...)
}

func (r renamed) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return r.DBTxConn.QueryRowContext(ctx, r.names.Replace(query), args...)
}

// PrepareContext is never called: a statement is sent once.
func (renamed) PrepareContext(context.Context, string) (*sql.Stmt, error) {
	return nil, errors.ErrUnsupported
}
