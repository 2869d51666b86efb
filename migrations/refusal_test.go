package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/migrations"
)

// What the older table cannot hold is refused on the way back before anything has
// changed, and the cure is the one that is said.
func TestWayBackRefuses(t *testing.T) {
	const insert = `INSERT INTO helix_locks VALUES (%s, %s, 40, 0, 1, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR, NOW(6), NOW(6), NOW(6))`
	for name, c := range map[string]struct{ before, change, want, cure string }{
		"a key that is not UTF-8":   {"", fmt.Sprintf(insert, "X'FF80'", "'o'"), "helix_locks has 1 rows whose lock_key or owner_id helix_locks_older cannot hold (latin1 latin1)", `DELETE FROM helix_locks WHERE lock_key = X'FF80'`},
		"a key that is not Latin":   {"", fmt.Sprintf(insert, "'東京'", "'o'"), "helix_locks has 1 rows", `DELETE FROM helix_locks WHERE lock_key = '東京'`},
		"an owner that is not":      {"", fmt.Sprintf(insert, "'k'", "'東京'"), "helix_locks has 1 rows", `DELETE FROM helix_locks WHERE owner_id = '東京'`},
		"a key that is too long":    {"ALTER TABLE helix_locks MODIFY lock_key VARCHAR(20) CHARACTER SET latin1 NOT NULL", fmt.Sprintf(insert, "REPEAT('k', 21)", "'o'"), "helix_locks has 1 rows", `DELETE FROM helix_locks WHERE LENGTH(lock_key) > 20`},
		"two holders of one lock":   {"", fmt.Sprintf(insert, "'HELD'", "'o'"), "helix_locks has 1 locks with several active holders", `UPDATE helix_locks SET status = 0 WHERE lock_key = 'HELD'`},
		"a foreign key that refers": {"CREATE TABLE notes (lock_id BIGINT UNSIGNED NOT NULL, CONSTRAINT `of a lock` FOREIGN KEY (lock_id) REFERENCES helix_locks (id)) ENGINE = InnoDB", "DO 0", "Drop it: of a lock of ", "ALTER TABLE notes DROP FOREIGN KEY `of a lock`"},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				d.load("helix_locks_enum.sql")
				if c.before != "" {
					d.exec(c.before)
				}
				d.up()
				d.exec(c.change)
				before, older := d.locks(), d.number(`SELECT COUNT(*) FROM helix_locks_older`)
				_, err := d.provider(d.db).DownTo(d.Context(), 2)
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "nothing was changed") {
					d.Errorf("error %v", err)
				}
				if got := d.locks(); !slices.Equal(got, before) {
					d.Errorf("the locks are %s, were %s", got, before)
				}
				if n := d.number(`SELECT COUNT(*) FROM helix_locks_older`); n != older {
					d.Errorf("%d rows of %d are in the older table", n, older)
				}
				d.exec(c.cure)
				d.down()
				d.back()
			})
		})
	}
}

// The same found late, after helix_locks was closed, names the table where it is.
func TestWayBackRefusesLate(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_enum.sql")
		d.up()
		done := false
		db := d.through(&interrupted{Connector: d.connector(), left: 1000, before: func(query string) error {
			if strings.HasPrefix(query, "START TRANSACTION") && !done {
				done = true
				d.exec(`INSERT INTO helix_locks_newer VALUES ('東京', 'o', 40, 0, 0, NOW(6), NOW(6), NOW(6), NOW(6))`)
			}
			return nil
		}})
		before := d.number(`SELECT COUNT(*) FROM helix_locks`)
		if _, err := d.provider(db).DownTo(d.Context(), 2); err == nil {
			d.Error("no error")
		}
		if _, err := d.provider(d.db).DownTo(d.Context(), 2); err == nil || !strings.Contains(err.Error(), "helix_locks_newer has 1 rows") {
			d.Errorf("error %v", err)
		}
		if n := d.number(`SELECT COUNT(*) FROM helix_locks_newer`); n != before+1 {
			d.Errorf("%d rows of %d", n, before+1)
		}
		d.exec(`DELETE FROM helix_locks_newer WHERE lock_key = '東京'`)
		d.down()
		d.back()
	})
}

