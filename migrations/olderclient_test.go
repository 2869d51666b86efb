package migrations_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
)

// What older clients that are still there can do after the migration: the
// documentation says so, and to lock their account for that.
func TestWhatOlderClientsCanDo(t *testing.T) {
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
		// It is told that it has the lock, which stands there as free.
		"enum takes, lenient": {"enum", "", `UPDATE helix_locks SET owner_id = 'older', status = 'active' WHERE lock_key = 'held'`, false, "older 0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			onServers(t, func(d *database) {
				d.load("helix_locks_" + c.file + ".sql")
				d.up()
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
		d.up()
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

// loggedUp is what Up logs.
func (d *database) loggedUp() string {
	d.Helper()
	var log strings.Builder
	ok[[]*goose.MigrationResult](d.T)(migrations.Up(d.Context(), d.db, migrations.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))))
	return log.String()
}

// Going up warns, once, of keys that become locks of their own, where it takes them
// over.
func TestCollisionsAreLogged(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		for _, want := range []int{1, 0} {
			if n := strings.Count(d.loggedUp(), `level=WARN msg="migrations: keys of one older lock become locks of their own: let all programs use one spelling" keys="[Order:1 order:1]"`); n != want {
				d.Errorf("%d warnings, want %d", n, want)
			}
			d.exec(`DELETE FROM helix_goose_db_version WHERE version_id > 2`)
		}
		// Interrupted in the middle, it warns of those that are set aside.
		d.exec(`DROP TABLE helix_locks`)
		if n := strings.Count(d.loggedUp(), "level=WARN"); n != 1 {
			d.Errorf("%d warnings", n)
		}
	})
}
