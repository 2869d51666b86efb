package migrations_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
)

// The older tables of testdata, and what becomes of them: key, owner, epoch,
// status, expiry in UTC, long gone where nobody holds the key.
var olderTables = map[string][]string{
	"epoch": {
		"Order:1 worker-7 31 1 2037-10-01 00:00:00",
		"autumn worker-6 1 1 2025-10-26 00:30:00",
		"expired worker-2 3 1 2025-03-30 01:30:00",
		"free worker-3 12 0 1970-01-01 00:00:00",
		"größe 東京 arbeiter-ß 5 1 2037-09-01 00:00:00",
		"held worker-1 7 1 2037-06-01 12:00:00",
		"never counted worker-5 0 1 2037-08-01 00:00:00",
		"order:1 worker-7 31 1 2037-10-01 00:00:00",
		"retired worker-4 4 2 1970-01-01 00:00:00",
		"thrice active-1 20 1 2037-07-01 00:00:00",
		"twice late-2 9 2 1970-01-01 00:00:00",
	},
	"enum": {
		"GRÖSSE arbeiter-2 0 1 2037-09-02 00:00:00",
		"free worker-3 0 0 1970-01-01 00:00:00",
		"größe arbeiter-ß 0 1 2037-09-01 00:00:00",
		"held worker-1 0 1 2037-06-01 12:00:00",
		"retired worker-4 0 2 1970-01-01 00:00:00",
		"thrice active-1 0 1 2037-07-01 00:00:00",
	},
}

func eachOlderTable(t *testing.T, test func(d *database, want []string)) {
	t.Helper()
	for name, want := range olderTables {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				d.older = "helix_locks_" + name + ".sql"
				d.load(d.older)
				test(d, want)
			})
		})
	}
}

// load runs a file of testdata.
func (d *database) load(file string) {
	d.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", file))
	if err != nil {
		d.Fatal(err)
	}
	db := d.open(func(c *mysql.Config) { c.Params = map[string]string{"time_zone": "'+00:00'"} })
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(d.Context(), statement); err != nil {
			d.Fatalf("%s: %v", file, err)
		}
	}
}

func (d *database) open(opts ...func(*mysql.Config)) *sql.DB {
	d.Helper()
	return d.server.Open(d.T, append(opts, func(c *mysql.Config) { c.DBName = d.name })...)
}

