package migrations_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/gox-helix/gox-helix/migrations"
)

// paths are the files of results, in their order.
func paths(results []*goose.MigrationResult) (all []string) {
	for _, r := range results {
		all = append(all, r.Direction+" "+r.Source.Path)
	}
	return all
}

// every is all files, in the order in which they run.
func every(t *testing.T, direction string) (all []string) {
	for _, file := range files(t) {
		all = append(all, direction+" "+file)
	}
	if direction == "down" {
		slices.Reverse(all)
	}
	return all
}

// first is the number of the first file.
func first(t *testing.T) int64 { return ok[int64](t)(goose.NumericComponent(files(t)[0])) }

func ok[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantPaths(t *testing.T, results []*goose.MigrationResult, want []string) {
	t.Helper()
	if got := paths(results); !slices.Equal(got, want) {
		t.Errorf("results\n\t%s\nwant\n\t%s", got, want)
	}
}

// Whatever the caller's DSN and pool.
func TestFromGo(t *testing.T) {
	for name, session := range map[string]func(*mysql.Config){
		"defaults":    func(*mysql.Config) {},
		"parse time":  func(c *mysql.Config) { c.ParseTime = true; c.Loc = time.FixedZone("x", 3600); c.ClientFoundRows = true },
		"interpolate": func(c *mysql.Config) { c.InterpolateParams = true },
		"no autocommit": func(c *mysql.Config) {
			c.Params = map[string]string{"autocommit": "0", "time_zone": "'-05:00'"}
		},
		"multi statements": func(c *mysql.Config) { c.MultiStatements = true },
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				results := ok[[]*goose.MigrationResult](d.T)
				db := d.open(session)
				db.SetMaxOpenConns(1)
				version := func(want int64) {
					d.Helper()
					if got := ok[int64](d.T)(migrations.Version(d.Context(), db)); got != want {
						d.Errorf("version %d, want %d", got, want)
					}
				}
				version(0)
				pending := ok[[]*goose.MigrationStatus](d.T)(migrations.Status(d.Context(), db))
				if len(pending) != len(files(d.T)) || pending[0].State != goose.StatePending {
					d.Errorf("status %v", pending)
				}
				if tables := d.strings(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`); len(tables) > 0 {
					d.Errorf("asking made %s", tables)
				}
				var drift *migrations.DriftError
				if err := migrations.Verify(d.Context(), db); !errors.As(err, &drift) || !drift.NotMigrated() {
					d.Errorf("verify an empty database: %v", err)
				}
				wantPaths(d.T, results(migrations.Up(d.Context(), db)), every(d.T, "up"))
				version(first(d.T))
				wantPaths(d.T, results(migrations.Up(d.Context(), db)), nil)
				d.complete()
				if err := migrations.Verify(d.Context(), db); err != nil {
					d.Error(err)
				}
				var now int64
				if err := db.QueryRowContext(d.Context(), `SELECT UNIX_TIMESTAMP()`).Scan(&now); err != nil {
					d.Fatal(err)
				}
				for _, s := range ok[[]*goose.MigrationStatus](d.T)(migrations.Status(d.Context(), db)) {
					if s.State != goose.StateApplied || s.AppliedAt.Unix() < now-600 || s.AppliedAt.Unix() > now {
						d.Errorf("%s is %s since %v, at %v", s.Source.Path, s.State, s.AppliedAt, time.Unix(now, 0))
					}
				}
				if n := d.number(`SELECT COUNT(*) FROM helix_goose_db_version WHERE version_id = 0`); n != 1 {
					d.Errorf("%d rows for version 0", n)
				}
				wantPaths(d.T, results(migrations.Down(d.Context(), db)), every(d.T, "down"))
				wantPaths(d.T, results(migrations.Down(d.Context(), db)), nil)
				version(0)
				wantPaths(d.T, results(migrations.UpTo(d.Context(), db, first(d.T))), every(d.T, "up"))
				wantPaths(d.T, results(migrations.DownTo(d.Context(), db, first(d.T))), nil)
				wantPaths(d.T, results(migrations.DownTo(d.Context(), db, 0)), every(d.T, "down"))
			})
		})
	}
}

// What Up leaves on a connection of the caller's pool: nothing.
func TestConnectionIsLeftAsItWas(t *testing.T) {
	onServers(t, func(d *database) {
		db := d.open(timeZone("+02:00"))
		db.SetMaxOpenConns(1)
		session := func() (state string) {
			d.Helper()
			err := db.QueryRowContext(d.Context(), `SELECT CONCAT_WS('|', CONNECTION_ID(), @@time_zone, @@sql_mode, @@autocommit, @@character_set_client, @@lock_wait_timeout)`).Scan(&state)
			if err != nil {
				d.Fatal(err)
			}
			return state
		}
		before := session()
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), db))
		ok[[]*goose.MigrationResult](d.T)(migrations.DownTo(d.Context(), db, 0))
		if after := session(); after != before {
			d.Errorf("session %s, was %s", after, before)
		}
		if held := d.number(`SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE object_type = 'USER LEVEL LOCK'`); held != 0 && d.server.Engine == "mysql" {
			d.Errorf("%d named locks are held", held)
		}
	})
}

func TestDryRun(t *testing.T) {
	onServers(t, func(d *database) {
		results := ok[[]*goose.MigrationResult](d.T)
		dry := migrations.WithDryRun()
		wantPaths(d.T, results(migrations.Up(d.Context(), d.db, dry)), every(d.T, "up"))
		wantPaths(d.T, results(migrations.Down(d.Context(), d.db, dry)), nil)
		if tables := d.strings(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`); len(tables) > 0 {
			d.Errorf("a dry run made %s", tables)
		}
		results(migrations.Up(d.Context(), d.db))
		wantPaths(d.T, results(migrations.Down(d.Context(), d.db, dry)), every(d.T, "down")[:1])
		wantPaths(d.T, results(migrations.DownTo(d.Context(), d.db, 0, dry)), every(d.T, "down"))
		if v := ok[int64](d.T)(migrations.Version(d.Context(), d.db)); v != first(d.T) {
			d.Errorf("after dry runs the version is %d", v)
		}
	})
}

