package migrations

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
)

// retry says how often to migrate again, and after what.
type retry struct {
	attempts int
	pause    time.Duration
	of       func(error) bool
}

// do returns, and has in the Error, what all attempts have applied.
func (r retry) do(ctx context.Context, migrate func() ([]*goose.MigrationResult, error)) (done []*goose.MigrationResult, err error) {
	for attempt := 1; ; attempt++ {
		results, err := migrate()
		var e *Error
		if errors.As(err, &e) {
			results = e.Applied
			e.Applied = append(slices.Clone(done), results...)
		}
		done = append(done, results...)
		if attempt == r.attempts || !r.of(err) {
			return done, err
		}
		select {
		case <-ctx.Done():
			return done, errors.Join(err, ctx.Err())
		case <-time.After(r.pause):
		}
	}
}

// read runs what only reads: on Galera also that is aborted by another node's DDL.
func read(f func() error) (err error) {
	for range 5 {
		if err = f(); !isDeadlock(err) {
			break
		}
	}
	return err
}

func isDeadlock(err error) bool { return isServerError(err, 1213) }

// isOfAnotherNode reports that a statement failed as one of another node would
// make it fail: a table has come or gone meanwhile, or COMMIT met a conflict. Not
// that a table is in use on this one: every attempt would block its users anew.
func isOfAnotherNode(err error) bool {
	return isServerError(err, 1050, 1051, 1062, 1146, 1180, 1213, 3101)
}