// provider runs the migrations with goose alone.
func (d *database) provider(db *sql.DB) *goose.Provider {
	d.Helper()
	p, err := goose.NewProvider(goose.DialectMySQL, db, migrations.FS,
		goose.WithTableName(migrations.VersionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		d.Fatal(err)
	}
	return p
}

func (d *database) up(opts ...func(*mysql.Config)) {
	d.Helper()
	if _, err := d.provider(d.open(opts...)).Up(d.Context()); err != nil {
		d.Fatal(err)
	}
}

func (d *database) down(opts ...func(*mysql.Config)) {
	d.Helper()
	if _, err := d.provider(d.open(opts...)).DownTo(d.Context(), 0); err != nil {
		d.Fatal(err)
	}
}

// strings runs a query of one column.
func (d *database) strings(query string) (all []string) {
	d.Helper()
	rows, err := d.db.QueryContext(d.Context(), query)
	if err != nil {
		d.Fatal(err)
	}
	defer func() {
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			d.Error(err)
		}
	}()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			d.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// has fails the test unless helix_locks has the new shape and these rows.
func (d *database) has(want []string) {
	d.Helper()
	d.complete()
	got := d.locks()
	if !slices.Equal(got, want) {
		d.Errorf("the locks are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if left := d.strings(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'helix_locks_import'`); len(left) > 0 {
		d.Errorf("%s is left", left)
	}
}

// locks are the rows of a helix_locks of the new shape.
func (d *database) locks() []string {
	d.Helper()
	return d.strings(`SELECT CONCAT_WS(' ', CONVERT(lock_key USING utf8mb4), CONVERT(owner_id USING utf8mb4), epoch, status, CAST(expires_at AS DATETIME)) FROM helix_locks ORDER BY lock_key`)
}

func timeZone(zone string) func(*mysql.Config) {
	return func(c *mysql.Config) { c.Params = map[string]string{"time_zone": "'" + zone + "'"} }
}

func TestTakeOver(t *testing.T) {
	eachOlderTable(t, func(d *database, want []string) {
		d.goose("up")
		d.has(want)
		d.goose("up") // nothing to do
		d.has(want)
		d.goose("down-to", "0")
		d.back()
		d.goose("up")
		d.has(merged(want))
	})
}

// merged is what is left after the way back, where the older collation took two
// keys for one.
func merged(want []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(s string) bool { return strings.HasPrefix(s, "order:1") })
}

// back fails the test unless the older table is back, as helix_locks.
func (d *database) back() {
	d.Helper()
	if got := d.strings(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'helix\_lock%'`); !slices.Equal(got, []string{"helix_locks"}) {
		d.Errorf("the tables are %s", got)
	}
	if got := d.strings(`SELECT LOWER(column_name) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'helix_locks'`); !slices.Contains(got, "id") || !slices.Contains(got, "epoch") {
		d.Errorf("the columns are %s", got)
	}
}

// An instant stays the same whoever migrates, in whatever time zone and SQL mode.
func TestTakeOverInAnySession(t *testing.T) {
	sessions := map[string]func(*mysql.Config){
		"east":   timeZone("+13:00"),
		"west":   timeZone("-09:30"),
		"system": func(*mysql.Config) {},
		"lenient": func(c *mysql.Config) {
			c.Params = map[string]string{"sql_mode": "''", "time_zone": "'+01:00'"}
		},
		"ansi": func(c *mysql.Config) {
			c.Params = map[string]string{"sql_mode": "'ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'"}
		},
		"autocommit off": func(c *mysql.Config) { c.Params = map[string]string{"autocommit": "0"} },
	}
	for name, session := range sessions {
		t.Run(name, func(t *testing.T) {
			eachOlderTable(t, func(d *database, want []string) {
				d.up(session)
				d.has(want)
				d.down(session)
				d.back()
				d.up(session)
				d.has(merged(want))
			})
		})
	}
}

// reset brings back the older table, with goose's own table made: killed in the
// middle of that, goose itself does not recover.
func (d *database) reset() {
	d.Helper()
	for _, table := range d.strings(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`) {
		d.exec("DROP TABLE " + table)
	}
	d.load(d.older)
	if _, err := d.provider(d.db).GetDBVersion(d.Context()); err != nil {
		d.Fatal(err)
	}
}

func (d *database) interruptedAfter(n int) *sql.DB {
	d.Helper()
	return d.through(&interrupted{Connector: d.connector(), left: n})
}

func (d *database) connector(opts ...func(*mysql.Config)) driver.Connector {
	d.Helper()
	config := d.server.Config()
	config.DBName = d.name
	for _, opt := range opts {
		opt(config)
	}
	return ok[driver.Connector](d.T)(mysql.NewConnector(config))
}

// through opens a pool of one connection.
func (d *database) through(connector driver.Connector) *sql.DB {
	d.Helper()
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	d.Cleanup(func() {
		if err := db.Close(); err != nil {
			d.Error(err)
		}
	})
	return db
}

// What was acquired after the takeover is not lost on the way back.
func TestTakeOverBackAndForth(t *testing.T) {
	eachOlderTable(t, func(d *database, _ []string) {
		d.up()
		l, err := txlock.New(d.db, txlock.WithOwner("newer"), txlock.WithTTL(time.Hour))
		if err != nil {
			d.Fatal(err)
		}
		if _, err := l.TryAcquire(d.Context(), "held"); !errors.Is(err, txlock.ErrHeld) {
			d.Errorf("the older holder's lock was acquired: %v", err)
		}
		lease, err := l.TryAcquire(d.Context(), "free")
		if err != nil {
			d.Fatal(err)
		}
		d.down()
		d.back()
		if n := d.number(`SELECT COUNT(*) FROM helix_locks WHERE lock_key = 'free' AND owner_id = 'newer' AND epoch = ? AND status IN (1, 'active')`, lease.Epoch()); n != 1 {
			d.Errorf("the lease is in %d rows of the older table", n)
		}
		d.up()
		if err := lease.Renew(d.Context()); !errors.Is(err, txlock.ErrLost) {
			d.Errorf("a lease survived the way back: %v", err) // its lease_id is forgotten: who holds it must notice
		}
		if err := l.Revoke(d.Context(), "free"); err != nil {
			d.Fatal(err)
		}
		again, err := l.TryAcquire(d.Context(), "free")
		if err != nil {
			d.Fatal(err)
		}
		if again.Epoch() <= lease.Epoch() {
			d.Errorf("epoch %d after %d", again.Epoch(), lease.Epoch())
		}
	})
}

// A key is free once its expiry has passed: what an older client has released, or
// retired, before its expiry is free at once.
func TestTakeOverOfReleasedKeys(t *testing.T) {
	for name, statuses := range map[string][]string{"epoch": {"0", "2"}, "enum": {"'inactive'", "'deletable'"}} {
		for _, status := range statuses {
			t.Run(name+" "+status, func(t *testing.T) {
				onServers(t, func(d *database) {
					d.load("helix_locks_" + name + ".sql")
					d.exec(`UPDATE helix_locks SET status = ` + status + `, expires_at = '2037-05-01 00:00:00' WHERE lock_key = 'free'`)
					d.up()
					l := ok[*txlock.Locker](d.T)(txlock.New(d.db))
					ok[*txlock.Lease](d.T)(l.TryAcquire(d.Context(), "free"))
					if _, err := l.TryAcquire(d.Context(), "held"); !errors.Is(err, txlock.ErrHeld) {
						d.Errorf("the older holder's lock was acquired: %v", err)
					}
				})
			})
		}
	}
}

// Older clients that are still there can take no lock, whatever their SQL mode;
// what they may do is release what they hold.
func TestOlderClientsAreRefused(t *testing.T) {
	writes := map[string][]string{
		"epoch": {
			`INSERT INTO helix_locks (lock_key, owner_id, expires_at, epoch, status) VALUES ('%s', 'older', NOW() + INTERVAL 1 HOUR, 1, 1)`,
			`INSERT INTO helix_locks (lock_key, owner_id, expires_at, epoch, status) VALUES ('%s', 'older', NOW() + INTERVAL 1 HOUR, 1, 1)
				ON DUPLICATE KEY UPDATE owner_id = VALUES(owner_id), expires_at = VALUES(expires_at), epoch = epoch + 1, status = 1`,
		},
		"enum": {
			`INSERT INTO helix_locks (lock_key, owner_id, expires_at, status) VALUES ('%s', 'older', NOW() + INTERVAL 1 HOUR, 'active')
				ON DUPLICATE KEY UPDATE owner_id = VALUES(owner_id), expires_at = VALUES(expires_at), status = VALUES(status)`,
			`REPLACE INTO helix_locks (lock_key, owner_id, expires_at, status) VALUES ('%s', 'older', NOW() + INTERVAL 1 HOUR, 'active')`,
		},
	}
	for name := range writes {
		for _, mode := range []string{"", "STRICT_ALL_TABLES"} {
			t.Run(fmt.Sprintf("%s %q", name, mode), func(t *testing.T) {
				onServers(t, func(d *database) {
					d.load("helix_locks_" + name + ".sql")
					older := d.open(func(c *mysql.Config) { c.Params = map[string]string{"sql_mode": "'" + mode + "'"} })
					try := func(refused bool) {
						t.Helper()
						for i, write := range writes[name] {
							for _, key := range []string{"new " + mode, "free", "held"} {
								_, err := older.ExecContext(t.Context(), fmt.Sprintf(write, fmt.Sprint(key, i)))
								if (err != nil) != refused {
									t.Errorf("%s: %v", fmt.Sprintf(write, key), err)
								}
							}
						}
					}
					try(false)
					d.up()
					before := d.strings(`SELECT CONCAT_WS(' ', HEX(lock_key), owner_id, epoch, status, expires_at) FROM helix_locks ORDER BY lock_key`)
					try(true)
					if after := d.strings(`SELECT CONCAT_WS(' ', HEX(lock_key), owner_id, epoch, status, expires_at) FROM helix_locks ORDER BY lock_key`); !slices.Equal(after, before) {
						t.Errorf("older clients changed\n%s\nto\n%s", before, after)
					}
				})
			})
		}
	}
}

// Older clients write as fast as they can when the migration begins. What was
// answered to them is in the new table, and they are refused from then on.
func TestTakeOverUnderLoad(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		const clients = 8
		older := d.open()
		older.SetMaxOpenConns(clients)
		var started, ended sync.WaitGroup
		started.Add(clients)
		answered := make([]int, clients)
		refusals := make([]error, clients)
		for i := range clients {
			ended.Go(func() {
				begun := sync.OnceFunc(started.Done)
				defer begun()
				for refusals[i] == nil {
					_, err := older.ExecContext(d.Context(), `INSERT INTO helix_locks (lock_key, owner_id, expires_at, epoch, status) VALUES (?, 'older', NOW() + INTERVAL 1 HOUR, 1, 1)
						ON DUPLICATE KEY UPDATE expires_at = VALUES(expires_at), epoch = epoch + 1`, fmt.Sprint("client ", i))
					if refusals[i] = err; err == nil {
						answered[i]++
					}
					if answered[i] == 10 {
						begun()
					}
				}
			})
		}
		started.Wait()
		d.up()
		ended.Wait()
		for i := range clients {
			var refused *mysql.MySQLError
			if !errors.As(refusals[i], &refused) || !slices.Contains([]uint16{1146, 1364, 3819, 4025}, refused.Number) {
				d.Errorf("client %d: %v", i, refusals[i])
			}
			if epoch := d.number(`SELECT epoch FROM helix_locks WHERE lock_key = ? AND owner_id = 'older' AND status = 1`, fmt.Sprint("client ", i)); epoch != answered[i] {
				d.Errorf("client %d was given epoch %d, and the table has %d", i, answered[i], epoch)
			}
		}
		d.complete()
	})
}

