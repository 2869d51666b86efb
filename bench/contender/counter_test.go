package contender_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/bench/contender"
)

// counter is a row that is read and then written, without a lock of its own.
type counter struct{ db *sql.DB }

func newCounter(t *testing.T, e contender.Env) counter {
	t.Helper()
	connector, err := mysql.NewConnector(e.MySQL.Clone())
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, query := range []string{
		"DROP TABLE IF EXISTS counter",
		"CREATE TABLE counter (n INT NOT NULL)",
		"INSERT INTO counter VALUES (0)",
	} {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	return counter{db}
}

func (c counter) increment(ctx context.Context, tx *sql.Tx) error {
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT n FROM counter").Scan(&n); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE counter SET n = ?", n+1)
	return err
}

func (c counter) value(t *testing.T) int {
	t.Helper()
	var n int
	if err := c.db.QueryRowContext(t.Context(), "SELECT n FROM counter").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
