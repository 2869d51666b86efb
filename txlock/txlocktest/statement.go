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
	name string // the start of its text: "-- name: AcquireLease :"
	args []driver.Value
}

// What a recorded statement is given, and known by among its arguments.
var placeholder = struct {
	key    string
	status int64
}{lockdb.Hex("txlocktest key"), math.MinInt64}

func acquireStatement(key string, status int64) statement {
	return record(key, status, func(q *lockdb.Queries) error {
		_, err := q.AcquireLease(context.Background(), lockdb.AcquireLeaseParams{KeyHex: placeholder.key, Status: placeholder.status})
		return err
	})
}

func acquireNoWaitStatement(key string, status int64) statement {
	return record(key, status, func(q *lockdb.Queries) error {
		_, err := q.AcquireLeaseNoWait(context.Background(), lockdb.AcquireLeaseNoWaitParams{KeyHex: placeholder.key, Status: placeholder.status})
		return err
	})
}

func inspectStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.ListKeys(context.Background(), lockdb.ListKeysParams{FromHex: placeholder.key})
		return err
	})
}

func renewStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.RenewLease(context.Background(), lockdb.RenewLeaseParams{KeyHex: placeholder.key})
		return err
	})
}

func verifyStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.VerifyLease(context.Background(), lockdb.VerifyLeaseParams{KeyHex: placeholder.key})
		return err
	})
}

func ensureStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.EnsureKey(context.Background(), placeholder.key)
		return err
	})
}

func lockNoWaitStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.LockKeyNoWait(context.Background(), placeholder.key)
		return err
	})
}

func shareStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.ShareKey(context.Background(), placeholder.key)
		return err
	})
}

func acquireKnownStatement(key string, status int64) statement {
	return record(key, status, func(q *lockdb.Queries) error {
		_, err := q.AcquireKnownLease(context.Background(), lockdb.AcquireKnownLeaseParams{KeyHex: placeholder.key, Status: placeholder.status})
		return err
	})
}

func releaseStatement(key string) statement {
	return record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.ReleaseLease(context.Background(), lockdb.ReleaseLeaseParams{KeyHex: placeholder.key})
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

func (s statement) query(mock sqlmock.Sqlmock) *sqlmock.ExpectedQuery {
	return mock.ExpectQuery(s.pattern()).WithArgs(s.args...)
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