// The copy of an older table becomes helix_locks: it is made as that is.
func TestOneDefinition(t *testing.T) {
	var found []string
	for _, file := range files(t) {
		text := string(ok[[]byte](t)(migrations.FS.ReadFile(file)))
		for _, name := range []string{"helix_locks", "helix_locks_import"} {
			if _, rest, is := strings.Cut(text, "CREATE TABLE IF NOT EXISTS "+name+" "); is {
				definition, _, _ := strings.Cut(rest, ";")
				found = append(found, definition)
			}
		}
	}
	if len(found) != 2 || found[0] != found[1] {
		t.Errorf("the definitions are %s", found)
	}
}

// In the middle of it, when the copy is not finished, there is no table to write to.
func TestOlderClientsAreRefusedMeanwhile(t *testing.T) {
	eachOlderTable(t, func(d *database, want []string) {
		refused := 0
		for n := range 20 {
			d.reset()
			_, err := d.provider(d.interruptedAfter(n)).Up(d.Context())
			var shape int
			exists := d.db.QueryRowContext(d.Context(), `SELECT COUNT(*) FROM helix_locks`).Scan(&shape)
			if err == nil || exists == nil {
				continue
			}
			refused++
			var missing *mysql.MySQLError
			if !errors.As(exists, &missing) || missing.Number != 1146 {
				d.Errorf("after %d statements: %v", n, exists)
			}
			l, err := txlock.New(d.db)
			if err != nil {
				d.Fatal(err)
			}
			if _, err := l.TryAcquire(d.Context(), "held"); !errors.Is(err, txlock.ErrNotMigrated) {
				d.Errorf("after %d statements a new client got %v", n, err)
			}
		}
		if refused < 3 {
			d.Errorf("clients were refused at %d points", refused)
		}
		d.up()
		d.has(want)
	})
}

