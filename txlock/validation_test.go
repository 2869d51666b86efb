package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

func TestNewRefusesInvalidOptions(t *testing.T) {
	for name, c := range map[string]struct {
		opt  txlock.Option
		want error
	}{
		"empty owner":       {txlock.WithOwner(""), txlock.ErrInvalidArgument},
		"owner too long":    {txlock.WithOwner(strings.Repeat("o", 256)), txlock.ErrInvalidArgument},
		"TTL zero":          {txlock.WithTTL(0), txlock.ErrInvalidTTL},
		"TTL negative":      {txlock.WithTTL(-time.Second), txlock.ErrInvalidTTL},
		"TTL too short":     {txlock.WithTTL(txlock.MinTTL - 1), txlock.ErrInvalidTTL},
		"TTL absurd":        {txlock.WithTTL(txlock.MaxTTL + 1), txlock.ErrInvalidTTL},
		"no attempts":       {txlock.WithMaxAttempts(0), txlock.ErrInvalidArgument},
		"too many attempts": {txlock.WithMaxAttempts(1001), txlock.ErrInvalidArgument},
		"read only":         {txlock.WithTxOptions(sql.TxOptions{ReadOnly: true}), txlock.ErrInvalidArgument},
		"unknown isolation": {txlock.WithTxOptions(sql.TxOptions{Isolation: sql.LevelSnapshot}), txlock.ErrInvalidArgument},
		"nil":               {nil, txlock.ErrInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := txlock.New(new(sql.DB), c.opt)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			var invalid *txlock.InvalidError
			if !errors.As(err, &invalid) || invalid.Reason == "" {
				t.Errorf("%v says no reason", err)
			}
		})
	}
	if _, err := txlock.New(nil); !errors.Is(err, txlock.ErrInvalidArgument) {
		t.Errorf("nil db: %v", err)
	}
}

func TestDefaultOwnersDiffer(t *testing.T) {
	a, b := newMocked(t), newMocked(t)
	if a.Owner() == b.Owner() || len(a.Owner()) > txlock.MaxKeyBytes {
		t.Errorf("owners %q and %q", a.Owner(), b.Owner())
	}
}

func TestBoundsAreAccepted(t *testing.T) {
	longest := strings.Repeat("\xff", txlock.MaxKeyBytes)
	m := newMocked(t, txlock.WithOwner(longest), txlock.WithTTL(txlock.MaxTTL))
	tx := m.begin()
	txlocktest.ExpectAcquireTx(m.mock, longest, txlocktest.Granted(1))
	if _, err := m.AcquireTx(t.Context(), tx, longest, txlock.TTL(txlock.MaxTTL)); err != nil {
		t.Error(err)
	}
	if _, err := txlock.New(m.db, txlock.WithTTL(txlock.MinTTL), txlock.WithMaxAttempts(1000)); err != nil {
		t.Error(err)
	}
}

