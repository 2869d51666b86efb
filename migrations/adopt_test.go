package migrations_test

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

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
	db := d.open(timeZone("+00:00"))
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(d.Context(), statement); err != nil {
			d.Fatalf("%s: %v", file, err)
		}
	}
}

func timeZone(zone string) func(*mysql.Config) {
	return func(c *mysql.Config) { c.Params = map[string]string{"time_zone": "'" + zone + "'"} }
}

// inUTC says that the older programs wrote in UTC.
var inUTC = migrations.WithWriterTimeZone("+00:00")

func (d *database) adopt(db *sql.DB, opts ...migrations.Option) *migrations.Adoption {
	d.Helper()
	return ok[*migrations.Adoption](d.T)(migrations.Adopt(d.Context(), db, append(opts, inUTC)...))
}

// locks are the rows of a helix_locks of this version.
func (d *database) locks() []string {
	d.Helper()
	return d.strings(`SELECT CONCAT_WS(' ', CONVERT(lock_key USING utf8mb4), CONVERT(owner_id USING utf8mb4), epoch, status, CAST(expires_at AS DATETIME)) FROM helix_locks ORDER BY lock_key`)
}

// has fails the test unless helix_locks is of this version and has these rows, beside the
// older table, and nothing else is left.
func (d *database) has(want []string) {
	d.Helper()
	d.complete()
	if got := d.locks(); !slices.Equal(got, want) {
		d.Errorf("the locks are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if got := d.tables(); !slices.Equal(got, []string{"helix_goose_db_version", "helix_lock_floor", "helix_locks", "helix_locks_closed", "helix_locks_older"}) {
		d.Errorf("the tables are %s", got)
	}
	if n := d.number(`SELECT COUNT(*) FROM helix_locks WHERE (status = 1) <> (lease_id > 0)`); n != 0 {
		d.Errorf("%d rows have a lease_id that is not right", n)
	}
}

func TestAdopt(t *testing.T) {
	eachOlderTable(t, func(d *database, want []string) {
		rows := d.number(`SELECT COUNT(*) FROM helix_locks`)
		seen := d.adopt(d.db, migrations.WithDryRun())
		if got := d.tables(); !slices.Equal(got, []string{"helix_locks"}) {
			d.Errorf("a dry run leaves %s", got)
		}
		done := d.adopt(d.db)
		d.has(want)
		wantPaths(d.T, done.Migrations, every(d.T, "up"))
		for name, a := range map[string]*migrations.Adoption{"a dry run": seen, "adopting": done} {
			if a.Rows != int64(rows) || len(a.Holders) != d.number(`SELECT COUNT(*) FROM helix_locks_older WHERE CAST(status AS CHAR) IN ('1', 'active')`) {
				d.Errorf("%s: %d rows of %d, holders %v", name, a.Rows, rows, a.Holders)
			}
			if slices.IndexFunc(a.Holders, func(h migrations.Holder) bool {
				return h.Key == "held" && h.Owner == "worker-1" && h.Left > 24*time.Hour
			}) < 0 {
				d.Errorf("%s: holders %v", name, a.Holders)
			}
			if strings.Contains(d.older, "epoch") && (len(a.Collisions) != 1 || !slices.Equal(a.Collisions[0].Keys, []string{"Order:1", "order:1"})) {
				d.Errorf("%s: collisions %v", name, a.Collisions)
			}
		}
		if again := d.adopt(d.db); again.Rows != 0 || len(again.Migrations) != 0 {
			d.Errorf("a second adoption did %+v", again)
		}
		d.goose("up")
		d.has(want)
	})
}

// A database without an older table is only migrated.
func TestAdoptNothing(t *testing.T) {
	onServers(t, func(d *database) {
		wantPaths(d.T, d.adopt(d.db).Migrations, every(d.T, "up"))
		d.complete()
	})
}

// An instant stays the same whoever adopts, in whatever session.
func TestAdoptInAnySession(t *testing.T) {
	for name, session := range map[string]func(*mysql.Config){
		"east":    timeZone("+13:00"),
		"west":    timeZone("-09:30"),
		"lenient": func(c *mysql.Config) { c.Params = map[string]string{"sql_mode": "''"} },
		"ansi": func(c *mysql.Config) {
			c.Params = map[string]string{"sql_mode": "'ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'"}
		},
		"autocommit off": func(c *mysql.Config) { c.Params = map[string]string{"autocommit": "0"} },
		"interpolated":   func(c *mysql.Config) { c.InterpolateParams = true },
	} {
		t.Run(name, func(t *testing.T) {
			eachOlderTable(t, func(d *database, want []string) {
				db := d.open(session)
				db.SetMaxOpenConns(1)
				d.adopt(db)
				d.has(want)
				if wait := d.valueOf(db, `SELECT @@lock_wait_timeout`); wait == "5" {
					d.Error("a session of the pool was changed")
				}
			})
		})
	}
}

// Older programs write the text of a time in UTC through sessions in their own zone.
func TestWriterTimeZone(t *testing.T) {
	for zone, odd := range map[string]bool{"-08:00": true, "+02:00": true, "+05:30": true, "+00:00": false} {
		t.Run(zone, func(t *testing.T) {
			eachOlderTable(t, func(d *database, _ []string) {
				d.exec(`DELETE FROM helix_locks`)
				writer := d.open(timeZone(zone))
				_, err := writer.ExecContext(d.Context(), `INSERT INTO helix_locks (lock_key, owner_id, expires_at, status) VALUES ('k', 'o', UTC_TIMESTAMP() + INTERVAL 5 MINUTE, 1)`)
				if err != nil {
					d.Fatal(err)
				}
				_, err = migrations.Adopt(d.Context(), d.db)
				if !odd {
					if err != nil {
						d.Error(err)
					}
				} else {
					if !errors.Is(err, migrations.ErrWriterTimeZone) || !strings.Contains(err.Error(), `"k" of "o"`) || !strings.Contains(err.Error(), "helix_locks stays as it was") {
						d.Fatalf("error %v", err)
					}
					if got := d.tables(); !slices.Equal(got, []string{"helix_locks"}) {
						d.Errorf("the tables are %s", got)
					}
				}
				for _, opts := range [][]migrations.Option{{migrations.WithDryRun()}, nil} {
					if odd {
						// A dry run does not ask: it shows what would be.
						unasked := ok[*migrations.Adoption](d.T)(migrations.Adopt(d.Context(), d.db, migrations.WithDryRun()))
						if left := unasked.Holders[0].Left; left > 0 && left < time.Hour {
							d.Errorf("%v are left without the zone", left)
						}
						a := ok[*migrations.Adoption](d.T)(migrations.Adopt(d.Context(), d.db, append(opts, migrations.WithWriterTimeZone(zone))...))
						if left := a.Holders[0].Left; left < 3*time.Minute || left > 5*time.Minute {
							d.Errorf("%v are left", left)
						}
					}
				}
				l := ok[*txlock.Locker](d.T)(txlock.New(d.db))
				info := ok[*txlock.Info](d.T)(l.Inspect(d.Context(), "k"))
				if info.Remaining < 3*time.Minute || info.Remaining > 5*time.Minute || !info.Held() {
					d.Errorf("a lock has %v left", info.Remaining)
				}
			})
		})
	}
}

// Whatever the statement behind which the process is killed: programs are refused from
// the closing to the end, goose up makes no empty table, and the next call finishes it.
func TestInterruptedAdoption(t *testing.T) {
	onServers(t, func(d *database) {
		d.older = "helix_locks_epoch.sql" // TestKilledProcess has the other
		d.load(d.older)
		want := olderTables["epoch"]
		older := d.olderRows("helix_locks")
		closed, points := 0, 0
		for n := 0; ; n++ {
			d.clear()
			d.load(d.older)
			_, err := migrations.Adopt(d.Context(), d.interruptedAfter(n), inUTC)
			if err == nil {
				break
			}
			if !errors.Is(err, errInterrupted) {
				d.Fatalf("after %d statements: %v", n, err)
			}
			points++
			if state := d.number(`SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'helix_locks' AND column_name IN ('id', 'lease_id')`); state == 0 {
				closed++
				if got := d.olderRows("helix_locks_older"); !slices.Equal(got, older) {
					d.Errorf("the older table has %s", got)
				}
				d.isClosed()
			}
			d.adopt(d.db)
			d.has(want)
		}
		if points < 10 || closed < 3 {
			d.Errorf("%d points were reached, %d of them closed", points, closed)
		}
	})
}

// olderRows are the rows of an older table.
func (d *database) olderRows(table string) []string {
	d.Helper()
	return d.strings(`SELECT CONCAT_WS(' ', id, HEX(lock_key), HEX(owner_id), UNIX_TIMESTAMP(expires_at), CAST(status AS CHAR)) FROM ` + table + ` ORDER BY id`)
}

// isClosed fails the test unless every program is refused.
func (d *database) isClosed() {
	d.Helper()
	l := ok[*txlock.Locker](d.T)(txlock.New(d.db))
	if _, err := l.TryAcquire(d.Context(), "held"); !errors.Is(err, txlock.ErrNotMigrated) {
		d.Errorf("a program of this version got %v", err)
	}
	for _, write := range slices.Concat(olderWrites["epoch"], olderWrites["enum"]) {
		if _, err := d.db.ExecContext(d.Context(), fmt.Sprintf(write, "held")); err == nil {
			d.Errorf("an older program could %s", write)
		}
	}
	if _, err := migrations.Up(d.Context(), d.db); !errors.Is(err, migrations.ErrOlder) {
		d.Errorf("up: %v", err)
	}
	var drift *migrations.DriftError
	if err := migrations.Verify(d.Context(), d.db); !errors.As(err, &drift) || !drift.NotMigrated() || !strings.Contains(err.Error(), "call it again: txlock migrate adopt") {
		d.Errorf("verify: %v", err)
	}
}

// olderWrites are how programs of older versions acquire.
var olderWrites = map[string][]string{
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

// Older programs that are still there afterwards can take no lock by an INSERT, whatever
// their SQL mode.
func TestOlderProgramsAreRefused(t *testing.T) {
	for name, writes := range olderWrites {
		for _, mode := range []string{"", "STRICT_ALL_TABLES"} {
			t.Run(fmt.Sprintf("%s %q", name, mode), func(t *testing.T) {
				onServers(t, func(d *database) {
					d.load("helix_locks_" + name + ".sql")
					older := d.open(func(c *mysql.Config) { c.Params = map[string]string{"sql_mode": "'" + mode + "'"} })
					try := func(refused bool) {
						t.Helper()
						for i, write := range writes {
							for _, key := range []string{"new " + mode, "free", "held"} {
								_, err := older.ExecContext(t.Context(), fmt.Sprintf(write, fmt.Sprint(key, i)))
								if (err != nil) != refused {
									t.Errorf("%s: %v", fmt.Sprintf(write, key), err)
								}
							}
						}
					}
					try(false)
					d.adopt(d.db)
					before := d.locks()
					try(true)
					if after := d.locks(); !slices.Equal(after, before) {
						t.Errorf("older programs changed\n%s\nto\n%s", before, after)
					}
				})
			})
		}
	}
}

// What they can do by an UPDATE: the documentation says so, and to lock their account.
func TestWhatOlderProgramsCanDo(t *testing.T) {
	for name, c := range map[string]struct {
		file, mode, write string
		refused           bool
		want              string // the row of held afterwards
	}{
		"release":            {"epoch", "STRICT_ALL_TABLES", `UPDATE helix_locks SET status = 0 WHERE lock_key = 'held' AND owner_id = 'worker-1' AND status = 1`, false, "worker-1 7 0"},
		"renew":              {"epoch", "STRICT_ALL_TABLES", `UPDATE helix_locks SET expires_at = '2037-12-01 12:00:00' WHERE lock_key = 'held' AND owner_id = 'worker-1' AND status = 1`, false, "worker-1 7 1"},
		"take by UPDATE":     {"epoch", "STRICT_ALL_TABLES", `UPDATE helix_locks SET owner_id = 'older', epoch = epoch + 1, status = 1 WHERE lock_key = 'held'`, false, "older 8 1"},
		"enum, strict":       {"enum", "STRICT_ALL_TABLES", `UPDATE helix_locks SET status = 'inactive' WHERE lock_key = 'held' AND owner_id = 'worker-1'`, true, "worker-1 0 1"},
		"enum, lenient":      {"enum", "", `UPDATE helix_locks SET status = 'inactive' WHERE lock_key = 'held' AND owner_id = 'worker-1'`, false, "worker-1 0 0"},
		"enum takes, strict": {"enum", "STRICT_ALL_TABLES", `UPDATE helix_locks SET owner_id = 'older', status = 'active' WHERE lock_key = 'held'`, true, "worker-1 0 1"},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				d.load("helix_locks_" + c.file + ".sql")
				d.adopt(d.db)
				older := d.open(func(m *mysql.Config) { m.Params = map[string]string{"sql_mode": "'" + c.mode + "'"} })
				if _, err := older.ExecContext(d.Context(), c.write); (err != nil) != c.refused {
					d.Errorf("%s: %v", c.write, err)
				}
				if got := d.strings(`SELECT CONCAT_WS(' ', owner_id, epoch, status) FROM helix_locks WHERE lock_key = 'held'`); len(got) != 1 || got[0] != c.want {
					d.Errorf("held is %s, want %s", got, c.want)
				}
			})
		})
	}
}