// Older tables made by hand may lack a NOT NULL.
func TestTakeOverOfNulls(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.exec(`ALTER TABLE helix_locks MODIFY owner_id VARCHAR(255) NULL, MODIFY expires_at TIMESTAMP NULL, MODIFY epoch BIGINT NULL,
			MODIFY status TINYINT NULL, MODIFY created_at DATETIME NULL, MODIFY updated_at DATETIME NULL`)
		d.exec(`UPDATE helix_locks SET owner_id = NULL, expires_at = NULL, epoch = NULL, status = NULL, created_at = NULL, updated_at = NULL WHERE lock_key = 'free'`)
		d.up()
		want := slices.Clone(olderTables["epoch"])
		want[slices.Index(want, "free worker-3 12 0 1970-01-01 00:00:00")] = "free  0 0 1970-01-01 00:00:00"
		d.has(want)
	})
}

// What does not fit is refused before anything has changed.
func TestTakeOverRefuses(t *testing.T) {
	for name, c := range map[string]struct{ change, want string }{
		"a key of more than 255 bytes": {`UPDATE helix_locks SET lock_key = REPEAT('ä', 200) WHERE lock_key = 'free'`, "1 rows whose lock_key or owner_id is empty or longer"},
		"an empty key":                 {`UPDATE helix_locks SET lock_key = '' WHERE lock_key = 'free'`, "1 rows"},
		"a holder without a name":      {`UPDATE helix_locks SET owner_id = '' WHERE lock_key = 'held'`, "1 rows"},
		"another's table":              {`ALTER TABLE helix_locks ADD COLUMN domain VARCHAR(10)`, "domain"},
		"a column missing":             {`ALTER TABLE helix_locks DROP COLUMN updated_at`, "not of a shape known here"},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				d.load("helix_locks_enum.sql")
				d.exec(`ALTER TABLE helix_locks CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`)
				d.exec(c.change)
				_, err := d.provider(d.db).Up(d.Context())
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v", err)
				}
				if n := d.number(`SELECT COUNT(*) FROM helix_locks WHERE status = 'active'`); n != 4 {
					t.Errorf("%d active rows are left of 4", n)
				}
			})
		})
	}
}