// Nobody ever sees the older table empty on the way back, and so nobody can give it
// its name like that.
func TestWayBackAtOnce(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.up()
		begun, looked := false, 0
		db := d.through(&interrupted{Connector: d.connector(), left: 1000, before: func(query string) error {
			begun = begun || strings.HasPrefix(query, "START TRANSACTION")
			if strings.HasPrefix(query, "COMMIT") {
				begun = false
			}
			if begun {
				looked++
				if d.number(`SELECT COUNT(*) FROM helix_locks_older`) == 0 {
					d.Errorf("it is empty before %s", query)
				}
			}
			return nil
		}})
		if _, err := d.provider(db).DownTo(d.Context(), 2); err != nil {
			d.Fatal(err)
		}
		if looked < 5 {
			d.Errorf("looked %d times", looked)
		}
		d.isOlder()
	})
}

// Where somebody has dropped the older table half way, the locks are not lost.
func TestWayBackWithoutItsEnd(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.up()
		want := d.locks()
		d.exec(`RENAME TABLE helix_locks TO helix_locks_newer`)
		d.exec(`DROP TABLE helix_locks_older`)
		if _, err := d.provider(d.db).DownTo(d.Context(), 2); err == nil || !strings.Contains(err.Error(), "RENAME TABLE helix_locks_newer TO helix_locks and run this again") {
			d.Errorf("down: %v", err)
		}
		var drift *migrations.DriftError
		if err := migrations.Verify(d.Context(), d.db); !errors.As(err, &drift) {
			d.Fatalf("verify: %v", err)
		}
		d.exec(drift.Differences[0].Cure)
		d.up()
		d.has(want)
	})
}

// Another table of versions may not have noted what is being taken back.
func TestUpBesideAnInterruptedDown(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.up()
		d.exec(`RENAME TABLE helix_locks TO helix_locks_newer`)
		d.exec(`DELETE FROM helix_goose_db_version WHERE version_id > 2`)
		if _, err := d.provider(d.db).Up(d.Context()); err == nil || !strings.Contains(err.Error(), "going down was interrupted: finish it with goose down") {
			d.Errorf("up: %v", err)
		}
		d.exec(`INSERT INTO helix_goose_db_version (version_id, is_applied) VALUES (3, TRUE)`)
		d.down()
		d.back()
		d.up()
		d.has(merged(olderTables["epoch"]))
	})
}

// A transaction that has only read keeps the table from being renamed: that gives
// up soon, so that nobody queues behind it for long, and the caller's session is as
// it was.
func TestBlockedRename(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		for _, c := range []struct {
			name string
			opt  migrations.Option
			run  func(opts ...migrations.Option) ([]*goose.MigrationResult, error)
		}{
			{name: "up", opt: migrations.WithoutLock()},
			{name: "down", opt: migrations.WithLocker(d.leaseLocker(migrations.LockPool(d.db)))},
		} {
			pool := d.open(func(m *mysql.Config) { m.Params = map[string]string{"lock_wait_timeout": "1234"} })
			pool.SetMaxOpenConns(1)
			session := func() (state string) {
				d.Helper()
				if err := pool.QueryRowContext(d.Context(), `SELECT CONCAT_WS(' ', CONNECTION_ID(), @@lock_wait_timeout, COALESCE(@helix_lock_wait, 'none'))`).Scan(&state); err != nil {
					d.Fatal(err)
				}
				return state
			}
			before := session()
			if !strings.HasSuffix(before, " 1234 none") {
				d.Fatalf("session %s", before)
			}
			tx, err := d.open().BeginTx(d.Context(), nil)
			if err != nil {
				d.Fatal(err)
			}
			if _, err := tx.ExecContext(d.Context(), `DO (SELECT COUNT(*) FROM helix_locks)`); err != nil {
				d.Fatal(err)
			}
			migrate := func() error {
				_, err := migrations.Up(d.Context(), pool, c.opt)
				if c.name == "down" {
					_, err = migrations.DownTo(d.Context(), pool, 2, c.opt)
				}
				return err
			}
			err = migrate()
			var e *migrations.Error
			if !errors.As(err, &e) || e.Failed == nil || e.Failed.Source.Version != 3 || !strings.Contains(err.Error(), "a transaction that is still open, which may only have read, uses one of the tables: end it") {
				d.Errorf("%s: %v", c.name, err)
			}
			if after := session(); after != before {
				d.Errorf("%s: session %s, was %s", c.name, after, before)
			}
			if err := tx.Rollback(); err != nil {
				d.Error(err)
			}
			if err := migrate(); err != nil {
				d.Errorf("%s: %v", c.name, err)
			}
			if after := session(); after != before {
				d.Errorf("%s: session %s, was %s", c.name, after, before)
			}
		}
		d.isOlder()
	})
}

