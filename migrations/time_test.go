package migrations_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// Times that are for people are those of the row that stays, but that a key was
// created when its first row was. They were written in the zone of the session.
func TestTimesOfTakeOver(t *testing.T) {
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
			d.up(timeZone(zone))
			got := d.strings(`SELECT CONCAT_WS(' ', lock_key, CAST(created_at - ` + shift + ` AS DATETIME), CAST(updated_at - ` + shift + ` AS DATETIME), CAST(acquired_at - ` + shift + ` AS DATETIME))
				FROM helix_locks WHERE lock_key IN ('free', 'thrice', 'twice') ORDER BY lock_key`)
			name := strings.TrimSuffix(strings.TrimPrefix(d.older, "helix_locks_"), ".sql")
			if !slices.Equal(got, want[name]) {
				d.Errorf("times\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want[name], "\n\t"))
			}
		})
	}
}

// Among rows without a holder and of one epoch the latest counts, and among those of
// one time the last.
func TestTieBreak(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.exec(`DELETE FROM helix_locks`)
		d.exec(`INSERT INTO helix_locks (lock_key, owner_id, expires_at, epoch, status, updated_at) VALUES
			('by time', 'later', NOW(), 4, 0, '2025-02-02'), ('by time', 'earlier', NOW(), 4, 2, '2025-02-01'),
			('by id', 'first', NOW(), 4, 2, '2025-02-01'), ('by id', 'last', NOW(), 4, 0, '2025-02-01')`)
		d.up()
		if got, want := d.strings(`SELECT CONCAT_WS(' ', lock_key, owner_id, epoch, status) FROM helix_locks ORDER BY lock_key`), []string{"by id last 4 0", "by time later 4 0"}; !slices.Equal(got, want) {
			d.Errorf("locks %s, want %s", got, want)
		}
	})
}

// No epoch is below what was purged of its shard, whatever an older client has
// counted meanwhile; and none that was taken over can come again.
func TestFloorsOfTakeOver(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		d.up()
		for _, lock := range d.strings(`SELECT l.lock_key FROM helix_locks AS l INNER JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(l.lock_key), 256) WHERE f.floor_epoch < l.epoch`) {
			d.Errorf("the floor of %s is below its epoch", lock)
		}
		if n := d.number(`SELECT COUNT(*) FROM helix_lock_floor WHERE floor_epoch > 0`); n < 5 || n > len(olderTables["epoch"]) {
			d.Errorf("%d floors were raised", n)
		}
		if _, err := d.provider(d.db).DownTo(d.Context(), 2); err != nil {
			d.Fatal(err)
		}
		d.exec(`UPDATE helix_locks SET epoch = 1 WHERE lock_key = 'held'`)
		d.exec(`UPDATE helix_lock_floor SET floor_epoch = 90 WHERE shard = MOD(CRC32('free'), 256)`)
		d.up()
		if held, free := d.number(`SELECT epoch FROM helix_locks WHERE lock_key = 'held'`), d.number(`SELECT epoch FROM helix_locks WHERE lock_key = 'free'`); held < 7 || free != 90 {
			d.Errorf("epochs %d and %d", held, free)
		}
	})
}

// Of keys that the older collation takes for one the later expiry goes back, with
// the highest epoch; and an expiry that a TIMESTAMP cannot hold becomes the last
// or the first that it can.
func TestMergedOnTheWayBack(t *testing.T) {
	for name, zone := range map[string]string{"east": "+05:00", "west": "-08:00"} {
		t.Run(name, func(t *testing.T) {
			eachOlderTable(t, func(d *database, _ []string) {
				d.up()
				d.exec(`DELETE FROM helix_locks`)
				for _, row := range []string{
					`'k', 'short', 50, 1, 1, '2025-01-01', NOW(), NOW(), NOW()`,
					`'K', 'long', 40, 2, 1, '2036-05-05', NOW(), NOW(), NOW()`,
					`'far', 'o', 1, 3, 1, '2222-02-02', NOW(), NOW(), NOW()`,
					`'past', 'o', 2, 4, 0, '1066-01-01', NOW(), NOW(), NOW()`,
				} {
					d.exec(`INSERT INTO helix_locks VALUES (` + row + `)`)
				}
				if _, err := d.provider(d.open(timeZone(zone))).DownTo(d.Context(), 2); err != nil {
					d.Fatal(err)
				}
				got := d.strings(`SELECT CONCAT_WS(' ', lock_key, owner_id, epoch, CAST(status AS CHAR), FROM_UNIXTIME(0) + INTERVAL UNIX_TIMESTAMP(expires_at) - TIMESTAMPDIFF(SECOND, '1970-01-01', FROM_UNIXTIME(0)) SECOND)
					FROM helix_locks ORDER BY lock_key`)
				active, inactive := "1", "0"
				if strings.Contains(d.older, "enum") {
					active, inactive = "active", "inactive"
				}
				want := []string{"far o 1 " + active + " 2038-01-19 03:14:07", "K long 50 " + active + " 2036-05-05 00:00:00", "past o 2 " + inactive + " 1970-01-01 00:00:01"}
				if !slices.Equal(got, want) {
					d.Errorf("given back\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
				}
			})
		})
	}
}

// A session that lets the server cut values to size cuts none here: what the checks
// before have let pass is refused by the copy itself, and nothing is lost.
func TestLenientSession(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		lenient := func(c *mysql.Config) { c.Params = map[string]string{"sql_mode": "''"} }
		db := d.through(&interrupted{Connector: d.connector(lenient), left: 1000, before: func(query string) error {
			if strings.HasPrefix(query, "RENAME") || strings.HasPrefix(query, "EXECUTE helix_look") {
				if d.number(`SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'helix_locks_older'`) == 1 {
					d.exec(`UPDATE helix_locks_older SET owner_id = REPEAT('ä', 200) WHERE lock_key = 'free'`)
				}
			}
			return nil
		}})
		if _, err := d.provider(db).Up(d.Context()); err == nil || !strings.Contains(err.Error(), "Data too long") {
			d.Errorf("error %v", err)
		}
		d.exec(`UPDATE helix_locks_older SET owner_id = 'worker-3' WHERE lock_key = 'free'`)
		d.up()
		d.has(olderTables["epoch"])
	})
}