// The application's own goose migrations, SQL and registered Go, have their table
// and their numbers.
func TestBesideTheApplicationsOwn(t *testing.T) {
	goose.AddNamedMigrationNoTxContext("00001_registered.go", func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, `CREATE TABLE registered (id INT PRIMARY KEY)`)
		return err
	}, nil)
	t.Cleanup(goose.ResetGlobalMigrations)
	onServers(t, func(d *database) {
		own, err := goose.NewProvider(goose.DialectMySQL, d.db, fstest.MapFS{
			"00002_own.sql": {Data: []byte("-- +goose Up\nCREATE TABLE own (id INT PRIMARY KEY);\n-- +goose Down\nDROP TABLE own;\n")},
		}, goose.WithLogger(goose.NopLogger()))
		if err != nil {
			d.Fatal(err)
		}
		if done := ok[[]*goose.MigrationResult](d.T)(own.Up(d.Context())); len(done) != 2 {
			d.Errorf("the application's: %s", paths(done))
		}
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db)), every(d.T, "up"))
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.DownTo(d.Context(), d.db, 0)), every(d.T, "down"))
		if v := ok[int64](d.T)(own.GetDBVersion(d.Context())); v != 2 {
			d.Errorf("the application's version is %d", v)
		}
	})
}

// The stock command and this package take turns.
func TestBesideTheGooseCommand(t *testing.T) {
	onServers(t, func(d *database) {
		d.goose("up")
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db)), nil)
		d.goose("down")
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db)), every(d.T, "up"))
		ok[[]*goose.MigrationResult](d.T)(migrations.DownTo(d.Context(), d.db, 0))
		d.goose("up")
		d.complete()
	})
}

// A deployment that was rolled back meets a database that is ahead of it.
func TestNewerDatabase(t *testing.T) {
	onServers(t, func(d *database) {
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		d.exec(`INSERT INTO helix_goose_db_version (version_id, is_applied) VALUES (20991231000000, TRUE)`)
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db)), nil)
		if v := ok[int64](d.T)(migrations.Version(d.Context(), d.db)); v != 20991231000000 {
			d.Errorf("version %d", v)
		}
		if _, err := migrations.Down(d.Context(), d.db); !errors.Is(err, migrations.ErrNewer) || !strings.Contains(err.Error(), "20991231000000") {
			d.Errorf("down: %v", err)
		}
		if _, err := migrations.DownTo(d.Context(), d.db, 0); !errors.Is(err, migrations.ErrNewer) {
			d.Errorf("down to 0: %v", err)
		}
		d.complete()
	})
}

