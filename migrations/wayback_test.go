package migrations_test

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/migrations"
)

// Whatever the step at which somebody turns round, no lock and no epoch is lost.
func TestStepsDownAndUp(t *testing.T) {
	eachOlderTable(t, func(d *database, want []string) {
		for steps := range len(files(d.T)) + 1 {
			d.reset()
			d.up()
			want := want
			for range steps {
				ok[*goose.MigrationResult](d.T)(d.provider(d.db).Down(d.Context()))
			}
			if steps >= 1 { // the third migration
				want = merged(want)
				d.isOlder()
			}
			d.up()
			d.has(want)
			if d.Failed() {
				d.Fatalf("%d steps down and up again", steps)
			}
		}
	})
}

// Between any two statements of up, and of down, the process may be killed; and
// whoever comes next may go up or down.
func TestInterruptedTakeOver(t *testing.T) {
	up := func(d *database, db *sql.DB) error { _, err := d.provider(db).Up(d.Context()); return err }
	down := func(d *database, db *sql.DB) error { _, err := d.provider(db).DownTo(d.Context(), 0); return err }
	eachOlderTable(t, func(d *database, want []string) {
		for name, c := range map[string]struct {
			run   func(d *database, db *sql.DB) error
			least int
		}{"up": {up, 12}, "down": {down, 10}} {
			reached := 0
			for n := 0; ; n++ {
				var err error
				for _, next := range []string{"up", "down"} {
					d.reset()
					if name == "down" {
						d.up()
					}
					if err = c.run(d, d.interruptedAfter(n)); err == nil {
						break
					}
					if !strings.Contains(err.Error(), errInterrupted.Error()) {
						d.Fatalf("%s interrupted after %d statements: %v", name, n, err)
					}
					d.cured(name)
					if next == "up" {
						d.upAfter(name)
					} else {
						d.downAfter(name)
						d.isOlder()
						d.up()
					}
					// Where it came as far as the older table, the spellings are one again.
					if got := d.locks(); !slices.Equal(got, want) && !slices.Equal(got, merged(want)) {
						d.Errorf("the locks are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
					}
					d.complete()
					if d.Failed() {
						d.Fatalf("%s was interrupted after %d statements, and %s followed", name, n, next)
					}
				}
				if err == nil {
					break
				}
				reached++
			}
			if reached < c.least {
				d.Errorf("only %d points of interruption were reached on the way %s", reached, name)
			}
		}
	})
}

// isOlder fails the test unless helix_locks is the older client's, and alone.
func (d *database) isOlder() {
	d.Helper()
	if tables := d.strings(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'helix\_locks%'`); !slices.Equal(tables, []string{"helix_locks"}) {
		d.Errorf("the tables are %s", tables)
	}
	if columns := d.strings(`SELECT LOWER(column_name) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'helix_locks'`); !slices.Contains(columns, "id") {
		d.Errorf("helix_locks has %s", columns)
	}
}

// upAfter goes up where possible, and else does what the refusal says. Where goose had
// not taken the note of the last migration back, it has nothing to do: Verify refuses.
func (d *database) upAfter(interrupted string) {
	d.Helper()
	_, err := d.provider(d.db).Up(d.Context())
	if err == nil {
		err = migrations.Verify(d.Context(), d.db)
	}
	if err == nil {
		return
	}
	if interrupted != "down" || !strings.Contains(err.Error(), "going down was interrupted: ") {
		d.Fatal(err)
	}
	d.down()
	d.isOlder()
	d.up()
}

// downAfter is upAfter the other way.
func (d *database) downAfter(interrupted string) {
	d.Helper()
	_, err := d.provider(d.db).DownTo(d.Context(), 0)
	if err == nil {
		return
	}
	if interrupted != "up" || !strings.Contains(err.Error(), "going up was interrupted: finish it with goose up") {
		d.Fatal(err)
	}
	d.up()
	d.down()
}

// cured fails the test unless Verify gives the cure that helps in the state which an
// interrupted run has left.
func (d *database) cured(interrupted string) {
	d.Helper()
	err := migrations.Verify(d.Context(), d.db)
	if err == nil {
		return
	}
	tables := d.strings(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name`)
	has := func(name string) bool { return slices.Contains(tables, name) }
	want := "run the migrations"
	switch {
	case has("helix_locks_newer"):
		want = "going down was interrupted: finish it, with migrations.DownTo"
	case has("helix_locks_older") && !has("helix_locks"):
		want = "going up was interrupted: finish it, with migrations.Up"
		if interrupted == "down" {
			d.Errorf("%s on the way down", tables)
		}
	}
	if !strings.Contains(err.Error(), want) {
		d.Errorf("with %s: %v", tables, err)
	}
}

// What older clients would do in the gap, without which there is no lock table.
const makeAgain = `CREATE TABLE IF NOT EXISTS helix_locks (
	id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, lock_key VARCHAR(255) NOT NULL, owner_id VARCHAR(255) NOT NULL, expires_at TIMESTAMP NOT NULL,
	epoch BIGINT NOT NULL DEFAULT 0, status TINYINT NOT NULL DEFAULT 1, created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY (lock_key, status), KEY (lock_key))`

// An older client that makes its table again, at any moment, is told of; no version
// is noted, and no lock is lost.
func TestOlderClientMakesItsTableAgain(t *testing.T) {
	onServers(t, func(d *database) {
		d.older = "helix_locks_epoch.sql"
		want := olderTables["epoch"]
		for _, direction := range []string{"up", "down"} {
			refused := 0
			for n := 0; ; n++ {
				d.reset()
				if direction == "down" {
					d.up()
				}
				changes := 0
				db := d.through(&interrupted{Connector: d.connector(), left: 1000, before: func(string) error {
					if changes++; changes == n {
						d.exec(makeAgain)
					}
					return nil
				}})
				var err error
				if direction == "up" {
					_, err = d.provider(db).Up(d.Context())
				} else {
					_, err = d.provider(db).DownTo(d.Context(), 2)
				}
				if changes < n {
					break
				}
				if err == nil {
					if direction == "up" {
						d.has(want)
					}
					continue
				}
				refused++
				if version := ok[int64](d.T)(migrations.Version(d.Context(), d.db)); direction == "up" && version != 2 || direction == "down" && version != 3 {
					d.Errorf("version %d is noted", version)
				}
				if err := migrations.Verify(d.Context(), d.db); err == nil || !strings.Contains(err.Error(), "an older client has made it again: stop it, DROP TABLE helix_locks") {
					d.Errorf("verify: %v", err)
				}
				again := func() (err error) {
					if direction == "up" {
						_, err = d.provider(d.db).Up(d.Context())
					} else {
						_, err = d.provider(d.db).DownTo(d.Context(), 2)
					}
					return err
				}
				if err := again(); err == nil || !strings.Contains(err.Error(), "stop it and DROP TABLE helix_locks and run this again") {
					d.Errorf("%s again: %v", direction, err)
				}
				d.exec(`DROP TABLE helix_locks`)
				if err := again(); err != nil {
					d.Error(err)
				}
				d.up()
				if direction == "down" {
					d.has(merged(want))
				} else {
					d.has(want)
				}
				if d.Failed() {
					d.Fatalf("%s with the table made again before statement %d: %v", direction, n, err)
				}
			}
			if refused < 3 {
				d.Errorf("%s was refused at %d points", direction, refused)
			}
		}
	})
}

// Where there was no table, one that an older client makes meanwhile is told of, and
// is taken over by the next run.
func TestOlderClientMakesItsTableFirst(t *testing.T) {
	onServers(t, func(d *database) {
		refused := 0
		for n := 1; ; n++ {
			for _, table := range d.strings(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`) {
				d.exec("DROP TABLE " + table)
			}
			changes := 0
			db := d.through(&interrupted{Connector: d.connector(), left: 1000, before: func(string) error {
				if changes++; changes == n {
					d.exec(makeAgain)
				}
				return nil
			}})
			_, err := d.provider(db).Up(d.Context())
			if changes < n {
				break
			}
			if err != nil {
				refused++
				if !strings.Contains(err.Error(), "an older client has made helix_locks meanwhile: stop it and run this again") {
					d.Error(err)
				}
				d.up()
			}
			d.complete()
			if d.Failed() {
				d.Fatalf("made before statement %d", n)
			}
		}
		if refused == 0 {
			d.Error("it was never refused")
		}
	})
}

// The same, by one that does nothing else.
func TestOlderClientMakesItsTableAllTheTime(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		stop, stopped, begun := make(chan struct{}), make(chan error, 1), make(chan struct{})
		go func() {
			first := true
			for {
				_, err := d.db.ExecContext(d.Context(), makeAgain)
				if first {
					close(begun)
					first = false
				}
				select {
				case <-stop:
					stopped <- err
					return
				default:
				}
			}
		}()
		<-begun
		_, err := d.provider(d.open()).Up(d.Context())
		close(stop)
		if err := <-stopped; err != nil {
			d.Error(err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), "has made helix_locks again") && !strings.Contains(err.Error(), "already exists") {
				d.Error(err)
			}
			d.exec(`DROP TABLE helix_locks`)
			d.up()
		}
		d.has(olderTables["epoch"])
	})
}