// user makes one that may do this in the database.
func (d *database) user(privileges string) func(c *mysql.Config) {
	d.Helper()
	user := "u_" + d.name[len(d.name)-6:]
	d.exec(fmt.Sprintf(`CREATE USER '%s'@'%%' IDENTIFIED BY 'secret'`, user))
	d.Cleanup(func() {
		if _, err := d.db.ExecContext(context.Background(), fmt.Sprintf(`DROP USER '%s'@'%%'`, user)); err != nil {
			d.Error(err)
		}
	})
	d.exec(fmt.Sprintf("GRANT %s ON `%s`.* TO '%s'@'%%'", privileges, d.name, user))
	return func(c *mysql.Config) { c.User, c.Passwd = user, "secret" }
}

// Whatever the server refuses, it refuses before the older table has been touched.
func TestRefusedBeforeTheRename(t *testing.T) {
	for name, c := range map[string]struct {
		privileges string
		params     map[string]string
		want       string
	}{
		"no UPDATE":             {"CREATE, DROP, ALTER, SELECT, INSERT, DELETE", nil, "grant the user"},
		"UPDATE of floors only": {"CREATE, DROP, ALTER, SELECT, INSERT, DELETE", nil, "grant the user"},
		"no DELETE":             {"CREATE, DROP, ALTER, SELECT, INSERT, UPDATE", nil, "grant the user"},
		"safe updates":          {"ALL", map[string]string{"sql_safe_updates": "1"}, "turn it off"},
		"read-only transaction": {"ALL", map[string]string{"transaction_read_only": "1"}, "transaction_read_only is on in this session"},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				if d.server.Engine == "mariadb" && c.params["transaction_read_only"] != "" {
					c.params = map[string]string{"tx_read_only": "1"} // its name before 11.1
				}
				d.load("helix_locks_epoch.sql")
				ok[[]*goose.MigrationResult](d.T)(migrations.UpTo(d.Context(), d.db, 2))
				user := d.user(c.privileges)
				if name == "UPDATE of floors only" {
					var m mysql.Config
					user(&m)
					d.exec(fmt.Sprintf("GRANT UPDATE ON `%s`.helix_lock_floor TO '%s'@'%%'", d.name, m.User))
				}
				limited := d.open(user, func(m *mysql.Config) { m.Params = c.params })
				if _, err := migrations.Up(d.Context(), limited); err == nil || !strings.Contains(err.Error(), c.want) {
					d.Errorf("error %v", err)
				}
				d.isOlderBut("helix_locks_import")
				if n := d.number(`SELECT COUNT(*) FROM helix_locks`); n != 14 {
					d.Errorf("%d rows of 14", n)
				}
				ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
				before := d.locks()
				back := func() error { _, err := migrations.DownTo(d.Context(), limited, 2); return err }
				if name == "safe updates" || name == "no DELETE" { // goose itself cannot note the step before
					d.exec(`DELETE FROM helix_goose_db_version WHERE version_id > 3`)
				}
				if err := back(); err == nil || !strings.Contains(err.Error(), c.want) {
					d.Errorf("down: %v", err)
				}
				if got := d.locks(); !slices.Equal(got, before) {
					d.Errorf("helix_locks was touched: %s", got)
				}
			})
		})
	}
}

// isOlderBut is isOlder where a table may be left.
func (d *database) isOlderBut(table string) {
	d.Helper()
	d.exec(`DROP TABLE IF EXISTS ` + table)
	d.isOlder()
}

func TestReadOnlyServer(t *testing.T) {
	onServers(t, func(d *database) {
		d.server = d.server.Fresh(d.T)
		d.name = d.server.EmptyDatabase(d.T)
		d.db = d.open()
		limited := d.open(d.user("ALL"))
		d.exec(`SET GLOBAL read_only = 1`)
		_, err := migrations.Up(d.Context(), limited)
		d.exec(`SET GLOBAL read_only = 0`)
		if err == nil || !strings.Contains(err.Error(), "this server takes no writes: migrate on the primary") {
			d.Errorf("error %v", err)
		}
	})
}

// Who may not even read what there is to do is told just that.
func TestMayNotReadVersions(t *testing.T) {
	onServers(t, func(d *database) {
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		user := d.user("CREATE TEMPORARY TABLES")
		program := d.open(user)
		_, err := migrations.Up(d.Context(), program)
		if err == nil || !strings.Contains(err.Error(), "grant the user of this connection SELECT on helix_goose_db_version, then") || strings.Contains(err.Error(), "CREATE") {
			d.Errorf("error %v", err)
		}
		var c mysql.Config
		user(&c)
		d.exec(fmt.Sprintf("GRANT SELECT ON `%s`.helix_goose_db_version TO '%s'@'%%'", d.name, c.User))
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.open(user))), nil)
	})
}
