package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
)

// fences are the ways that the help of run shows for a command to fence what it
// writes: the statements before its UPDATE.
func fences(t *testing.T) map[string][]string {
	t.Helper()
	help := (&app{}).runCommand().Long
	between := func(from, to string) string {
		_, rest, ok := strings.Cut(help, from)
		text, _, found := strings.Cut(rest, to)
		if !ok || !found {
			t.Fatalf("the help has no text between %q and %q", from, to)
		}
		return strings.TrimSpace(text)
	}
	var shared []string
	for statement := range strings.SplitSeq(between("<<END\n", "UPDATE accounts"), ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			shared = append(shared, statement)
		}
	}
	if len(shared) != 3 {
		t.Fatalf("the help has changed: %q", shared)
	}
	writes := "UPDATE helix_locks " + between("  UPDATE helix_locks", ";")
	held := between("must have changed a row (", ").\n")
	return map[string][]string{
		"shared": shared,
		"writes": {shared[0], writes, held, shared[2]},
	}
}

func TestFenceOfTheHelp(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		for name, statements := range fences(t) {
			t.Run(name, func(t *testing.T) {
				database := s.EmptyDatabase(t)
				db := s.Open(t, func(c *mysql.Config) { c.DBName = database })
				must(t, ignore(migrations.Up(t.Context(), db)))
				exec := func(conn interface {
					ExecContext(context.Context, string, ...any) (sql.Result, error)
				}, query string) {
					t.Helper()
					_, err := conn.ExecContext(t.Context(), query)
					must(t, err)
				}
				exec(db, "CREATE TABLE accounts (id INT PRIMARY KEY, cents INT NOT NULL)")
				exec(db, "INSERT INTO accounts VALUES (7, 1000)")
				locker, err := txlock.New(db)
				must(t, err)
				lease, err := locker.TryAcquire(t.Context(), "k'\\")
				must(t, err)

				// fence sends the statements to a connection of their own, up to the first that fails.
				fence := func(conn *sql.Conn) error {
					for _, statement := range statements {
						statement = strings.NewReplacer("$TXLOCK_KEY_HEX", hex.EncodeToString([]byte(lease.Key())), "$TXLOCK_EPOCH", fmt.Sprint(lease.Epoch()), "$TXLOCK_TTL", "3600").Replace(statement)
						if _, err := conn.ExecContext(t.Context(), statement); err != nil {
							return err
						}
					}
					return nil
				}
				conn, err := db.Conn(t.Context())
				must(t, err)
				defer func() { must(t, conn.Close()) }()

				// It holds, and keeps rivals out until COMMIT.
				must(t, fence(conn))
				_, err = locker.TryAcquire(t.Context(), lease.Key(), txlock.Reclaim(), txlock.NoWait())
				if !errors.Is(err, txlock.ErrBusy) {
					t.Errorf("while the fence stands, a rival got %v", err)
				}
				exec(conn, "UPDATE accounts SET cents = cents - 100 WHERE id = 7")
				exec(conn, "COMMIT")

				// Once another has the lease, it fails, and nothing can be written.
				_, err = locker.TryAcquire(t.Context(), lease.Key(), txlock.Reclaim())
				must(t, err)
				var server *mysql.MySQLError
				if err := fence(conn); !errors.As(err, &server) || server.Number != 1231 || !strings.Contains(server.Message, "the lease is lost") {
					t.Errorf("a late fence got %v", err)
				}
				exec(conn, "ROLLBACK")
				var cents int
				must(t, db.QueryRowContext(t.Context(), "SELECT cents FROM accounts").Scan(&cents))
				if cents != 900 {
					t.Errorf("cents %d", cents)
				}
			})
		}
	})
}

// A command whose transactions follow each other without a pause keeps its lease by the
// fence that writes, which heartbeats see.
func TestFenceWithoutPause(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		database := s.EmptyDatabase(t)
		db := s.Open(t, func(c *mysql.Config) { c.DBName = database })
		must(t, ignore(migrations.Up(t.Context(), db)))
		const ttl = 3 * time.Second
		locker, err := txlock.New(db, txlock.WithTTL(ttl))
		must(t, err)
		defer func() { must(t, locker.Close()) }()
		lease, err := locker.TryAcquire(t.Context(), "k")
		must(t, err)
		must(t, lease.KeepAlive(t.Context()))
		conn, err := db.Conn(t.Context())
		must(t, err)
		defer func() { must(t, conn.Close()) }()
		values := strings.NewReplacer("$TXLOCK_KEY_HEX", hex.EncodeToString([]byte(lease.Key())), "$TXLOCK_EPOCH", fmt.Sprint(lease.Epoch()), "$TXLOCK_TTL", fmt.Sprint(ttl.Seconds()))
		for began := time.Now(); time.Since(began) < 2*ttl; {
			for _, statement := range append(fences(t)["writes"], "DO SLEEP(0.3)", "COMMIT") {
				must(t, ignore(conn.ExecContext(t.Context(), values.Replace(statement))))
			}
		}
		if err := context.Cause(lease.Context()); err != nil {
			t.Error(err)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ignore[T any](_ T, err error) error { return err }
