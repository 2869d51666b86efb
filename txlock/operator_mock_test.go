package txlock_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

func TestOperatorsRefuseWhatIsInvalid(t *testing.T) {
	m := newMocked(t)
	ctx := t.Context()
	inspect := func(key string) error { _, err := m.Inspect(ctx, key); return err }
	list := func(o txlock.ListOptions) error { _, err := m.List(ctx, o); return err }
	purge := func(o txlock.PurgeOptions) error { _, err := m.Purge(ctx, o); return err }
	long := strings.Repeat("k", 256)
	for name, c := range map[string]struct {
		err, want error
		hint      string
	}{
		"inspect no key":    {inspect(""), txlock.ErrInvalidKey, "1 to 255 bytes"},
		"revoke no key":     {m.Revoke(ctx, ""), txlock.ErrInvalidKey, "1 to 255 bytes"},
		"retire a long key": {m.Retire(ctx, long), txlock.ErrInvalidKey, "has 256 bytes"},
		"long prefix":       {list(txlock.ListOptions{Prefix: long}), txlock.ErrInvalidArgument, "Prefix"},
		"long after":        {list(txlock.ListOptions{After: long}), txlock.ErrInvalidArgument, "After"},
		"limit below":       {list(txlock.ListOptions{Limit: -1}), txlock.ErrInvalidArgument, "Limit: -1"},
		"limit above":       {list(txlock.ListOptions{Limit: 1001}), txlock.ErrInvalidArgument, "from 1 to 1000"},
		"no such status":    {list(txlock.ListOptions{Statuses: []txlock.Status{3}}), txlock.ErrInvalidArgument, "Status(3)"},
		"negative status":   {list(txlock.ListOptions{Statuses: []txlock.Status{-1}}), txlock.ErrInvalidArgument, "Status(-1)"},
		"never expired":     {list(txlock.ListOptions{Expired: true, Statuses: []txlock.Status{txlock.StatusInactive}}), txlock.ErrInvalidArgument, "StatusActive"},
		"negative idle":     {purge(txlock.PurgeOptions{Idle: -1}), txlock.ErrInvalidArgument, "Idle: -1ns"},
		"batch below":       {purge(txlock.PurgeOptions{BatchSize: -1}), txlock.ErrInvalidArgument, "BatchSize: -1"},
		"batch above":       {purge(txlock.PurgeOptions{BatchSize: 1001}), txlock.ErrInvalidArgument, "from 1 to 1000"},
	} {
		if !errors.Is(c.err, c.want) || !strings.Contains(c.err.Error(), c.hint) {
			t.Errorf("%s: got %v, want %v with %q", name, c.err, c.want, c.hint)
		}
	}
	n := 0
	for _, err := range m.All(ctx, txlock.ListOptions{Limit: -1}) {
		if n++; !errors.Is(err, txlock.ErrInvalidArgument) {
			t.Errorf("got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d steps", n)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"inspect": inspect("k"), "list": list(txlock.ListOptions{}), "revoke": m.Revoke(ctx, "k"), "retire": m.Retire(ctx, "k"), "purge": purge(txlock.PurgeOptions{}),
	} {
		if !errors.Is(err, txlock.ErrClosed) {
			t.Errorf("%s: got %v, want %v", name, err, txlock.ErrClosed)
		}
	}
}

func TestStatusString(t *testing.T) {
	for status, want := range map[txlock.Status]string{
		txlock.StatusActive: "active", txlock.StatusInactive: "inactive", txlock.StatusDeletable: "deletable", 7: "Status(7)",
	} {
		if got := status.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// expectBatch expects the transaction of a batch of three candidates, up to how the
// rows are deleted.
func (m *mocked) expectBatch() *sqlmock.ExpectedExec {
	m.Helper()
	m.mock.ExpectBegin()
	m.mock.ExpectQuery("LockFloors").WillReturnRows(sqlmock.NewRows([]string{"shard"}).AddRow(0))
	m.mock.ExpectQuery("LockPurgeable").WillReturnRows(sqlmock.NewRows([]string{"i"}).AddRow(0).AddRow(2))
	m.mock.ExpectExec("RaiseFloors").WillReturnResult(sqlmock.NewResult(0, 2))
	return m.mock.ExpectExec("DeleteKeys").WillReturnResult(sqlmock.NewResult(0, 2))
}

// expectCandidates expects what a purge begins with.
func (m *mocked) expectCandidates(keys ...string) {
	m.Helper()
	m.mock.ExpectBegin()
	rows := sqlmock.NewRows([]string{"lock_key", "shard", "purgeable", "has_floor"})
	for _, key := range keys {
		rows.AddRow([]byte(key), 0, 1, 1)
	}
	m.mock.ExpectQuery("PurgeCandidates").WillReturnRows(rows)
	m.mock.ExpectRollback()
}

// A batch that conflicts at COMMIT is run again, and its rows count once.
func TestPurgeCountsACommitConflictOnce(t *testing.T) {
	m := newMocked(t)
	m.expectCandidates("a", "b", "c")
	m.expectBatch()
	txlocktest.ExpectCommit(m.mock, txlocktest.Aborted())
	m.expectBatch()
	m.mock.ExpectCommit()
	var last txlock.PurgeProgress
	n, err := m.Purge(t.Context(), txlock.PurgeOptions{Progress: func(p txlock.PurgeProgress) { last = p }})
	want := txlock.PurgeProgress{Scanned: 3, Purged: 2, Skipped: 1, LastKey: "c"}
	if err != nil || n != 2 || last != want {
		t.Errorf("got %d, %v, %+v", n, err, last)
	}
}

// A batch with an unknown outcome does not count, and is not run again.
func TestPurgeCommitUnknown(t *testing.T) {
	m := newMocked(t)
	m.expectCandidates("a", "b", "c", "d", "e", "f")
	m.expectBatch()
	m.mock.ExpectCommit()
	m.expectBatch()
	txlocktest.ExpectCommit(m.mock, txlocktest.ConnectionGone())
	n, err := m.Purge(t.Context(), txlock.PurgeOptions{BatchSize: 3})
	if n != 2 || !errors.Is(err, txlock.ErrCommitUnknown) || !strings.Contains(err.Error(), "2 rows purged") {
		t.Errorf("got %d, %v", n, err)
	}
}

// Rows that were locked, and not deleted, are nothing to pass over.
func TestPurgeThatDoesNotDelete(t *testing.T) {
	m := newMocked(t)
	m.expectCandidates("a", "b", "c")
	m.expectBatch().WillReturnResult(sqlmock.NewResult(0, 1))
	m.mock.ExpectRollback()
	n, err := m.Purge(t.Context(), txlock.PurgeOptions{})
	if n != 0 || err == nil || !strings.Contains(err.Error(), "of 2 rows") {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestPurgeHints(t *testing.T) {
	for number, hint := range map[uint16]string{
		1142: "UPDATE and DELETE on helix_locks, and SELECT, INSERT and UPDATE on helix_lock_floor",
		1175: "sql_safe_updates",
		1665: "binlog_format",
	} {
		m := newMocked(t)
		said := &mysql.MySQLError{Number: number, Message: "no"}
		txlocktest.ExpectPurge(m.mock, txlock.PurgeOptions{}, txlocktest.Fails(said))
		if _, err := m.Purge(t.Context(), txlock.PurgeOptions{}); !errors.Is(err, said) || !strings.Contains(err.Error(), hint) {
			t.Errorf("got %v, want %q", err, hint)
		}
	}
}

// seen notes how operations end.
type seen map[txlock.OperationName]txlock.Result

func (s seen) Start(ctx context.Context, _ txlock.Operation) context.Context { return ctx }

func (s seen) End(_ context.Context, op txlock.Operation, r txlock.Result) {
	r.Duration = 0
	s[op.Name] = r
}

func TestWhatOperatorsTellObservers(t *testing.T) {
	s := make(seen)
	m := newMocked(t, txlock.WithObserver(s))
	txlocktest.ExpectRevoke(m.mock, "k", txlocktest.Aborted())
	txlocktest.ExpectRevoke(m.mock, "k", txlocktest.Done())
	txlocktest.ExpectRetire(m.mock, "k", txlocktest.StillHeld(time.Second))
	txlocktest.ExpectPurge(m.mock, txlock.PurgeOptions{}, txlocktest.Purged(3))
	_ = m.Revoke(t.Context(), "k")
	_ = m.Retire(t.Context(), "k")
	_, _ = m.Purge(t.Context(), txlock.PurgeOptions{})
	if r := s[txlock.OpRevoke]; r.Err != nil || r.Attempts != 2 {
		t.Errorf("revoke: %+v", r)
	}
	if r := s[txlock.OpRetire]; !errors.Is(r.Err, txlock.ErrHeld) {
		t.Errorf("retire: %+v", r)
	}
	if r := s[txlock.OpPurge]; r.Err != nil || r.Purged != 3 {
		t.Errorf("purge: %+v", r)
	}

	txlocktest.ExpectPurge(m.mock, txlock.PurgeOptions{}, txlocktest.Purged(3))
	func() {
		defer func() { _ = recover() }()
		_, _ = m.Purge(t.Context(), txlock.PurgeOptions{Progress: func(txlock.PurgeProgress) { panic("no") }})
	}()
	if r := s[txlock.OpPurge]; !errors.Is(r.Err, txlock.ErrPanicked) || r.Purged != 3 {
		t.Errorf("a purge whose progress panics: %+v", r)
	}
}

// What reads has read, but a connection that does not roll back is told of like one
// that fails in a statement.
func TestReadingExplainsItsRollback(t *testing.T) {
	for name, failure := range map[string]error{"connection lost": mysql.ErrInvalidConn, "unknown": errors.New("nobody knows")} {
		t.Run(name, func(t *testing.T) {
			m := newMocked(t)
			m.mock.ExpectBegin()
			m.mock.ExpectQuery("-- name: ListKeys :").WillReturnRows(sqlmock.NewRows([]string{"lock_key"}))
			m.mock.ExpectRollback().WillReturnError(failure)
			_, err := m.Inspect(t.Context(), "k")
			if !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), `txlock: inspect "k"`) {
				t.Errorf("got %v", err)
			}
			if aborted := failure == mysql.ErrInvalidConn; errors.Is(err, txlock.ErrTxAborted) != aborted {
				t.Errorf("got %v", err)
			}
		})
	}
}
