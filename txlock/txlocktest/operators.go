package txlocktest

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/lockdb"
	"github.com/gox-helix/gox-helix/txlock"
)

// InspectOutcome is what becomes of an inspection: [Found], [NotFound] or a
// [Failure].
type InspectOutcome interface {
	inspection() reading
}

// ListOutcome is what becomes of a page of a list: [Listed] or a [Failure].
type ListOutcome interface {
	list() reading
}

// RevokeOutcome is what becomes of a revocation: [Done], [NotFound] or a [Failure].
type RevokeOutcome interface {
	revocation() reply
}

// RetireOutcome is what becomes of a retirement: [Done], [NotFound], [StillHeld] or
// a [Failure].
type RetireOutcome interface {
	retirement() reply
}

// PurgeOutcome is what becomes of a purge: [Purged] or a [Failure].
type PurgeOutcome interface {
	purge() (rows int, err error)
}

// reading is how the server answers a statement that reads what is known of keys.
type reading struct {
	infos []txlock.Info
	err   error
}

type found txlock.Info

func (f found) inspection() reading { return reading{infos: []txlock.Info{txlock.Info(f)}} }

// Found lets an inspection find the key as info says; its Key is set to the key.
func Found(info txlock.Info) InspectOutcome { return found(info) }

type listed []txlock.Info

func (l listed) list() reading { return reading{infos: l} }

// Listed lets a list find these keys, none for an empty page.
func Listed(infos ...txlock.Info) ListOutcome { return listed(infos) }

// Absence is the outcome of [NotFound].
type Absence struct{}

func (Absence) inspection() reading { return reading{} }
func (Absence) revocation() reply   { return reply{} }
func (Absence) retirement() reply   { return reply{} }

// NotFound lets the key have no row: txlock.ErrNotFound from Inspect; Revoke and
// Retire have nothing to do, and succeed. (With txlock.WithMultiWriter they make
// the row: expect [Done].)
func NotFound() Absence { return Absence{} }

// Completion is the outcome of [Done].
type Completion struct{}

func (Completion) revocation() reply { return reply{matched: 1} }
func (Completion) retirement() reply { return reply{matched: 1} }

// Done lets a key be revoked or retired.
func Done() Completion { return Completion{} }

// StillHeld refuses to retire a key with txlock.ErrHeld, because a lease is active
// for so much longer (to the microsecond; at least one).
func StillHeld(remaining time.Duration) RetireOutcome { return stillHeld(remaining) }

type stillHeld time.Duration

func (h stillHeld) retirement() reply { return Held(time.Duration(h)).acquisition() }

type purged int

func (p purged) purge() (int, error) { return int(p), nil }

// Purged lets a purge find, and delete, so many rows.
func Purged(rows int) PurgeOutcome {
	if rows < 0 {
		return Fails(fmt.Errorf("txlocktest: Purged(%d): rows cannot be fewer than none", rows))
	}
	return purged(rows)
}

func (f Failure) inspection() reading { return reading{err: f.err} }
func (f Failure) list() reading       { return reading{err: f.err} }
func (f Failure) revocation() reply   { return reply{err: f.err} }
func (f Failure) retirement() reply   { return reply{err: f.err} }
func (f Failure) purge() (int, error) { return 0, f.err }

// ExpectInspect expects Locker.Inspect of key.
func ExpectInspect(mock sqlmock.Sqlmock, key string, outcome InspectOutcome) {
	s := inspectStatement(key)
	r := outcome.inspection()
	for i := range r.infos {
		r.infos[i].Key = key
	}
	mock.ExpectBegin()
	answerInfos(mock.ExpectQuery(s.pattern()).WithArgs(s.args...), r.infos, r.err)
	mock.ExpectRollback()
}

// ExpectList expects Locker.List with these options, or one page of Locker.All:
// that goes on until a page has fewer keys than the limit, each time after the last
// key of the page before.
func ExpectList(mock sqlmock.Sqlmock, opts txlock.ListOptions, outcome ListOutcome) {
	s := listStatement(opts)
	r := outcome.list()
	mock.ExpectBegin()
	answerInfos(mock.ExpectQuery(s.pattern()).WithArgs(s.args...), r.infos, r.err)
	mock.ExpectRollback()
}

// ExpectRevoke expects one attempt of Locker.Revoke of key.
func ExpectRevoke(mock sqlmock.Sqlmock, key string, outcome RevokeOutcome) {
	s := record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.RevokeKey(context.Background(), placeholder.key)
		return err
	})
	expectWrite(mock, s, outcome.revocation())
}

// ExpectRetire expects one attempt of Locker.Retire of key.
func ExpectRetire(mock sqlmock.Sqlmock, key string, outcome RetireOutcome) {
	s := record(key, 0, func(q *lockdb.Queries) error {
		_, err := q.RetireKey(context.Background(), placeholder.key)
		return err
	})
	expectWrite(mock, s, outcome.retirement())
}