// An older purge deletes rows: their epochs do not come again.
func TestOlderPurge(t *testing.T) {
	eachOlderTable(t, func(d *database, want []string) {
		d.adopt(d.db)
		l := ok[*txlock.Locker](d.T)(txlock.New(d.db))
		for _, key := range d.strings(`SELECT CONVERT(lock_key USING utf8mb4) FROM helix_locks`) {
			epoch := d.number(`SELECT epoch FROM helix_locks WHERE lock_key = ?`, []byte(key))
			d.exec(`DELETE FROM helix_locks WHERE lock_key = ?`, []byte(key))
			if lease := ok[*txlock.Lease](d.T)(l.TryAcquire(d.Context(), key)); lease.Epoch() <= int64(epoch) {
				d.Errorf("epoch %d of %q after %d", lease.Epoch(), key, epoch)
			}
		}
		if n := d.number(`SELECT COUNT(*) FROM helix_locks`); n != len(want) {
			d.Errorf("%d locks of %d", n, len(want))
		}
	})
}

// Older programs write as fast as they can when the adoption begins. What was answered to
// them is in the new table, and they are refused from then on.
func TestAdoptUnderLoad(t *testing.T) {
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
		d.adopt(d.db)
		ended.Wait()
		for i := range clients {
			var refused *mysql.MySQLError
			if !errors.As(refusals[i], &refused) || !slices.Contains([]uint16{1054, 1364, 3819, 4025}, refused.Number) {
				d.Errorf("client %d: %v", i, refusals[i])
			}
			if epoch := d.number(`SELECT epoch FROM helix_locks WHERE lock_key = ? AND owner_id = 'older' AND status = 1`, fmt.Sprint("client ", i)); epoch != answered[i] {
				d.Errorf("client %d was given epoch %d, and the table has %d", i, answered[i], epoch)
			}
		}
		d.complete()
	})
}

