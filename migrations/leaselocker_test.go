package migrations_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
)

func (d *database) leaseLocker(opts ...migrations.LockOption) lock.Locker {
	d.Helper()
	return ok[lock.Locker](d.T)(migrations.NewLeaseLocker(opts...))
}

func TestLeaseLocker(t *testing.T) {
	onServers(t, func(d *database) {
		if err := d.leaseLocker().Lock(d.Context(), d.db); !errors.Is(err, txlock.ErrNotMigrated) || !strings.Contains(err.Error(), "migrations.Up") {
			d.Errorf("without tables: %v", err)
		}
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		first, second := d.leaseLocker(), d.leaseLocker(migrations.LockWait(0))
		if err := first.Unlock(d.Context(), d.db); err == nil {
			d.Error("unlocked what was not locked")
		}
		if err := first.Lock(d.Context(), d.db); err != nil {
			d.Fatal(err)
		}
		if err := second.Lock(d.Context(), d.db); !errors.Is(err, migrations.ErrLockTimeout) || !errors.Is(err, txlock.ErrHeld) {
			d.Errorf("a second holder: %v", err)
		}
		// One locker of several providers queues.
		ctx, cancel := context.WithTimeout(d.Context(), 20*time.Millisecond)
		if err := first.Lock(ctx, d.db); !errors.Is(err, context.DeadlineExceeded) {
			d.Errorf("the same locker: %v", err)
		}
		cancel()
		named := d.leaseLocker(migrations.LockName("other"), migrations.LockWait(0))
		if err := named.Lock(d.Context(), d.db); err != nil {
			d.Errorf("another name: %v", err)
		}
		if err := named.Unlock(d.Context(), d.db); err != nil {
			d.Error(err)
		}
		if err := first.Unlock(d.Context(), d.db); err != nil {
			d.Error(err)
		}
		if err := second.Lock(d.Context(), d.db); err != nil {
			d.Errorf("after the unlock: %v", err)
		}
		// Taken away, the lease's loss is told.
		operator := ok[*txlock.Locker](d.T)(txlock.New(d.db))
		if err := operator.Revoke(d.Context(), "goose:migrations"); err != nil {
			d.Fatal(err)
		}
		if err := second.Unlock(d.Context(), d.db); !errors.Is(err, migrations.ErrLockLost) || !errors.Is(err, txlock.ErrLost) {
			d.Errorf("unlock after a revocation: %v", err)
		}
		if err := operator.Close(); err != nil {
			d.Error(err)
		}
	})
}

// A pool of one connection is refused, or served by another pool, and never hangs.
func TestLeaseLockerInPoolOfOne(t *testing.T) {
	onServers(t, func(d *database) {
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		d.exec(`DELETE FROM helix_goose_db_version WHERE version_id > 0`) // as if killed before it was noted
		pool := d.open()
		pool.SetMaxOpenConns(1)
		_, err := migrations.Up(d.Context(), pool, migrations.WithLocker(d.leaseLocker()))
		if !errors.Is(err, migrations.ErrPoolTooSmall) {
			d.Errorf("error %v", err)
		}
		results := ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), pool, migrations.WithLocker(d.leaseLocker(migrations.LockPool(d.db)))))
		wantPaths(d.T, results, every(d.T, "up"))
		if held := d.strings(`SELECT lock_key FROM helix_locks WHERE status = 1`); len(held) > 0 {
			d.Errorf("%s is held", held)
		}
	})
}

// From nothing and back: there is no table for a lease at first, and none at the end.
func TestUpWithLeaseLocker(t *testing.T) {
	onServers(t, func(d *database) {
		locker := migrations.WithLocker(d.leaseLocker())
		for range 2 {
			wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db, locker)), every(d.T, "up"))
			d.complete()
			wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Down(d.Context(), d.db, locker)), every(d.T, "down"))
		}
	})
}