// ExpectPurge expects Locker.Purge with these options, in a table where nothing
// else is to be looked at, and locked by nobody. A failure is that of its first
// statement.
func ExpectPurge(mock sqlmock.Sqlmock, opts txlock.PurgeOptions, outcome PurgeOutcome) {
	rows, err := outcome.purge()
	batchSize := opts.BatchSize
	if batchSize == 0 {
		batchSize = txlock.DefaultPurgeBatch
	}

	if err != nil {
		mock.ExpectBegin()
		mock.ExpectQuery(candidates()).WillReturnError(err)
		mock.ExpectRollback()
		return
	}
	for page, last := 0, false; !last; page++ {
		n := min(rows-page*txlock.PurgePage, txlock.PurgePage)
		last = n < txlock.PurgePage
		expectPurgePage(mock, page, n)
		for from := 0; from < n; from += batchSize {
			expectPurgeBatch(mock, min(batchSize, n-from))
		}
	}
}

// expectPurgePage expects the statement that looks at a page, and finds n rows of
// one shard.
func expectPurgePage(mock sqlmock.Sqlmock, page, n int) {
	mock.ExpectBegin()
	rows := sqlmock.NewRows([]string{"lock_key", "shard", "purgeable", "has_floor"})
	for i := range n {
		rows.AddRow(fmt.Appendf(nil, "key %09d", page*txlock.PurgePage+i), 0, 1, 1)
	}
	mock.ExpectQuery(candidates()).WillReturnRows(rows)
	mock.ExpectRollback()
}

// candidates is the pattern of the statement that looks at a page.
func candidates() string {
	return named(func(q *lockdb.Queries) error {
		_, err := q.PurgeCandidates(context.Background(), lockdb.PurgeCandidatesParams{})
		return err
	})
}

// expectPurgeBatch expects the transaction that deletes n rows.
func expectPurgeBatch(mock sqlmock.Sqlmock, n int) {
	mock.ExpectBegin()
	mock.ExpectQuery(named(func(q *lockdb.Queries) error {
		_, err := q.LockFloors(context.Background(), []int16{0})
		return err
	})).WillReturnRows(sqlmock.NewRows([]string{"shard"}).AddRow(0))
	places := sqlmock.NewRows([]string{"i"})
	for i := range n {
		places.AddRow(i)
	}
	mock.ExpectQuery(named(func(q *lockdb.Queries) error {
		_, err := q.LockPurgeable(context.Background(), lockdb.LockPurgeableParams{})
		return err
	})).WillReturnRows(places)
	mock.ExpectExec(named(func(q *lockdb.Queries) error {
		return q.RaiseFloors(context.Background(), "")
	})).WillReturnResult(sqlmock.NewResult(0, 2))
	mock.ExpectExec(named(func(q *lockdb.Queries) error {
		_, err := q.DeleteKeys(context.Background(), "")
		return err
	})).WillReturnResult(sqlmock.NewResult(0, int64(n)))
	mock.ExpectCommit()
}

// expectWrite expects one statement in a transaction of its own, which is committed
// unless it fails or is refused.
func expectWrite(mock sqlmock.Sqlmock, s statement, r reply) {
	mock.ExpectBegin()
	s.expectExec(mock, r)
	expectEnd(mock, r.err == nil && r.insertID == 0)
}

// answerInfos lets the statement be answered so.
func answerInfos(e *sqlmock.ExpectedQuery, infos []txlock.Info, err error) {
	if err != nil {
		e.WillReturnError(err)
		return
	}
	rows := sqlmock.NewRows([]string{"lock_key", "owner_id", "epoch", "status", "remaining_micros", "acquired_micros_ago", "created_micros_ago", "updated_micros_ago"})
	for _, i := range infos {
		rows.AddRow([]byte(i.Key), []byte(i.Owner), i.Epoch, int64(i.Status), i.Remaining.Microseconds(), i.SinceAcquired.Microseconds(), i.SinceCreated.Microseconds(), i.SinceUpdated.Microseconds())
	}
	e.WillReturnRows(rows)
}

// named is the pattern of a statement that is known by its name alone.
func named(send func(q *lockdb.Queries) error) string {
	return record("", 0, send).pattern()
}

// listStatement is what Locker.List itself sends with these options.
func listStatement(opts txlock.ListOptions) statement {
	s := record("", 0, func(q *lockdb.Queries) error {
		_, err := q.ListKeys(context.Background(), lockdb.ListKeysParams{})
		return err
	})
	db, mock, err := sqlmock.New()
	if err != nil {
		return statement{name: "txlocktest could not make a database: " + err.Error()}
	}
	defer func() { _ = db.Close() }()
	locker, err := txlock.New(db, txlock.WithOwner("txlocktest"))
	if err != nil {
		return statement{name: "txlocktest could not make a Locker: " + err.Error()}
	}
	sent := make([]argument, len(s.args))
	for i := range sent {
		s.args[i] = &sent[i]
	}
	mock.ExpectBegin()
	mock.ExpectQuery(s.pattern()).WithArgs(s.args...).WillReturnError(errRecorded)
	mock.ExpectRollback()
	if _, err := locker.List(context.Background(), opts); !errors.Is(err, errRecorded) {
		return statement{name: "txlocktest could not list: " + err.Error()}
	}
	for i := range sent {
		s.args[i] = sent[i].value
	}
	return s
}

// argument is one that takes every value, and notes it.
type argument struct{ value driver.Value }

func (a *argument) Match(v driver.Value) bool {
	a.value = v
	return true
}