// Whatever is invalid is refused before anything is sent: the mock expects
// nothing but the BEGIN of the caller's transaction, which then still works.
func TestInvalidCallsSendNothing(t *testing.T) {
	nothing := func(context.Context, *sql.Tx) error { return nil }
	calls := map[string]func(m *mocked, tx *sql.Tx, key string, opts ...txlock.AcquireOption) error{
		"AcquireTx": func(m *mocked, tx *sql.Tx, key string, opts ...txlock.AcquireOption) error {
			_, err := m.AcquireTx(m.Context(), tx, key, opts...)
			return err
		},
		"TryAcquire": func(m *mocked, _ *sql.Tx, key string, opts ...txlock.AcquireOption) error {
			_, err := m.TryAcquire(m.Context(), key, opts...)
			return err
		},
		"LockTx": func(m *mocked, tx *sql.Tx, key string, opts ...txlock.AcquireOption) error {
			return m.LockTx(m.Context(), tx, key, opts...)
		},
		"Do": func(m *mocked, _ *sql.Tx, key string, opts ...txlock.AcquireOption) error {
			return m.Do(m.Context(), key, nothing, opts...)
		},
	}
	type bad struct {
		key  string
		opts []txlock.AcquireOption
		want error
	}
	always := map[string]bad{
		"empty key":    {"", nil, txlock.ErrInvalidKey},
		"key too long": {strings.Repeat("k", 256), nil, txlock.ErrInvalidKey},
		"nil option":   {"k", []txlock.AcquireOption{nil}, txlock.ErrInvalidArgument},
	}
	ofLeases := map[string]bad{
		"TTL zero":      {"k", []txlock.AcquireOption{txlock.TTL(0)}, txlock.ErrInvalidTTL},
		"TTL negative":  {"k", []txlock.AcquireOption{txlock.TTL(-1)}, txlock.ErrInvalidTTL},
		"TTL too short": {"k", []txlock.AcquireOption{txlock.TTL(txlock.MinTTL - 1)}, txlock.ErrInvalidTTL},
		"TTL absurd":    {"k", []txlock.AcquireOption{txlock.TTL(1<<63 - 1)}, txlock.ErrInvalidTTL},
	}
	ofLocks := map[string]bad{
		"TTL":     {"k", []txlock.AcquireOption{txlock.TTL(time.Second)}, txlock.ErrInvalidArgument},
		"Reclaim": {"k", []txlock.AcquireOption{txlock.Reclaim()}, txlock.ErrInvalidArgument},
	}
	for call, cases := range map[string][]map[string]bad{
		"AcquireTx":  {always, ofLeases},
		"TryAcquire": {always, ofLeases},
		"LockTx":     {always, ofLocks},
		"Do":         {always, ofLocks},
	} {
		for _, group := range cases {
			for name, c := range group {
				t.Run(call+"/"+name, func(t *testing.T) {
					m := newMocked(t)
					tx := m.begin()
					err := calls[call](m, tx, c.key, c.opts...)
					if !errors.Is(err, c.want) {
						t.Errorf("got %v, want %v", err, c.want)
					}
					var invalid *txlock.InvalidError
					if !errors.As(err, &invalid) {
						t.Errorf("%T is no *InvalidError", err)
					}
					m.mock.ExpectCommit()
					if err := tx.Commit(); err != nil {
						t.Errorf("the caller's transaction was touched: %v", err)
					}
				})
			}
		}
	}
}

func TestNilArguments(t *testing.T) {
	m := newMocked(t)
	lease := m.lease("k", 1)
	ctx := t.Context()
	_, acquireErr := m.AcquireTx(ctx, nil, "k")
	for name, err := range map[string]error{
		"AcquireTx": acquireErr,
		"LockTx":    m.LockTx(ctx, nil, "k"),
		"RenewTx":   lease.RenewTx(ctx, nil),
		"VerifyTx":  lease.VerifyTx(ctx, nil),
		"ReleaseTx": lease.ReleaseTx(ctx, nil),
		"Do":        m.Do(ctx, "k", nil),
		"InTx":      lease.InTx(ctx, nil),
	} {
		if !errors.Is(err, txlock.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClosed(t *testing.T) {
	m := newMocked(t)
	lease := m.lease("k", 1)
	tx := m.begin()
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	nothing := func(context.Context, *sql.Tx) error { return nil }
	_, acquireErr := m.AcquireTx(ctx, tx, "k")
	_, tryErr := m.TryAcquire(ctx, "k")
	for name, err := range map[string]error{
		"AcquireTx":  acquireErr,
		"TryAcquire": tryErr,
		"LockTx":     m.LockTx(ctx, tx, "k"),
		"RenewTx":    lease.RenewTx(ctx, tx),
		"VerifyTx":   lease.VerifyTx(ctx, tx),
		"ReleaseTx":  lease.ReleaseTx(ctx, tx),
		"Renew":      lease.Renew(ctx),
		"Release":    lease.Release(ctx),
		"Do":         m.Do(ctx, "k", nothing),
		"InTx":       lease.InTx(ctx, nothing),
		"Prepare":    m.Prepare(ctx),
	} {
		if !errors.Is(err, txlock.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
