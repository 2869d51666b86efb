package migrations

import (
	"context"
	"database/sql"
	"errors"

	"github.com/pressly/goose/v3/database"

	"github.com/gox-helix/gox-helix/lockdb"
)

// versionStore is goose's own, but for how its table is made: goose does that
// before it locks, fails on several nodes of a cluster at once (on Group
// Replication the members then leave the group), and refuses for ever a table
// whose maker was killed before it had written the first row.
type versionStore struct{ database.Store }

func (s *versionStore) TableExists(ctx context.Context, db database.DBTxConn) (bool, error) {
	extended, ok := s.Store.(database.StoreExtender)
	if !ok {
		return false, errors.ErrUnsupported
	}
	exists, err := extended.TableExists(ctx, db)
	if err != nil || !exists {
		return false, err
	}
	versions, err := s.ListMigrations(ctx, db)
	return len(versions) > 0, err
}

func (s *versionStore) CreateVersionTable(ctx context.Context, db database.DBTxConn) error {
	return lockdb.New(unprepared{db}).CreateVersionTable(ctx)
}

// unprepared is for queries that are sent as text.
type unprepared struct{ database.DBTxConn }

func (unprepared) PrepareContext(context.Context, string) (*sql.Stmt, error) {
	return nil, errors.ErrUnsupported
}