// Tables made by hand may lack a NOT NULL.
func TestAdoptNulls(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.exec(`ALTER TABLE helix_locks MODIFY owner_id VARCHAR(255) NULL, MODIFY expires_at TIMESTAMP NULL, MODIFY epoch BIGINT NULL,
			MODIFY status TINYINT NULL, MODIFY created_at DATETIME NULL, MODIFY updated_at DATETIME NULL`)
		d.exec(`UPDATE helix_locks SET owner_id = NULL, expires_at = NULL, epoch = NULL, status = NULL, created_at = NULL, updated_at = NULL WHERE lock_key = 'free'`)
		d.adopt(d.db)
		want := slices.Clone(olderTables["epoch"])
		want[slices.Index(want, "free worker-3 12 0 1970-01-01 00:00:00")] = "free  0 0 1970-01-01 00:00:00"
		d.has(want)
	})
}

// What does not fit is refused before anything has changed.
func TestAdoptRefuses(t *testing.T) {
	for name, c := range map[string]struct{ change, want string }{
		"a key of more than 255 bytes": {`UPDATE helix_locks SET lock_key = REPEAT('ä', 200) WHERE lock_key = 'free'`, "1 rows have a lock_key or an owner_id that is empty or longer"},
		"an empty key":                 {`UPDATE helix_locks SET lock_key = '' WHERE lock_key = 'free'`, "1 rows"},
		"a holder without a name":      {`UPDATE helix_locks SET owner_id = '' WHERE lock_key = 'held'`, "1 rows"},
		"another's table":              {`ALTER TABLE helix_locks ADD COLUMN domain VARCHAR(10)`, "not known here"},
		"a column missing":             {`ALTER TABLE helix_locks DROP COLUMN updated_at`, "not known here"},
		"expiries that are no instant": {`ALTER TABLE helix_locks MODIFY expires_at DATETIME NOT NULL`, "not known here"},
		"one set aside before":         {`CREATE TABLE helix_locks_older (id INT)`, "see which has the locks, and rename the other"},
		"another's closed table":       {`CREATE TABLE helix_locks_closed (id INT)`, "helix_locks_closed is a table of a shape that is not known here: rename it"},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				d.load("helix_locks_enum.sql")
				d.exec(`ALTER TABLE helix_locks CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`)
				d.exec(c.change)
				before := d.tables()
				_, err := migrations.Adopt(d.Context(), d.db, inUTC)
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "helix_locks stays as it was") {
					d.Errorf("error %v", err)
				}
				if n := d.number(`SELECT COUNT(*) FROM helix_locks WHERE status = 'active'`); n != 4 {
					d.Errorf("%d active rows are left of 4", n)
				}
				if after := d.tables(); !slices.Equal(after, before) {
					d.Errorf("the tables are %s, were %s", after, before)
				}
			})
		})
	}
}

