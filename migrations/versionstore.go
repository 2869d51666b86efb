package migrations

import (
	"context"
	"errors"

	"github.com/pressly/goose/v3/database"
)

// versionStore is goose's own, but that it finishes a table of versions whose
// maker was killed before it had written the first row: goose refuses that one
// for ever.
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
	err := s.Store.CreateVersionTable(ctx, db)
	if isServerError(err, 1050) { // it exists, and is empty
		return nil
	}
	return err
}
