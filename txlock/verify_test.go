package txlock_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

func TestNewVerifies(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		name := s.EmptyDatabase(t)
		db := s.Open(t, func(c *mysql.Config) { c.DBName = name })
		verified := func() error {
			_, err := txlock.New(db, txlock.WithVerify(t.Context()))
			return err
		}
		if err := verified(); !errors.Is(err, txlock.ErrNotMigrated) {
			t.Errorf("without tables: %v", err)
		}
		if _, err := migrations.Up(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		if err := verified(); err != nil {
			t.Error(err)
		}
		if _, err := db.ExecContext(t.Context(), "ALTER TABLE helix_locks MODIFY epoch INT NOT NULL"); err != nil {
			t.Fatal(err)
		}
		err := verified()
		var drift *migrations.DriftError
		if !errors.As(err, &drift) || errors.Is(err, txlock.ErrNotMigrated) || !strings.Contains(err.Error(), "ALTER TABLE helix_locks MODIFY epoch BIGINT NOT NULL;") {
			t.Errorf("with a narrow epoch: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := txlock.New(db, txlock.WithVerify(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
	})
}

func TestNewVerifiesWithMock(t *testing.T) {
	var none context.Context
	db, mock, err := sqlmock.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mock.ExpectClose()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	var invalid *txlock.InvalidError
	if _, err := txlock.New(db, txlock.WithVerify(none)); !errors.As(err, &invalid) {
		t.Errorf("nil context: %v", err)
	}
	txlocktest.ExpectVerify(mock)
	if _, err := txlock.New(db, txlock.WithVerify(t.Context())); err != nil {
		t.Error(err)
	}
	txlocktest.ExpectVerify(mock, txlocktest.NotMigrated())
	if _, err := txlock.New(db, txlock.WithVerify(t.Context())); !errors.Is(err, txlock.ErrNotMigrated) {
		t.Errorf("not migrated: %v", err)
	}
	txlocktest.ExpectVerify(mock, txlocktest.Fails(errors.New("down")))
	if _, err := txlock.New(db, txlock.WithVerify(t.Context())); err == nil || !strings.Contains(err.Error(), "down") {
		t.Errorf("a server that is down: %v", err)
	}
	if err := mock.ExpectationsWereMet(); err != nil {
		t.Error(err)
	}
}