// What no longer fits when the table has been closed is refused, and can be corrected.
func TestAdoptRefusesLate(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		db := d.through(&interrupted{Connector: d.connector(), left: 1000, before: func(query string) error {
			if strings.Contains(query, "RENAME TABLE helix_locks TO helix_locks_older") {
				d.exec(`UPDATE helix_locks SET owner_id = REPEAT('ä', 200) WHERE lock_key = 'free'`)
			}
			return nil
		}})
		if _, err := migrations.Adopt(d.Context(), db, inUTC); err == nil || !strings.Contains(err.Error(), "(helix_locks stays closed until this has succeeded)") {
			d.Errorf("error %v", err)
		}
		d.isClosed()
		d.exec(`UPDATE helix_locks_older SET owner_id = 'worker-3' WHERE lock_key = 'free'`)
		d.adopt(d.db)
		d.has(olderTables["epoch"])
	})
}

func TestAdoptOptions(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		for name, c := range map[string]struct {
			want string
			opts []migrations.Option
		}{
			"no lock":            {"needs a session's lock", []migrations.Option{migrations.WithoutLock()}},
			"a lease":            {"needs a session's lock", []migrations.Option{migrations.WithLocker(d.leaseLocker())}},
			"no zone":            {"of no zone", []migrations.Option{migrations.WithWriterTimeZone("")}},
			"a zone not known":   {`does not know the time zone "Atlantis"`, []migrations.Option{migrations.WithWriterTimeZone("Atlantis")}},
			"a nil among others": {"an option is nil", []migrations.Option{nil}},
		} {
			if _, err := migrations.Adopt(d.Context(), d.db, c.opts...); err == nil || !strings.Contains(err.Error(), c.want) {
				d.Errorf("%s: %v", name, err)
			}
		}
		if _, err := migrations.Up(d.Context(), d.db, inUTC); err == nil || !strings.Contains(err.Error(), "WithWriterTimeZone is for Adopt") {
			d.Errorf("up: %v", err)
		}
		if _, err := migrations.Adopt(d.Context(), nil); err == nil {
			d.Error("no pool")
		}
		var log strings.Builder
		d.adopt(d.db, migrations.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		for _, want := range []string{`msg="migrations: took an older helix_locks over" rows=14 holders=7`, `level=WARN`, `keys="[Order:1 order:1]"`, "source=" + files(d.T)[0]} {
			if strings.Count(log.String(), want) != 1 {
				d.Errorf("no %s in\n%s", want, log.String())
			}
		}
	})
}

