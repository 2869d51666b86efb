package goosetest

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3/lock"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
)

// What the documentation of NewLeaseLocker says of goose's own locker with a table, and of
// itself. Where one of these fails because goose has become better, the documentation is to
// say so.

// session opens pools whose sessions have a time zone, with times parsed or not.
func sessions(t *testing.T, test func(t *testing.T, open func(zone string, parseTime bool) *sql.DB)) {
	t.Helper()
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		name := s.EmptyDatabase(t)
		open := func(zone string, parseTime bool) *sql.DB {
			return s.Open(t, func(c *mysql.Config) {
				c.DBName, c.ParseTime, c.Params = name, parseTime, map[string]string{"time_zone": "'" + zone + "'"}
			})
		}
		if _, err := migrations.Up(t.Context(), open("+00:00", false)); err != nil {
			t.Fatal(err)
		}
		test(t, open)
	})
}

func tableLocker(t *testing.T) lock.Locker {
	t.Helper()
	l, err := lock.NewMySQLTableLocker(lock.WithTableLockTimeout(time.Millisecond, 1), lock.WithTableUnlockTimeout(time.Millisecond, 1))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Its leases are by the clock of each session.
func TestLockersInTwoTimeZones(t *testing.T) {
	sessions(t, func(t *testing.T, open func(string, bool) *sql.DB) {
		west, east := open("-05:00", true), open("+05:00", true)
		for name, c := range map[string]struct {
			lockers [2]lock.Locker
			both    bool
		}{
			"goose's": {[2]lock.Locker{tableLocker(t), tableLocker(t)}, true},
			"ours":    {[2]lock.Locker{leaseLocker(t), leaseLocker(t, migrations.LockWait(0))}, false},
		} {
			if err := c.lockers[0].Lock(t.Context(), west); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			err := c.lockers[1].Lock(t.Context(), east)
			if got := err == nil; got != c.both {
				t.Errorf("%s: a second locker beside the first: %v", name, err)
			}
			if err == nil {
				err = c.lockers[1].Unlock(t.Context(), east)
			}
			if c.both && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := c.lockers[0].Unlock(t.Context(), west); (err != nil) != c.both {
				t.Errorf("%s: the first one's unlock: %v", name, err)
			}
		}
	})
}

// It needs a DSN that says parseTime.
func TestLockersWithoutParseTime(t *testing.T) {
	sessions(t, func(t *testing.T, open func(string, bool) *sql.DB) {
		db := open("+00:00", false)
		if err := tableLocker(t).Lock(t.Context(), db); err == nil {
			t.Error("goose's locker works without parseTime")
		}
		ours := leaseLocker(t)
		if err := errors.Join(ours.Lock(t.Context(), db), ours.Unlock(t.Context(), db)); err != nil {
			t.Error(err)
		}
	})
}

// A holder that has lost it hears so at its unlock: from goose's by the text of an error,
// after it was tried again for as long as unlocking may take (a minute, unless that is set).
func TestLockersThatLostIt(t *testing.T) {
	sessions(t, func(t *testing.T, open func(string, bool) *sql.DB) {
		db := open("+00:00", true)
		theirs, ours := tableLocker(t), leaseLocker(t)
		if err := errors.Join(theirs.Lock(t.Context(), db), ours.Lock(t.Context(), db)); err != nil {
			t.Fatal(err)
		}
		exec(t, db, "UPDATE goose_lock SET locked_by = 'another'")
		exec(t, db, "UPDATE helix_locks SET epoch = epoch + 1, owner_id = 'another'")
		if err := theirs.Unlock(t.Context(), db); err == nil || errors.Is(err, migrations.ErrLockLost) {
			t.Errorf("goose's: %v", err)
		}
		if err := ours.Unlock(t.Context(), db); !errors.Is(err, migrations.ErrLockLost) {
			t.Errorf("ours: %v", err)
		}
	})
}
