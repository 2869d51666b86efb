package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Option changes how migrations are run; an invalid one makes the call fail
// before anything is sent.
type Option func(*config) error

type config struct {
	dryRun        bool
	logger        *slog.Logger
	sessionLocker lock.SessionLocker
	locker        lock.Locker
	unlocked      bool
	writerZone    string
}

func newConfig(opts []Option) (c config, err error) {
	for _, opt := range opts {
		if opt == nil {
			return c, errors.New("migrations: an option is nil: leave it out")
		}
		if err := opt(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// WithDryRun makes Up, UpTo, Down and DownTo return the files that they would run,
// in order and without a duration. It sends one statement, which reads, and takes
// no lock. It does not look at the tables: what a migration refuses, the run itself finds.
//
// [Adopt] with it looks at the older table, and changes nothing.
func WithDryRun() Option {
	return func(c *config) error {
		c.dryRun = true
		return nil
	}
}

// WithLogger logs the migrations that were done, at level Info and when the call
// ends, with file, direction and duration; and what [Adopt] has taken over. What fails is
// returned, never only logged.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil {
			return errors.New("migrations: WithLogger(nil): give a logger, or leave the option out")
		}
		c.logger = logger
		return nil
	}
}

// WithSessionLocker sets what lets one process migrate at a time. The default is
// [NewSessionLocker], a named lock of the server.
func WithSessionLocker(locker lock.SessionLocker) Option {
	return func(c *config) error {
		if locker == nil {
			return errors.New("migrations: WithSessionLocker(nil): give a locker, or leave the option out")
		}
		c.sessionLocker = locker
		return c.checkLocks()
	}
}

// WithLocker sets a locker that needs no session, such as one of [NewLeaseLocker]
// for clusters, where a named lock is one node's.
func WithLocker(locker lock.Locker) Option {
	return func(c *config) error {
		if locker == nil {
			return errors.New("migrations: WithLocker(nil): give a locker, or leave the option out")
		}
		c.locker = locker
		return c.checkLocks()
	}
}

// WithoutLock takes no lock, for those who make sure themselves that nobody else
// migrates, or whose proxy breaks named locks. Migrations that run twice at once
// destroy nothing, but one of the two may fail, and has to run again.
func WithoutLock() Option {
	return func(c *config) error {
		c.unlocked = true
		return c.checkLocks()
	}
}

func (c *config) checkLocks() error {
	n := 0
	for _, set := range []bool{c.sessionLocker != nil, c.locker != nil, c.unlocked} {
		if set {
			n++
		}
	}
	if n > 1 {
		return errors.New("migrations: more than one of WithSessionLocker, WithLocker and WithoutLock: give one")
	}
	return nil
}

// withoutLease is for when there is no table to hold a lease in.
func (c config) withoutLease() config {
	c.locker = nil
	return c
}

// WithWriterTimeZone tells [Adopt] in which time zone the sessions of the older programs
// were, such as "-08:00", or a name if the server has time zones loaded. They wrote the
// text of a time in UTC into a column that takes it for a time in the session's zone; where
// that was not UTC, every expiry in the older table is off by the difference.
func WithWriterTimeZone(zone string) Option {
	return func(c *config) error {
		if zone == "" {
			return errors.New(`migrations: WithWriterTimeZone of no zone: give one, such as "+00:00", or leave the option out`)
		}
		c.writerZone = zone
		return nil
	}
}

func (c config) log(ctx context.Context, results []*goose.MigrationResult) {
	if c.logger == nil {
		return
	}
	for _, r := range results {
		c.logger.InfoContext(ctx, "migrations: done", "direction", r.Direction, "source", r.Source.Path, "duration", r.Duration)
	}
}

// provider is made anew for each call: it remembers things about its database.
func (c config) provider(db *sql.DB, direction string) (*goose.Provider, error) {
	store, err := NewVersionStore(VersionTable)
	if err != nil {
		return nil, err
	}
	locker, err := c.sessionLockerOn(db)
	if err != nil {
		return nil, err
	}
	if direction == "down" {
		locker = &impatient{SessionLocker: locker}
	}
	p, err := goose.NewProvider(goose.DialectCustom, db, FS, goose.WithStore(store), goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()), goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return p, nil
}

// sessionLockerOn is the locker that was chosen, whatever its kind.
func (c config) sessionLockerOn(db *sql.DB) (lock.SessionLocker, error) {
	switch {
	case c.unlocked:
		return noLocker{}, nil
	case c.locker != nil:
		return onPool{c.locker, db}, nil
	case c.sessionLocker != nil:
		return c.sessionLocker, nil
	}
	return NewSessionLocker()
}