// Times that are for people are those of the row that stays, but that a key was created
// when its first row was. They are taken to be in the zone of the writers.
func TestTimesOfAdoption(t *testing.T) {
	want := map[string][]string{
		"epoch": {
			"free 2025-01-01 00:00:00 2025-02-01 00:00:00 2025-02-01 00:00:00",
			"thrice 2025-01-01 00:00:00 2025-05-01 00:00:00 2025-05-01 00:00:00",
			"twice 2025-01-01 00:00:00 2025-03-01 00:00:00 2025-03-01 00:00:00",
		},
		"enum": {
			"free 2025-01-01 00:00:00 2025-02-01 00:00:00 2025-02-01 00:00:00",
			"thrice 2025-01-01 00:00:00 2025-03-01 00:00:00 2025-03-01 00:00:00",
		},
	}
	for zone, shift := range map[string]string{"+00:00": "INTERVAL 0 HOUR", "-09:30": "INTERVAL 570 MINUTE"} {
		eachOlderTable(t, func(d *database, _ []string) {
			ok[*migrations.Adoption](d.T)(migrations.Adopt(d.Context(), d.open(timeZone("+01:00")), migrations.WithWriterTimeZone(zone)))
			got := d.strings(`SELECT CONCAT_WS(' ', lock_key, CAST(created_at - ` + shift + ` AS DATETIME), CAST(updated_at - ` + shift + ` AS DATETIME), CAST(acquired_at - ` + shift + ` AS DATETIME))
				FROM helix_locks WHERE lock_key IN ('free', 'thrice', 'twice') ORDER BY lock_key`)
			name := strings.TrimSuffix(strings.TrimPrefix(d.older, "helix_locks_"), ".sql")
			if !slices.Equal(got, want[name]) {
				d.Errorf("times\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want[name], "\n\t"))
			}
		})
	}
}

// Among rows without a holder and of one epoch the latest counts, and among those of one
// time the last.
func TestTieBreak(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.exec(`DELETE FROM helix_locks`)
		d.exec(`INSERT INTO helix_locks (lock_key, owner_id, expires_at, epoch, status, updated_at) VALUES
			('by time', 'later', NOW(), 4, 0, '2025-02-02'), ('by time', 'earlier', NOW(), 4, 2, '2025-02-01'),
			('by id', 'first', NOW(), 4, 2, '2025-02-01'), ('by id', 'last', NOW(), 4, 0, '2025-02-01')`)
		d.adopt(d.db)
		if got, want := d.strings(`SELECT CONCAT_WS(' ', lock_key, owner_id, epoch, status) FROM helix_locks ORDER BY lock_key`), []string{"by id last 4 0", "by time later 4 0"}; !slices.Equal(got, want) {
			d.Errorf("locks %s, want %s", got, want)
		}
	})
}

