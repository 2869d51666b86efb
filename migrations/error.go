package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
)

var (
	// ErrNewer is in the error of Down for a database that has migrations which this
	// version of the library does not know.
	ErrNewer = errors.New("migrations: the database is newer than the library")

	// ErrOlder is in the error of Up and Down for a database whose helix_locks is one of an
	// older version: call [Adopt], or txlock migrate adopt, which keeps its locks.
	ErrOlder = errors.New("migrations: helix_locks is a table of an older version")

	// ErrWriterTimeZone is in the error of Adopt where expiries may be off by the time zone
	// of whoever wrote them: give [WithWriterTimeZone].
	ErrWriterTimeZone = errors.New("migrations: the time zone of the older programs is not known")

	// ErrLockTimeout is in the error of those who waited for longer than [LockWait]
	// for another process to finish migrating.
	ErrLockTimeout = errors.New("migrations: another process holds the lock")

	// ErrLockLost is in the error of a locker whose lock was gone when it was
	// released: another process may have migrated at the same time.
	ErrLockLost = errors.New("migrations: the lock was lost")

	// ErrPoolTooSmall is in the error of a [NewLeaseLocker] that gets no connection
	// from a pool whose only one goose has.
	ErrPoolTooSmall = errors.New("migrations: the pool has one connection, and the lease needs another")
)

// errVersionsDenied is for who may not even ask what there is to do.
var errVersionsDenied = errors.New("may not read " + VersionTable)

// newerError says that a database is ahead of this version of the library.
func newerError(version int64) error {
	return fmt.Errorf("migrations: down: %w: it has version %d and the library knows up to %d: "+
		"take it back with the version of the library that brought it", ErrNewer, version, latest())
}

// Error is what Up, Down and the others fail with. What the server or the context
// said is in it, for errors.Is and errors.As.
type Error struct {
	Op      string                   // up, down, status, version, adopt
	Applied []*goose.MigrationResult // done before the failure, and still so
	Failed  *goose.MigrationResult   // nil where no migration failed, but what is around them
	Err     error
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "migrations: %s", e.Op)
	if e.Failed != nil {
		fmt.Fprintf(&b, ": %s failed", e.Failed.Source.Path)
	}
	if len(e.Applied) > 0 {
		var names []string
		for _, r := range e.Applied {
			names = append(names, r.Source.Path)
		}
		fmt.Fprintf(&b, " after %s", strings.Join(names, ", "))
	}
	b.WriteString(": " + strings.TrimPrefix(e.Err.Error(), "migrations: "))
	if hint := e.hint(); hint != "" {
		b.WriteString(": " + hint)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// hint says what to do.
func (e *Error) hint() string {
	again := "call it again, it goes on where it stopped"
	switch {
	case errors.Is(e.Err, context.Canceled), errors.Is(e.Err, context.DeadlineExceeded):
		return again
	case errors.Is(e.Err, ErrLockTimeout), errors.Is(e.Err, ErrLockLost):
		return "" // they say it themselves
	case errors.Is(e.Err, errVersionsDenied):
		return "grant the user of this connection SELECT on " + VersionTable + ", then " + again
	case isServerError(e.Err, 1044, 1045, 1142, 1143, 1227, 1370):
		return "grant the user of this connection CREATE, DROP, ALTER, SELECT, INSERT, UPDATE and DELETE in the database, then " + again
	case isServerError(e.Err, 1046):
		return "name the database in the DSN"
	case isServerError(e.Err, 1290, 1836, 3100, 1047):
		return "this server takes no writes: migrate on the primary"
	case isServerError(e.Err, 1792):
		return "transaction_read_only is on in this session: turn it off for the user that migrates, then " + again
	case isServerError(e.Err, 1175):
		return "sql_safe_updates is on in this session, and goose needs it off, too: turn it off, then " + again
	case isServerError(e.Err, 1205):
		return "a transaction that is still open, which may only have read, uses one of the tables: end it, then " + again
	case errors.Is(e.Err, ErrOlder):
		return "call migrations.Adopt, or txlock migrate adopt, which takes it over with its locks"
	case isServerError(e.Err, 3819, 4025):
		return "this server made tables of another engine than InnoDB (enforce_storage_engine, or an sql_mode without NO_ENGINE_SUBSTITUTION): correct that, ALTER TABLE helix_locks ENGINE = InnoDB and the same for helix_lock_floor, then " + again
	case e.Failed != nil:
		return "what this migration has done so far stays, as DDL commits at once: correct the cause, then " + again
	case e.Op == "adopt" && errors.As(e.Err, new(*mysql.MySQLError)):
		return "correct the cause, then " + again
	}
	return ""
}

// olderError is what a migration says of an older table, and has what the server said.
type olderError struct{ err error }

func (*olderError) Error() string {
	return "helix_locks is a table of an older version, and nothing was changed"
}
func (e *olderError) Unwrap() []error {
	if e.err == nil {
		return []error{ErrOlder}
	}
	return []error{ErrOlder, e.err}
}

// failed makes an Error of what goose says.
func failed(op string, done []*goose.MigrationResult, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Applied: done, Err: err}
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		e.Applied, e.Failed = partial.Applied, partial.Failed
		if errors.Is(partial, err) {
			e.Err = partial.Err // else something failed besides
		}
	}
	if isServerError(err, 1054) && strings.Contains(err.Error(), "helix_locks is an older table") {
		e.Err = &olderError{e.Err}
	}
	return e
}
