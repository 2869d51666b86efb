package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/internal/schema"
)

//go:embed sql/*.sql
var files embed.FS

// FS holds the migrations, as goose reads them: one SQL file each, at its root.
var FS = root(files)

func root(files embed.FS) fs.FS {
	root, err := fs.Sub(files, "sql")
	if err != nil {
		return files // only a malformed path fails
	}
	return root
}

// VersionTable is where goose notes which of these migrations a database has,
// beside the goose_db_version of the application's own.
const VersionTable = "helix_goose_db_version"

// Up applies every migration that the database of db does not have yet, and
// returns them in order; none, and no error, where there was nothing to do.
//
// It is safe to call in every process at start-up: under its lock (see
// [WithSessionLocker]) one migrates and the others wait, then find it done. What
// a process that was killed half way has left, the next Up finishes. A database
// that has migrations newer than this version's, after a deployment was rolled
// back, is left as it is: migrations only ever add.
//
// It fails with an [Error], which says what was applied, what failed and what to
// do: with [ErrOlder] in it if helix_locks is one of an older version, which is left as
// it is, see [Adopt]; with [ErrLockTimeout] if another process went on migrating for
// longer than [LockWait]. It takes one connection of the pool, and leaves nothing
// changed on it.
func Up(ctx context.Context, db *sql.DB, opts ...Option) ([]*goose.MigrationResult, error) {
	return migrate(ctx, db, "up", latest(), opts)
}

// UpTo is [Up] as far as a version, which must be one of [FS].
func UpTo(ctx context.Context, db *sql.DB, version int64, opts ...Option) ([]*goose.MigrationResult, error) {
	if err := checkVersion("up", version); err != nil {
		return nil, err
	}
	return migrate(ctx, db, "up", version, opts)
}

// Down takes the latest migration back, and returns it; none where the database
// has none. Taking back the one that created helix_locks forgets every lease and
// every epoch, so that fencing tokens start again from 1: end all users of the
// locks first. It waits for no more than 5 seconds for transactions that use the tables.
//
// It fails as [Up] does, also with [ErrOlder], and with [ErrNewer] if the database has
// migrations that this version does not know: take those back with the version that brought
// them.
func Down(ctx context.Context, db *sql.DB, opts ...Option) ([]*goose.MigrationResult, error) {
	return migrate(ctx, db, "down", oneStep, opts)
}

// DownTo is [Down] for every migration above a version, which must be one of
// [FS], or 0 for all.
func DownTo(ctx context.Context, db *sql.DB, version int64, opts ...Option) ([]*goose.MigrationResult, error) {
	if version != 0 {
		if err := checkVersion("down", version); err != nil {
			return nil, err
		}
	}
	return migrate(ctx, db, "down", version, opts)
}

const oneStep = -1 // stands for the version below the database's

func migrate(ctx context.Context, db *sql.DB, direction string, version int64, opts []Option) ([]*goose.MigrationResult, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if c.writerZone != "" {
		return nil, errors.New("migrations: WithWriterTimeZone is for Adopt: leave it out")
	}
	return c.migrate(ctx, db, direction, version)
}

func (c config) migrate(ctx context.Context, db *sql.DB, direction string, version int64) ([]*goose.MigrationResult, error) {
	applied, err := listApplied(ctx, db)
	if err != nil {
		return nil, failed(direction, nil, err)
	}
	if direction == "down" {
		if newest := applied.newest(); newest > latest() {
			return nil, newerError(newest)
		}
		if version == oneStep {
			version = applied.before(applied.newest())
		}
	}
	plan := applied.plan(direction, version)
	if c.dryRun || len(plan) == 0 {
		return plan, nil
	}
	if direction == "down" {
		if err := refuseOlder(ctx, db); err != nil {
			return nil, failed(direction, nil, err)
		}
	}
	if lease, ok := c.locker.(*leaseLocker); ok {
		if usable, err := lease.usable(ctx, db); err != nil {
			return nil, failed(direction, nil, err)
		} else if !usable || direction == "down" {
			return c.withoutLease().onCluster(ctx, db, direction, version)
		}
	}
	return c.run(ctx, db, direction, version)
}

// refuseOlder fails where going down would drop a table of an older version.
func refuseOlder(ctx context.Context, db *sql.DB) error {
	shape, err := schema.Look(ctx, db)
	if err == nil && (shape.State == schema.Older || shape.State == schema.Closed) {
		return &olderError{}
	}
	return err
}

// run has goose migrate, and once more where the server ended the transaction for a
// deadlock.
func (c config) run(ctx context.Context, db *sql.DB, direction string, version int64) ([]*goose.MigrationResult, error) {
	return retry{attempts: 2, of: isDeadlock}.do(ctx, func() ([]*goose.MigrationResult, error) {
		return c.once(ctx, db, direction, version)
	})
}

// onCluster migrates where there is no table to hold a lease in, and other nodes
// may be doing the same: what fails because of that is found done at the next
// attempt.
func (c config) onCluster(ctx context.Context, db *sql.DB, direction string, version int64) ([]*goose.MigrationResult, error) {
	return retry{attempts: 10, pause: 500 * time.Millisecond, of: isOfAnotherNode}.do(ctx, func() ([]*goose.MigrationResult, error) {
		return c.once(ctx, db, direction, version)
	})
}

func (c config) once(ctx context.Context, db *sql.DB, direction string, version int64) (results []*goose.MigrationResult, err error) {
	p, err := c.provider(db, direction)
	if err != nil {
		return nil, failed(direction, nil, err)
	}
	if direction == "up" {
		results, err = p.UpTo(ctx, version)
	} else {
		results, err = p.DownTo(ctx, version)
	}
	err = failed(direction, results, err)
	var e *Error
	if errors.As(err, &e) {
		c.log(ctx, e.Applied)
	} else {
		c.log(ctx, results)
	}
	return results, err
}
