package fuzz_test

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gox-helix/gox-helix/txlock"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begin begins a transaction, which does not outlive a test that fails: its locks
// would be in the way of the next input.
func begin(t testing.TB, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	must(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func hexOf(name string) string { return strings.ToUpper(hex.EncodeToString([]byte(name))) }

// count reads one number.
func count(t testing.TB, db *sql.DB, query string, args ...any) (n int64) {
	t.Helper()
	must(t, db.QueryRowContext(context.Background(), query, args...).Scan(&n))
	return n
}

// isInvalid reports a refusal of this kind, and of no other one.
func isInvalid(err, kind error) bool {
	var invalid *txlock.InvalidError
	if !errors.As(err, &invalid) || !strings.HasPrefix(err.Error(), "txlock: ") {
		return false
	}
	for _, other := range []error{txlock.ErrInvalidKey, txlock.ErrInvalidTTL, txlock.ErrInvalidArgument} {
		if errors.Is(err, other) != (other == kind) {
			return false
		}
	}
	return true
}
