package migrations

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// LockOption changes a locker; an invalid one makes its constructor fail.
type LockOption func(*lockConfig) error

type lockConfig struct {
	name string
	wait time.Duration
	ttl  time.Duration // of a lease
	pool *sql.DB       // for a lease
}

// LockName names the lock, 1 to 64 bytes. Whoever uses one name excludes each
// other: for a [NewSessionLocker] on the whole server, for a [NewLeaseLocker] in
// the database. The default is one for each database, the same for everybody who
// gives no name.
func LockName(name string) LockOption {
	return func(c *lockConfig) error {
		if len(name) < 1 || len(name) > 64 {
			return fmt.Errorf("migrations: LockName(%q) has %d bytes: give 1 to 64", name, len(name))
		}
		c.name = name
		return nil
	}
}

// LockWait sets how long to wait for another process to finish, 0 or more: the
// first try is always made. The default is five minutes.
func LockWait(wait time.Duration) LockOption {
	return func(c *lockConfig) error {
		if wait < 0 {
			return fmt.Errorf("migrations: LockWait(%v) is negative: give 0 or more", wait)
		}
		c.wait = wait
		return nil
	}
}

func newLockConfig(opts []LockOption) (lockConfig, error) {
	c := lockConfig{wait: 5 * time.Minute, ttl: 30 * time.Second}
	for _, opt := range opts {
		if opt == nil {
			return c, errors.New("migrations: an option of the locker is nil: leave it out")
		}
		if err := opt(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// LockTTL sets for how long a [NewLeaseLocker] may be out of touch with the
// database before another may migrate, from [txlock.MinTTL] to [txlock.MaxTTL];
// it renews its lease after a third of that. The default is 30 seconds.
func LockTTL(ttl time.Duration) LockOption {
	return func(c *lockConfig) error {
		if ttl < txlock.MinTTL || ttl > txlock.MaxTTL {
			return fmt.Errorf("migrations: LockTTL(%v): give %v to %v", ttl, txlock.MinTTL, txlock.MaxTTL)
		}
		c.ttl = ttl
		return nil
	}
}

// LockPool gives a [NewLeaseLocker] a pool of its own for the lease, on the same
// database. It is needed where the pool that migrates has a single connection.
func LockPool(db *sql.DB) LockOption {
	return func(c *lockConfig) error {
		if db == nil {
			return errors.New("migrations: LockPool(nil): give a pool, or leave the option out")
		}
		c.pool = db
		return nil
	}
}
