package txlock_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/lockdb"
	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

// What the server says to a statement of ours, and what the caller is told.
func TestServerErrors(t *testing.T) {
	number := func(n uint16, message string) error { return &mysql.MySQLError{Number: n, Message: message} }
	for name, c := range map[string]struct {
		err       error
		want      error // nil: none of the sentinels
		retryable bool
		says      string
	}{
		"deadlock":              {errDeadlock, txlock.ErrTxAborted, true, "from its start"},
		"snapshot isolation":    {errCheckRead, txlock.ErrTxAborted, true, "from its start"},
		"too many row locks":    {number(1206, "The total number of locks exceeds the lock table size"), txlock.ErrTxAborted, true, "from its start"},
		"lost behind a proxy":   {number(2013, "Lost connection to MySQL server during query"), txlock.ErrTxAborted, true, "from its start"},
		"gone behind a proxy":   {number(2006, "MySQL server has gone away"), txlock.ErrTxAborted, true, "from its start"},
		"shutdown":              {number(1053, "Server shutdown in progress"), txlock.ErrTxAborted, true, "from its start"},
		"killed, MariaDB":       {number(1927, "Connection was killed"), txlock.ErrTxAborted, true, "from its start"},
		"killed, MySQL":         {number(3169, "Session was killed"), txlock.ErrTxAborted, true, "from its start"},
		"idle for too long":     {number(4031, "The client was disconnected"), txlock.ErrTxAborted, true, "from its start"},
		"connection closed":     {io.EOF, txlock.ErrTxAborted, true, "from its start"},
		"connection cut":        {io.ErrUnexpectedEOF, txlock.ErrTxAborted, true, "from its start"},
		"connection reset":      {&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, txlock.ErrTxAborted, true, "from its start"},
		"nothing was sent":      {driver.ErrBadConn, txlock.ErrTxAborted, true, "from its start"},
		"connection lost":       {mysql.ErrInvalidConn, txlock.ErrTxAborted, true, "from its start"},
		"lock wait timeout":     {number(1205, "Lock wait timeout exceeded"), txlock.ErrBusy, false, "try again later"},
		"no wait":               {number(3572, "Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set."), txlock.ErrBusy, false, "try again later"},
		"no table":              {number(1146, "Table 'app.helix_locks' doesn't exist"), txlock.ErrNotMigrated, false, "goose"},
		"older table":           {number(1054, "Unknown column 'acquired_at'"), txlock.ErrNotMigrated, false, "goose"},
		"read-only server":      {number(1290, "The MySQL server is running with the --read-only option"), nil, false, "primary"},
		"read-only mode":        {number(1836, "Running in read-only mode"), nil, false, "primary"},
		"no column privilege":   {number(1143, "UPDATE command denied"), nil, false, "grant the database user"},
		"read-only transaction": {number(1792, "Cannot execute statement in a READ ONLY transaction."), nil, false, "read-only"},
		"no privilege":          {number(1142, "INSERT command denied"), nil, false, "grant the database user"},
		"no database":           {number(1046, "No database selected"), nil, false, "DSN"},
		"anything else":         {number(1105, "unknown error"), nil, false, "rolled back"},
		"context":               {context.DeadlineExceeded, context.DeadlineExceeded, false, "roll the transaction back"},
		"transaction ended":     {sql.ErrTxDone, sql.ErrTxDone, false, "begin a new one"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMocked(t)
			tx := m.begin()
			txlocktest.ExpectLockTx(m.mock, "the key", txlocktest.Fails(c.err))
			err := m.LockTx(t.Context(), tx, "the key")
			if !errors.Is(err, c.err) {
				t.Errorf("%v hides what the server said", err)
			}
			for _, sentinel := range []error{txlock.ErrTxAborted, txlock.ErrBusy, txlock.ErrNotMigrated, txlock.ErrHeld, txlock.ErrLost, txlock.ErrCommitUnknown} {
				if got, want := errors.Is(err, sentinel), sentinel == c.want; got != want {
					t.Errorf("is %v: %t, want %t", sentinel, got, want)
				}
			}
			if got := txlock.IsRetryable(err); got != c.retryable {
				t.Errorf("retryable: %t", got)
			}
			for _, part := range []string{"txlock: ", `"the key"`, c.says} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// A bare connection error may come from a COMMIT of the caller.
func TestLostConnectionAloneIsNotRetryable(t *testing.T) {
	for _, err := range []error{nil, mysql.ErrInvalidConn, errBusiness, &mysql.MySQLError{Number: 1062}} {
		if txlock.IsRetryable(err) {
			t.Errorf("%v was called retryable", err)
		}
	}
}

// After the server has rolled a transaction back, what is sent through the same
// *sql.Tx runs outside of any transaction: nothing more must be sent.
func TestNothingIsSentAfterAnAbort(t *testing.T) {
	m := newMocked(t)
	lease := m.lease("k", 1)
	tx := m.begin()
	txlocktest.ExpectLockTx(m.mock, "k", txlocktest.Aborted())
	ctx := t.Context()
	if err := m.LockTx(ctx, tx, "k"); !errors.Is(err, txlock.ErrTxAborted) {
		t.Fatal(err)
	}
	_, acquireErr := m.AcquireTx(ctx, tx, "k2")
	for name, err := range map[string]error{
		"AcquireTx": acquireErr,
		"LockTx":    m.LockTx(ctx, tx, "k"),
		"RenewTx":   lease.RenewTx(ctx, tx),
		"VerifyTx":  lease.VerifyTx(ctx, tx),
		"ReleaseTx": lease.ReleaseTx(ctx, tx),
	} {
		if !errors.Is(err, txlock.ErrTxAborted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.mock.ExpectRollback()
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}

	next := m.begin()
	txlocktest.ExpectLockTx(m.mock, "k", txlocktest.Granted(1))
	if err := m.LockTx(ctx, next, "k"); err != nil {
		t.Errorf("another transaction: %v", err)
	}
	runtime.KeepAlive(tx)
}

// A lock wait that timed out may have taken the transaction with it
// (innodb_rollback_on_timeout): nothing more is locked there, but what to do with
// the rest is the caller's to say.
func TestNothingIsLockedAfterATimeout(t *testing.T) {
	m := newMocked(t)
	txlocktest.ExpectDo(m.mock, "k", txlocktest.Granted(1), func() {
		txlocktest.ExpectLockTx(m.mock, "optional", txlocktest.Busy())
	})
	err := m.Do(t.Context(), "k", func(ctx context.Context, tx *sql.Tx) error {
		for range 2 {
			var busy *txlock.BusyError
			if err := m.LockTx(ctx, tx, "optional"); !errors.As(err, &busy) || busy.Key != "optional" || txlock.IsRetryable(err) {
				t.Errorf("got %v", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestMissingFloorRowSaysSo(t *testing.T) {
	m := newMocked(t)
	tx := m.begin()
	m.mock.ExpectExec("-- name: EnsureKey").WillReturnResult(sqlmock.NewResult(0, 0))
	m.lockKey() // no row: no trigger hides the answer
	err := m.LockTx(t.Context(), tx, "k")
	if !errors.Is(err, txlock.ErrNotMigrated) || !strings.Contains(err.Error(), "helix_lock_floor") {
		t.Errorf("got %v", err)
	}
}

func TestResultWithoutIDIsAnError(t *testing.T) {
	m := newMocked(t)
	tx := m.begin()
	m.mock.ExpectExec("-- name: EnsureKey").WillReturnResult(driver.ResultNoRows)
	if err := m.LockTx(t.Context(), tx, "k"); err == nil {
		t.Error("locked without an answer")
	}
}

// step is a statement that must come, and its answer.
type step struct {
	statement string
	result    driver.Result
}

func (m *mocked) answers(steps []step) {
	for _, s := range steps {
		m.mock.ExpectExec("-- name: " + s.statement + " ").WillReturnResult(s.result)
	}
}

// The second acquisition of a key whose row was there goes by primary key alone;
// when the row has gone, the key is acquired as a fresh one.
func TestKnownKeys(t *testing.T) {
	m := newMocked(t)
	tx := m.begin()
	ctx := t.Context()
	m.answers([]step{
		{"AcquireLease", sqlmock.NewResult(1, 1)}, // inserted: may be rolled back
		{"AcquireLease", sqlmock.NewResult(2, 2)}, // was there
		{"AcquireKnownLease", sqlmock.NewResult(3, 1)},
		{"AcquireKnownLease", sqlmock.NewResult(-10, 0)}, // held
		{"AcquireKnownLease", sqlmock.NewResult(0, 0)},   // purged, and
		{"AcquireLease", sqlmock.NewResult(4, 1)},        // fresh again
		{"AcquireLease", sqlmock.NewResult(5, 1)},
	})
	for i, want := range []int64{1, 2, 3, 0, 4, 5} {
		lease, err := m.AcquireTx(ctx, tx, "k")
		var held *txlock.HeldError
		switch {
		case want == 0 && (!errors.As(err, &held) || held.RetryAfter != 10*time.Microsecond):
			t.Fatalf("step %d: got %v", i, err)
		case want != 0 && err != nil:
			t.Fatalf("step %d: %v", i, err)
		case want != 0 && lease.Epoch() != want:
			t.Fatalf("step %d: epoch %d, want %d", i, lease.Epoch(), want)
		}
	}
}

// lockKey expects the locking read, which finds these rows.
func (m *mocked) lockKey(status ...int64) {
	rows := sqlmock.NewRows([]string{"status"})
	for _, s := range status {
		rows.AddRow(s)
	}
	m.mock.ExpectQuery("-- name: LockKey ").WillReturnRows(rows)
}

// A lock of a key that was seen is a locking read; an active lease, and a row that has
// gone, take a further statement.
func TestKnownKeysLocked(t *testing.T) {
	m := newMocked(t)
	tx := m.begin()
	const made, inactive, active, retired = 4, 1, 2, 3
	ensure := func(answer int64) { m.answers([]step{{"EnsureKey", sqlmock.NewResult(answer, 0)}}) }
	expired := func(answer int64) { m.answers([]step{{"AcquireKnownLease", sqlmock.NewResult(answer, 0)}}) }
	for i, c := range []struct {
		expect func()
		held   bool
	}{
		{expect: func() { ensure(made) }},                             // may be rolled back
		{expect: func() { ensure(active); expired(-10) }, held: true}, // is better asked again
		{expect: func() { ensure(retired) }},                          // may be purged
		{expect: func() { ensure(inactive) }},
		{expect: func() { m.lockKey(lockdb.StatusInactive) }},
		{expect: func() { m.lockKey(lockdb.StatusDeletable) }},
		{expect: func() { m.lockKey(lockdb.StatusActive); expired(-10) }, held: true},
		{expect: func() { m.lockKey(lockdb.StatusActive); expired(7) }},
		{expect: func() { m.lockKey(); ensure(made) }}, // purged, and fresh again
		{expect: func() { ensure(made) }},
	} {
		c.expect()
		err := m.LockTx(t.Context(), tx, "k")
		var held *txlock.HeldError
		switch {
		case c.held && (!errors.As(err, &held) || held.RetryAfter != 10*time.Microsecond):
			t.Fatalf("step %d: got %v", i, err)
		case !c.held && err != nil:
			t.Fatalf("step %d: %v", i, err)
		}
	}
}

// When the transaction of a key that has gone is aborted, the next one begins with the
// upsert: a locking read that finds no row would lock the gap again, for as many attempts.
func TestKnownKeyGoneAndAborted(t *testing.T) {
	m := newMocked(t)
	tx := m.begin()
	m.answers([]step{{"EnsureKey", sqlmock.NewResult(1, 0)}})
	m.lockKey()
	m.mock.ExpectExec("-- name: EnsureKey ").WillReturnError(errDeadlock)
	m.mock.ExpectRollback()
	if err := m.LockTx(t.Context(), tx, "k"); err != nil {
		t.Fatal(err)
	}
	if err := m.LockTx(t.Context(), tx, "k"); !errors.Is(err, txlock.ErrTxAborted) {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	txlocktest.ExpectDo(m.mock, "k", txlocktest.Granted(3), nil)
	if err := m.Do(t.Context(), "k", func(context.Context, *sql.Tx) error { return nil }); err != nil {
		t.Error(err)
	}
}

// Who reclaims ends his own lease first, if the key is held.
func TestReclaimStatements(t *testing.T) {
	m := newMocked(t)
	tx := m.begin()
	m.answers([]step{
		{"AcquireLease", sqlmock.NewResult(2, 2)}, // free
		{"AcquireKnownLease", sqlmock.NewResult(-10, 0)},
		{"EndOwnLease", sqlmock.NewResult(0, 1)},
		{"AcquireKnownLease", sqlmock.NewResult(3, 1)},
		{"AcquireKnownLease", sqlmock.NewResult(-10, 0)},
		{"EndOwnLease", sqlmock.NewResult(0, 0)}, // another's
		{"AcquireKnownLease", sqlmock.NewResult(-10, 0)},
	})
	for _, want := range []error{nil, nil, txlock.ErrHeld} {
		if _, err := m.AcquireTx(t.Context(), tx, "k", txlock.Reclaim()); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
}

func TestDeadline(t *testing.T) {
	m := newMocked(t)
	ctx := t.Context()
	before := time.Now()
	txlocktest.ExpectTryAcquire(m.mock, "k", txlocktest.Granted(1))
	lease, err := m.TryAcquire(ctx, "k", txlock.TTL(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	within := func(before time.Time) {
		t.Helper()
		const window = 54 * time.Minute
		if d := lease.Deadline(); d.Before(before.Add(window)) || d.After(time.Now().Add(window)) {
			t.Errorf("deadline %v, want %v after the statement was sent", d, window)
		}
	}
	within(before)

	acquired := lease.Deadline()
	txlocktest.ExpectRenew(m.mock, "k", txlocktest.Lost())
	if err := lease.Renew(ctx); !errors.Is(err, txlock.ErrLost) || lease.Deadline() != acquired {
		t.Errorf("a lost lease was extended: %v", err)
	}
	m.mock.ExpectBegin()
	txlocktest.ExpectRenewTx(m.mock, "k", txlocktest.OK())
	txlocktest.ExpectCommit(m.mock, txlocktest.ConnectionGone())
	if err := lease.Renew(ctx); !errors.Is(err, txlock.ErrCommitUnknown) || lease.Deadline() != acquired {
		t.Errorf("a renewal of unknown outcome extended the lease: %v", err)
	}

	before = time.Now()
	txlocktest.ExpectRenew(m.mock, "k", txlocktest.OK())
	if err := lease.Renew(ctx); err != nil || !lease.Deadline().After(acquired) {
		t.Errorf("not extended: %v", err)
	}
	within(before)
}

func TestPrepareFails(t *testing.T) {
	m := newMocked(t)
	m.mock.ExpectPrepare("-- name: AcquireKnownLease").WillBeClosed()
	m.mock.ExpectPrepare("-- name: AcquireLease ").WillReturnError(&mysql.MySQLError{Number: 1146, Message: "Table 'app.helix_lock_floor' doesn't exist"})
	if err := m.Prepare(t.Context()); !errors.Is(err, txlock.ErrNotMigrated) {
		t.Errorf("got %v", err)
	}
	// Still usable, unprepared.
	txlocktest.ExpectDo(m.mock, "k", txlocktest.Granted(1), nil)
	if err := m.Do(t.Context(), "k", func(context.Context, *sql.Tx) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestCloseClosesWhatWasPrepared(t *testing.T) {
	m := newMocked(t)
	for range lockdb.HotStatements() {
		m.mock.ExpectPrepare("-- name: ").WillBeClosed()
	}
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPrepareTwiceIsOnce(t *testing.T) {
	m := newMocked(t)
	txlocktest.ExpectPrepare(m.mock)
	for range 2 {
		if err := m.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Prepared statements belong to one pool.
func TestPreparedRefusesAnotherPoolsTransaction(t *testing.T) {
	m, other := newMocked(t), newMocked(t)
	txlocktest.ExpectPrepare(m.mock)
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.LockTx(t.Context(), other.begin(), "k"); err == nil || !strings.Contains(err.Error(), "the *sql.DB that New was given") {
		t.Errorf("got %v", err)
	}
}