// No epoch is below a floor that is there; and none that was taken over can come again.
func TestFloorsOfAdoption(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.exec(`CREATE TABLE helix_lock_floor (shard SMALLINT NOT NULL PRIMARY KEY, floor_epoch BIGINT NOT NULL) ENGINE = InnoDB`)
		d.exec(`INSERT INTO helix_lock_floor VALUES (MOD(CRC32('free'), 256), 90)`)
		d.adopt(d.db)
		for _, lock := range d.strings(`SELECT l.lock_key FROM helix_locks AS l INNER JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(l.lock_key), 256) WHERE f.floor_epoch < l.epoch`) {
			d.Errorf("the floor of %s is below its epoch", lock)
		}
		if free := d.number(`SELECT epoch FROM helix_locks WHERE lock_key = 'free'`); free != 90 {
			d.Errorf("epoch %d, want 90", free)
		}
	})
}

// A transaction that has only read keeps the table from being renamed: that gives up soon,
// so that nobody queues behind it for long, and nothing is closed.
func TestAdoptBesideAnOpenTransaction(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		tx := ok[*sql.Tx](d.T)(d.db.BeginTx(d.Context(), nil))
		if _, err := tx.ExecContext(d.Context(), `DO (SELECT COUNT(*) FROM helix_locks)`); err != nil {
			d.Fatal(err)
		}
		_, err := migrations.Adopt(d.Context(), d.db, inUTC)
		if err == nil || !strings.Contains(err.Error(), "a transaction that is still open, which may only have read, uses one of the tables: end it") {
			d.Errorf("error %v", err)
		}
		if n := d.number(`SELECT COUNT(*) FROM helix_locks`); n != 14 {
			d.Errorf("%d rows", n)
		}
		if err := tx.Rollback(); err != nil {
			d.Error(err)
		}
		d.adopt(d.db)
		d.has(olderTables["epoch"])
	})
}

