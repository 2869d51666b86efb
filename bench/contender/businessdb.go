package contender

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	// manyConnections is more than there are workers: none waits for another's
	// connection, and none is closed to be opened again.
	manyConnections = 1024
	// acquirePatience bounds the wait for a key, as libraries that try again and
	// again want a bound; ctx is the one that is meant.
	acquirePatience = 10 * time.Minute
	// retryDelay is between two tries of those libraries.
	retryDelay = 5 * time.Millisecond
	// releasePatience bounds a release, which is tried also when ctx has ended.
	releasePatience = 10 * time.Second
)

// ErrLost is what Do returns of a key that may have been another's before its
// release; whether the transaction was committed it does not say.
var ErrLost = errors.New("the key had expired before its release, so the transaction may not have been alone under it: take a longer TTL")

// businessDB is where the business is done for locks that are kept elsewhere.
type businessDB struct{ *sql.DB }

func openBusinessDB(e Env) (businessDB, error) {
	db, err := e.Pool()
	if err != nil {
		return businessDB{}, fmt.Errorf("contender: database: %w", err)
	}
	return businessDB{db}, nil
}

// run runs business in one transaction.
func (db businessDB) run(ctx context.Context, business Business) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("contender: begin: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if err := business(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("contender: commit: %w", err)
	}
	return nil
}

// releasing is ctx for a release, which must be tried also when ctx has ended.
func releasing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
}
