package txlock_test

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

// mocked is a Locker on a mocked database. At the end of the test all that was
// expected of the database must have happened, and nothing else.
type mocked struct {
	*testing.T
	*txlock.Locker
	mock sqlmock.Sqlmock
	db   *sql.DB

	lease5 *txlock.Lease // for the tests of InTx
}

func newMocked(t *testing.T, opts ...txlock.Option) *mocked {
	t.Helper()
	db, mock, err := sqlmock.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mock.ExpectationsWereMet(); err != nil {
			t.Error(err)
		}
		_ = db.Close()
	})
	locker, err := txlock.New(db, append(opts, txlock.WithSingleWriter())...)
	if errors.Is(err, txlock.ErrInvalidArgument) { // with WithMultiWriter
		locker, err = txlock.New(db, opts...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &mocked{T: t, Locker: locker, mock: mock, db: db}
}

func (m *mocked) begin() *sql.Tx {
	m.Helper()
	m.mock.ExpectBegin()
	tx, err := m.db.BeginTx(m.Context(), nil)
	if err != nil {
		m.Fatal(err)
	}
	return tx
}

func (m *mocked) lease(key string, epoch int64) *txlock.Lease {
	m.Helper()
	txlocktest.ExpectTryAcquire(m.mock, key, txlocktest.Granted(epoch))
	lease, err := m.TryAcquire(m.Context(), key)
	if err != nil {
		m.Fatal(err)
	}
	return lease
}