// Whatever the server refuses, it refuses before the older table is closed.
func TestAdoptRefusedByTheServer(t *testing.T) {
	for name, c := range map[string]struct {
		privileges string
		params     map[string]string
		want       string
	}{
		"no UPDATE": {"CREATE, DROP, ALTER, SELECT, INSERT, DELETE", nil, "grant the user"},
		"read-only": {"ALL", map[string]string{"transaction_read_only": "1"}, "transaction_read_only is on in this session"},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				params := c.params
				if d.server.Engine == "mariadb" && params != nil {
					params = map[string]string{"tx_read_only": "1"} // its name before 11.1
				}
				d.load("helix_locks_epoch.sql")
				limited := d.open(d.user(c.privileges), func(m *mysql.Config) { m.Params = params })
				if _, err := migrations.Adopt(d.Context(), limited, inUTC); err == nil || !strings.Contains(err.Error(), c.want) {
					d.Errorf("error %v", err)
				}
				if n := d.number(`SELECT COUNT(*) FROM helix_locks WHERE id > 0`); n != 14 {
					d.Errorf("%d rows of 14", n)
				}
				d.adopt(d.db)
				d.has(olderTables["epoch"])
			})
		})
	}
}

// The way back by hand, as the documentation says.
func TestBackByHand(t *testing.T) {
	eachOlderTable(t, func(d *database, _ []string) {
		before := d.olderRows("helix_locks")
		d.adopt(d.db)
		if _, err := migrations.DownTo(d.Context(), d.db, 0); err != nil {
			d.Fatal(err)
		}
		if _, err := migrations.Adopt(d.Context(), d.db, inUTC); err == nil || !strings.Contains(err.Error(), "RENAME TABLE helix_locks_older TO helix_locks") {
			d.Errorf("half way back: %v", err)
		}
		d.exec(`RENAME TABLE helix_locks_older TO helix_locks`)
		if got := d.olderRows("helix_locks"); !slices.Equal(got, before) {
			d.Errorf("the older table has %s, had %s", got, before)
		}
		d.adopt(d.db)
	})
}

func TestCollisions(t *testing.T) {
	for name, c := range map[string]struct {
		collation string
		keys      []string
		want      [][]string
	}{
		"case, accent and space": {"utf8mb4 COLLATE utf8mb4_general_ci", []string{"a", "A", "b", "c ", "c", "é", "E", "Z"}, [][]string{{"A", "a"}, {"c", "c "}, {"E", "é"}}},
		"bytes but for spaces":   {"utf8mb4 COLLATE utf8mb4_bin", []string{"a", "A", "c ", "c"}, [][]string{{"c", "c "}}},
		"latin":                  {"latin1", []string{"é", "É", "x"}, [][]string{{"É", "é"}}},
		"none":                   {"utf8mb4 COLLATE utf8mb4_bin", []string{"a", "A"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				d.load("helix_locks_epoch.sql")
				d.exec(`DELETE FROM helix_locks`)
				d.exec(`ALTER TABLE helix_locks DROP KEY lock_key_status_unique_key, MODIFY lock_key VARCHAR(255) CHARACTER SET ` + c.collation)
				for _, key := range c.keys {
					d.exec(`INSERT INTO helix_locks (lock_key, owner_id, expires_at, status) VALUES (?, 'o', NOW(), 0)`, key)
				}
				for _, opts := range [][]migrations.Option{{migrations.WithDryRun()}, nil} {
					var got [][]string
					for _, c := range d.adopt(d.db, opts...).Collisions {
						got = append(got, c.Keys)
					}
					if !slices.EqualFunc(got, c.want, slices.Equal) {
						d.Errorf("collisions %q, want %q", got, c.want)
					}
				}
			})
		})
	}
}