// Killed between any two statements, goose's own of its table included, Up is
// finished by the next.
func TestInterruptedUpFromGo(t *testing.T) {
	onServers(t, func(d *database) {
		points := 0
		for n := 0; ; n++ {
			d.clear()
			// One try: goose would go on for seconds.
			ctx, cancel := context.WithTimeout(d.Context(), 200*time.Millisecond)
			_, err := migrations.Up(ctx, d.interruptedAfter(n))
			cancel()
			if err == nil {
				break
			}
			points++
			if _, err := migrations.Up(d.Context(), d.db); err != nil {
				d.Errorf("after %d statements: %v", n, err)
			}
			d.complete()
		}
		if points < 8 {
			d.Errorf("only %d points of interruption were reached", points)
		}
	})
}

func TestErrors(t *testing.T) {
	onServers(t, func(d *database) {
		d.exec(`CREATE TABLE helix_locks (id INT PRIMARY KEY, nobody_knows INT)`)
		_, err := migrations.Up(d.Context(), d.db)
		var e *migrations.Error
		var server *mysql.MySQLError
		if !errors.As(err, &e) || !errors.As(err, &server) || server.Number != 1054 {
			d.Fatalf("error %v", err)
		}
		if e.Op != "up" || len(e.Applied) != 0 || e.Failed == nil || e.Failed.Source.Path != files(d.T)[0] || !strings.Contains(err.Error(), files(d.T)[0]+" failed") {
			d.Errorf("error %+v", e)
		}
		d.exec(`DROP TABLE helix_locks`)
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db)), every(d.T, "up"))

		ctx, cancel := context.WithCancel(d.Context())
		cancel()
		if _, err := migrations.Up(ctx, d.db); !errors.Is(err, context.Canceled) {
			d.Errorf("canceled: %v", err)
		}
		if _, err := migrations.UpTo(d.Context(), d.db, 77); err == nil || !strings.Contains(err.Error(), "the versions are "+strconv.FormatInt(first(d.T), 10)) {
			d.Errorf("an unknown version: %v", err)
		}
		if _, err := migrations.DownTo(d.Context(), d.db, 77); err == nil {
			d.Error("down to an unknown version")
		}
		none := d.server.Open(d.T, func(c *mysql.Config) { c.DBName = "" })
		if _, err := migrations.Up(d.Context(), none); err == nil || !strings.Contains(err.Error(), "name the database in the DSN") {
			d.Errorf("no database: %v", err)
		}
	})
}

func TestInvalidCalls(t *testing.T) {
	for name, call := range map[string]func(db *sql.DB) error{
		"nil db":        func(*sql.DB) error { _, err := migrations.Up(t.Context(), nil); return err },
		"nil db status": func(*sql.DB) error { _, err := migrations.Status(t.Context(), nil); return err },
		"nil db verify": func(*sql.DB) error { return migrations.Verify(t.Context(), nil) },
		"nil option":    func(db *sql.DB) error { _, err := migrations.Up(t.Context(), db, nil); return err },
		"nil logger": func(db *sql.DB) error {
			_, err := migrations.Up(t.Context(), db, migrations.WithLogger(nil))
			return err
		},
		"nil session locker": func(db *sql.DB) error {
			_, err := migrations.Up(t.Context(), db, migrations.WithSessionLocker(nil))
			return err
		},
		"nil locker": func(db *sql.DB) error {
			_, err := migrations.Up(t.Context(), db, migrations.WithLocker(nil))
			return err
		},
		"two locks": func(db *sql.DB) error {
			locker := ok[lock.Locker](t)(migrations.NewLeaseLocker())
			_, err := migrations.Up(t.Context(), db, migrations.WithLocker(locker), migrations.WithoutLock())
			return err
		},
		"long name": func(*sql.DB) error {
			_, err := migrations.NewSessionLocker(migrations.LockName(strings.Repeat("x", 65)))
			return err
		},
		"negative wait":          func(*sql.DB) error { _, err := migrations.NewLeaseLocker(migrations.LockWait(-1)); return err },
		"short TTL":              func(*sql.DB) error { _, err := migrations.NewLeaseLocker(migrations.LockTTL(1)); return err },
		"nil pool":               func(*sql.DB) error { _, err := migrations.NewLeaseLocker(migrations.LockPool(nil)); return err },
		"pool for names":         func(db *sql.DB) error { _, err := migrations.NewSessionLocker(migrations.LockPool(db)); return err },
		"nil option of a locker": func(*sql.DB) error { _, err := migrations.NewLeaseLocker(nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			db, err := sql.Open("mysql", "nobody@tcp(127.0.0.1:1)/x")
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}()
			if err := call(db); err == nil || !strings.HasPrefix(err.Error(), "migrations: ") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Who may only read can ask; who may not create is told what is missing.
func TestPrivileges(t *testing.T) {
	onServers(t, func(d *database) {
		user := "u_" + d.name[len(d.name)-6:]
		d.exec(fmt.Sprintf(`CREATE USER '%s'@'%%' IDENTIFIED BY 'secret'`, user))
		d.Cleanup(func() {
			if _, err := d.db.ExecContext(context.Background(), fmt.Sprintf(`DROP USER '%s'@'%%'`, user)); err != nil {
				d.Error(err)
			}
		})
		d.exec(fmt.Sprintf("GRANT SELECT ON `%s`.* TO '%s'@'%%'", d.name, user))
		reader := d.open(func(c *mysql.Config) { c.User, c.Passwd = user, "secret" })
		if v := ok[int64](d.T)(migrations.Version(d.Context(), reader)); v != 0 {
			d.Errorf("version %d", v)
		}
		if _, err := migrations.Up(d.Context(), reader); err == nil || !strings.Contains(err.Error(), "grant the user") {
			d.Errorf("up: %v", err)
		}
		d.exec(fmt.Sprintf("GRANT CREATE, DROP, ALTER, INSERT, UPDATE, DELETE ON `%s`.* TO '%s'@'%%'", d.name, user))
		writer := d.open(func(c *mysql.Config) { c.User, c.Passwd = user, "secret" })
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), writer)), every(d.T, "up"))
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.DownTo(d.Context(), writer, 0)), every(d.T, "down"))
		d.exec(fmt.Sprintf("REVOKE CREATE, DROP, ALTER, INSERT, UPDATE, DELETE ON `%s`.* FROM '%s'@'%%'", d.name, user))
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		last := d.open(func(c *mysql.Config) { c.User, c.Passwd = user, "secret" })
		if err := migrations.Verify(d.Context(), last); err != nil {
			d.Error(err)
		}
		if len(ok[[]*goose.MigrationStatus](d.T)(migrations.Status(d.Context(), last))) != len(files(d.T)) {
			d.Error("a reader does not see every migration")
		}
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), last)), nil) // nothing to do needs no more
	})
}

