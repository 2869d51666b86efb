package txlocktest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"regexp"
	"strings"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/lockdb"
)

// statement is one statement of package lockdb as a mock is to expect it: by its
// name, and by those of its arguments that say what is meant. Both are taken from
// lockdb itself, which is asked to send it to a recorder, so that they follow
// every change of its SQL.
type statement struct {
	name string // the start of its text: "-- name: AcquireLock :"
	args []driver.Value
}

// What a recorded statement is given, and known by among its arguments.
var placeholder = struct {
	key    string
	status int64
}{lockdb.Hex("txlocktest key"), math.MinInt64}

func acquireStatement(key string, status int64) statement {
	return record(key, status, func(q *lockdb.Queries) error {
		_, err := q.AcquireLock(context.Background(), lockdb.AcquireLockParams{KeyHex: placeholder.key, Status: placeholder.status})
		return err
	})
}

func acquireNoWaitStatement(key string, status int64) statement {
	return record(key, status, func(q *lockdb.Queries) error {
		_, err := q.AcquireLockNoWait(context.Background(), lockdb.AcquireLockNoWaitParams{KeyHex: placeholder.key, Status: placeholder.status})
		return err
	})
}

func inspectStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.InspectLock(context.Background(), placeholder.key)
		return err
	})
}

func renewStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.RenewLock(context.Background(), lockdb.RenewLockParams{KeyHex: placeholder.key})
		return err
	})
}

func verifyStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.VerifyLock(context.Background(), lockdb.VerifyLockParams{KeyHex: placeholder.key})
		return err
	})
}

func fenceStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.FenceLock(context.Background(), lockdb.FenceLockParams{KeyHex: placeholder.key})
		return err
	})
}

func releaseStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.ReleaseLock(context.Background(), lockdb.ReleaseLockParams{KeyHex: placeholder.key})
		return err
	})
}

func record(key string, status int64, send func(q *lockdb.Queries) error) statement {
	var r recorder
	if err := send(lockdb.New(&r)); !errors.Is(err, errRecorded) {
		return statement{name: "txlocktest could not record a statement of lockdb: " + err.Error()}
	}
	s := statement{name: namePrefix(r.query)}
	for _, arg := range r.args {
		switch {
		case arg == any(placeholder.key):
			s.args = append(s.args, lockdb.Hex(key))
		case arg == any(placeholder.status):
			s.args = append(s.args, status)
		default:
			s.args = append(s.args, sqlmock.AnyArg())
		}
	}
	return s
}

func (s statement) expectExec(mock sqlmock.Sqlmock, r reply) {
	e := mock.ExpectExec(s.pattern()).WithArgs(s.args...)
	if r.err != nil {
		e.WillReturnError(r.err)
		return
	}
	e.WillReturnResult(sqlmock.NewResult(r.insertID, r.matched))
}

func (s statement) expectQuery(mock sqlmock.Sqlmock, r reply) {
	e := mock.ExpectQuery(s.pattern()).WithArgs(s.args...)
	if r.err != nil {
		e.WillReturnError(r.err)
		return
	}
	rows := sqlmock.NewRows([]string{"epoch"})
	for range r.matched {
		rows.AddRow(int64(1))
	}
	e.WillReturnRows(rows)
}

func (s statement) pattern() string { return "^" + regexp.QuoteMeta(s.name) }

// namePrefix cuts sqlc's leading comment ("-- name: X :cmd") behind its first
// colon after the name.
func namePrefix(query string) string {
	line, _, _ := strings.Cut(query, "\n")
	return line[:strings.LastIndexByte(line, ':')+1]
}

// recorder is a database that notes what it is sent and answers nothing.
type recorder struct {
	query string
	args  []any
}

var errRecorded = errors.New("txlocktest: recorded")

func (r *recorder) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	r.query, r.args = query, args
	return nil, errRecorded
}

func (r *recorder) QueryContext(_ context.Context, query string, args ...any) (*sql.Rows, error) {
	r.query, r.args = query, args
	return nil, errRecorded
}

func (r *recorder) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	r.query, r.args = query, args
	db := sql.OpenDB(unconnectable{}) // only database/sql can make an *sql.Row with an error
	defer func() { _ = db.Close() }()
	return db.QueryRowContext(ctx, query)
}

func (r *recorder) PrepareContext(context.Context, string) (*sql.Stmt, error) {
	return nil, errRecorded
}

type unconnectable struct{}

func (unconnectable) Connect(context.Context) (driver.Conn, error) { return nil, errRecorded }
func (unconnectable) Driver() driver.Driver                        { return nil }