// A lock that an older program takes while the table is about to be closed is looked at, too.
func TestWriterTimeZoneLate(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.exec(`DELETE FROM helix_locks`)
		writer := d.open(timeZone("+02:00"))
		db := d.through(&interrupted{Connector: d.connector(), left: 1000, before: func(query string) error {
			if !strings.Contains(query, "RENAME TABLE helix_locks TO helix_locks_older") {
				return nil
			}
			_, err := writer.ExecContext(d.Context(), `INSERT INTO helix_locks (lock_key, owner_id, expires_at, status) VALUES ('k', 'o', UTC_TIMESTAMP() + INTERVAL 5 MINUTE, 1)`)
			return err
		}})
		if _, err := migrations.Adopt(d.Context(), db); !errors.Is(err, migrations.ErrWriterTimeZone) || !strings.Contains(err.Error(), "stays closed") {
			d.Errorf("error %v", err)
		}
		d.isClosed()
		a := ok[*migrations.Adoption](d.T)(migrations.Adopt(d.Context(), d.db, migrations.WithWriterTimeZone("+02:00")))
		if a.Rows != 1 || len(a.Holders) != 1 {
			d.Errorf("adopted %+v", a)
		}
		l := ok[*txlock.Locker](d.T)(txlock.New(d.db))
		if _, err := l.TryAcquire(d.Context(), "k"); !errors.Is(err, txlock.ErrHeld) {
			d.Errorf("the older holder's lock was acquired: %v", err)
		}
	})
}

// Should two adopt at once, as through two nodes of a cluster, the second fails at the
// latest where it would have replaced the locks.
func TestTwoAdoptions(t *testing.T) {
	other := func() migrations.Option {
		return migrations.WithSessionLocker(ok[lock.SessionLocker](t)(migrations.NewSessionLocker(migrations.LockName("another's"))))
	}
	for name, at := range map[string]string{
		"before the table is closed": "TO helix_locks_older", "before it is opened": "TO helix_locks_closed",
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				d.load("helix_locks_epoch.sql")
				done := false
				db := d.through(&interrupted{Connector: d.connector(), left: 1000, before: func(query string) error {
					if strings.Contains(query, at) && !done {
						done = true
						d.adopt(d.db, other())
						l := ok[*txlock.Locker](d.T)(txlock.New(d.db))
						ok[*txlock.Lease](d.T)(l.TryAcquire(d.Context(), "free"))
					}
					return nil
				}})
				_, err := migrations.Adopt(d.Context(), db, inUTC)
				if err == nil || !done {
					d.Errorf("the second adoption: %v, %v", done, err)
				}
				want := slices.Clone(olderTables["epoch"])
				if n := d.number(`SELECT COUNT(*) FROM helix_locks WHERE lock_key = 'free' AND epoch = 13 AND status = 1`); n != 1 {
					d.Errorf("a new lease is gone: %s", d.locks())
				}
				if got := d.locks(); len(got) != len(want) {
					d.Errorf("the locks are %s", got)
				}
			})
		})
	}
}

// Going down drops no older table, whatever is noted.
func TestDownRefusesOlder(t *testing.T) {
	onServers(t, func(d *database) {
		ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db))
		d.exec(`DROP TABLE helix_locks`)
		d.load("helix_locks_epoch.sql")
		if _, err := migrations.Down(d.Context(), d.db); !errors.Is(err, migrations.ErrOlder) {
			d.Errorf("error %v", err)
		}
		if n := len(d.olderRows("helix_locks")); n != 14 {
			d.Errorf("%d rows of 14", n)
		}
	})
}

// A dry run leaves nothing open on a connection of the pool.
func TestDryAdoptionLeavesNothingOpen(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		pool := d.open(func(c *mysql.Config) { c.Params = map[string]string{"autocommit": "0"} })
		d.adopt(pool, migrations.WithDryRun())
		d.adopt(d.db)
	})
}
