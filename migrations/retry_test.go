package migrations_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/migrations"
)

// What another node, or another transaction, can have caused is tried again; the
// result is that of all tries together. Anything else is not.
func TestTriesAgain(t *testing.T) {
	for name, c := range map[string]struct {
		number  uint16
		fails   int // so often
		cluster bool
		done    bool
	}{
		"a deadlock":                {1213, 1, false, true},
		"two deadlocks":             {1213, 2, false, false},
		"a table that was there":    {1050, 1, false, false},
		"a cluster's conflicts":     {1213, 3, true, true},
		"another node's table":      {1050, 2, true, true},
		"a cluster's commit":        {1180, 1, true, true},
		"a table that is in use":    {1205, 1, true, false},
		"a cluster's missing right": {1142, 1, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				left := c.fails
				db := d.through(&interrupted{Connector: d.connector(), left: 1000, before: func(query string) error {
					if strings.HasPrefix(query, "CREATE TABLE IF NOT EXISTS helix_lock_floor") && left > 0 {
						left--
						return &mysql.MySQLError{Number: c.number, Message: "as a server says"}
					}
					return nil
				}})
				var opts []migrations.Option
				if c.cluster {
					opts = append(opts, migrations.WithLocker(d.leaseLocker(migrations.LockPool(d.db))))
				}
				results, err := migrations.Up(d.Context(), db, opts...)
				if c.done {
					if err != nil {
						d.Fatal(err)
					}
					wantPaths(d.T, results, every(d.T, "up"))
					d.complete()
					return
				}
				var e *migrations.Error
				var server *mysql.MySQLError
				if !errors.As(err, &e) || !errors.As(err, &server) || server.Number != c.number {
					d.Fatalf("error %v", err)
				}
				if len(e.Applied)+len(results) != 0 {
					d.Errorf("applied %v, %v", paths(e.Applied), paths(results))
				}
				if left != 0 {
					d.Errorf("%d failures are left: it was not tried", left)
				}
			})
		})
	}
}

// What only reads is tried again, too.
func TestReadsTryAgain(t *testing.T) {
	onServers(t, func(d *database) {
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		for fails, done := range map[int]bool{3: true, 5: false} {
			left := fails
			db := d.through(&interrupted{Connector: d.connector(), left: 1000, answer: func(query string) error {
				if left == 0 || !strings.Contains(query, "helix_goose_db_version") {
					return nil
				}
				left--
				return &mysql.MySQLError{Number: 1213, Message: "as a server says"}
			}})
			if _, err := migrations.Up(d.Context(), db); (err == nil) != done {
				d.Errorf("after %d deadlocks: %v", fails, err)
			}
		}
	})
}