func TestLoggerAndNoLock(t *testing.T) {
	onServers(t, func(d *database) {
		holder := d.conn(d.db)
		l := d.sessionLocker()
		if err := l.SessionLock(d.Context(), holder); err != nil {
			d.Fatal(err)
		}
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, nil))
		// Without a lock nobody is waited for.
		wantPaths(d.T, ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db, migrations.WithoutLock(), migrations.WithLogger(logger))), every(d.T, "up"))
		for _, file := range files(d.T) {
			if n := strings.Count(log.String(), "source="+file); n != 1 {
				d.Errorf("%s is logged %d times:\n%s", file, n, log.String())
			}
		}
		if n := strings.Count(log.String(), "\n"); n != len(files(d.T)) {
			d.Errorf("%d lines:\n%s", n, log.String())
		}
		if err := l.SessionUnlock(d.Context(), holder); err != nil {
			d.Error(err)
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

// A transaction that has only read keeps a table from being dropped: that gives up soon, so
// that nobody queues behind it for long, and the caller's session is as it was.
func TestBlockedDown(t *testing.T) {
	onServers(t, func(d *database) {
		pool := d.open(func(m *mysql.Config) { m.Params = map[string]string{"lock_wait_timeout": "1234"} })
		pool.SetMaxOpenConns(1)
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), pool))
		const session = `SELECT CONCAT_WS(' ', CONNECTION_ID(), @@lock_wait_timeout)`
		before := d.valueOf(pool, session)
		tx := ok[*sql.Tx](d.T)(d.open().BeginTx(d.Context(), nil))
		if _, err := tx.ExecContext(d.Context(), `DO (SELECT COUNT(*) FROM helix_locks)`); err != nil {
			d.Fatal(err)
		}
		_, err := migrations.Down(d.Context(), pool)
		var e *migrations.Error
		if !errors.As(err, &e) || e.Failed == nil || !strings.Contains(err.Error(), "a transaction that is still open, which may only have read, uses one of the tables: end it") {
			d.Errorf("error %v", err)
		}
		if err := tx.Rollback(); err != nil {
			d.Error(err)
		}
		ok[[]*goose.MigrationResult](d.T)(migrations.Down(d.Context(), pool))
		if after := d.valueOf(pool, session); after != before || !strings.HasSuffix(after, " 1234") {
			d.Errorf("session %s, was %s", after, before)
		}
	})
}
