package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
)

// Exit statuses: those of sysexits.h where it has one, and of shells.
const (
	exitNo            = 1   // the answer is no
	exitUsage         = 64  // EX_USAGE
	exitDatabase      = 69  // EX_UNAVAILABLE
	exitOutput        = 74  // EX_IOERR
	exitHeld          = 75  // EX_TEMPFAIL
	exitLost          = 76  // of our own
	exitNotExecutable = 126 // as shells have it
	exitNotFound      = 127
	exitSignal        = 128 // and the number of the signal
)

const exitHelp = `EXIT STATUS
  0    done
  1    the answer is no: no such key, a problem found, a difference found, not confirmed
  64   wrong usage: a flag, an argument, a DSN or an option file; a confirmation that needs --yes
  69   the database: not reached, refused, not migrated, failed
  74   standard output cannot be written
  75   held: somebody else has the key (or is migrating, or leases are active)
  76   lost: the lease was lost while the command ran, and the command was ended
  126  the command is there but cannot be run
  127  the command is not there
  128+N  ended by signal N
  Otherwise run exits with the status of its command.`

// exitError ends the program with a status. Without a cause nothing is said.
type exitError struct {
	status int
	cause  error
}

func (e *exitError) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.cause.Error()
}

func (e *exitError) Unwrap() error { return e.cause }

func usageErrorf(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// no says that the answer is no; what there is to say has been said.
func no() error { return &exitError{status: exitNo} }

// signalError is why a context has ended.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return "ended by " + e.signal.String() }

// notMigrated says what to do with this program where the library speaks of others.
func notMigrated(err error) error {
	var server *mysql.MySQLError
	if !errors.Is(err, txlock.ErrNotMigrated) || !errors.As(err, &server) {
		return err
	}
	return &exitError{exitDatabase, fmt.Errorf("the tables of the locks are missing or incomplete in this database: run txlock migrate up (txlock migrate verify says what is wrong): %w", server)}
}

// statusOf is the exit status of an error that a verb returned.
func statusOf(ctx context.Context, err error) int {
	var exit *exitError
	var ended *signalError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.status
	case errors.As(context.Cause(ctx), &ended):
		number, _ := ended.signal.(syscall.Signal)
		return exitSignal + int(number)
	case errors.Is(err, txlock.ErrLost):
		return exitLost
	case errors.Is(err, txlock.ErrHeld), errors.Is(err, txlock.ErrBusy), errors.Is(err, migrations.ErrLockTimeout):
		return exitHeld
	case errors.Is(err, txlock.ErrNotFound):
		return exitNo
	case errors.Is(err, txlock.ErrInvalidArgument), errors.Is(err, txlock.ErrInvalidKey), errors.Is(err, txlock.ErrInvalidTTL):
		return exitUsage
	}
	return exitDatabase
}
