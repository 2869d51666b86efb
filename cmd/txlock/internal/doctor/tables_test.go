package doctor

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/migrations"
)

// tablesOf are the findings about tables that are not ok.
func (p *patient) tablesOf(db ...*sql.DB) []Finding {
	p.Helper()
	look := p.db
	if len(db) > 0 {
		look = db[0]
	}
	return bad(about(p.examine(look, Options{}), "tables"))
}

func TestNotMigrated(t *testing.T) {
	onServers(t, func(p *patient) {
		f := p.one(p.tablesOf(), Problem, "tables", "not migrated", "helix_locks is missing", "helix_lock_floor is missing", "ErrNotMigrated")
		if f.Cure != "txlock migrate up" {
			p.Errorf("cure: %s", f.Cure)
		}
		p.is(bad(about(p.examine(p.db, Options{}), "privileges"))[0], Note, "privileges", "may use the tables could not be looked at", "doesn't exist")
		p.migrate()
		p.well(p.tablesOf())

		// goose has noted all, so that it would do nothing.
		p.exec("DROP TABLE helix_locks")
		f = p.one(p.tablesOf(), Problem, "tables", "helix_locks is missing")
		if f.Cure == "txlock migrate up" {
			p.Errorf("cure: %s", f.Cure)
		}
	})
}

func TestInterruptedAdoption(t *testing.T) {
	onServers(t, func(p *patient) {
		p.migrate()
		p.exec("DELETE FROM helix_goose_db_version WHERE version_id > 0")
		p.exec("RENAME TABLE helix_locks TO helix_locks_older")
		p.exec("CREATE TABLE helix_locks (being_adopted BOOLEAN NOT NULL)")
		f := p.one(p.tablesOf(), Problem, "tables", "helix_locks is set aside as helix_locks_older")
		if !strings.Contains(f.Cure, "txlock migrate adopt") {
			p.Errorf("cure: %s", f.Cure)
		}
	})
}

// Of each difference its own cure is given.
func TestDrift(t *testing.T) {
	onServers(t, func(p *patient) {
		p.migrate()
		p.exec("ALTER TABLE helix_locks MODIFY epoch INT NOT NULL, ADD KEY by_owner (owner_id)")
		p.exec("ALTER TABLE helix_lock_floor ENGINE = MyISAM")
		found := p.tablesOf()
		if len(found) != 3 {
			p.Fatalf("findings:\n%s", list(found))
		}
		p.is(found[0], Problem, "tables", "helix_locks.epoch is int; it should be bigint")
		p.is(found[1], Problem, "tables", "with index by_owner")
		p.is(found[2], Problem, "tables", "of engine myisam")
		for _, f := range found {
			p.apply(f)
		}
		p.well(p.tablesOf())
	})
}

func TestVersions(t *testing.T) {
	onServers(t, func(p *patient) {
		p.migrate()
		p.exec("INSERT INTO helix_goose_db_version (version_id, is_applied) VALUES (20991231000000, TRUE)")
		p.one(p.tablesOf(), Note, "tables", "migration 20991231000000", "up to 2026")
		p.exec("DELETE FROM helix_goose_db_version WHERE version_id > 0")
		f := p.one(p.tablesOf(), Note, "tables", "does not list 20261128104500_create_helix_locks.sql", "exported")
		if !strings.Contains(f.Cure, "txlock migrate up") {
			p.Errorf("cure: %s", f.Cure)
		}
		p.exec("DROP TABLE helix_goose_db_version")
		p.one(p.tablesOf(), Note, "tables", "20261128104500")
		p.migrate()
		p.well(p.tablesOf())
	})
}

func TestOlderTable(t *testing.T) {
	onServers(t, func(p *patient) {
		p.exec(`CREATE TABLE helix_locks (id INT AUTO_INCREMENT PRIMARY KEY, lock_key VARCHAR(255) NOT NULL, owner_id VARCHAR(255) NOT NULL, expires_at TIMESTAMP NOT NULL,
			epoch BIGINT NOT NULL, status ENUM('active', 'inactive', 'deletable') NOT NULL, created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL)`)
		if f := p.one(p.tablesOf(), Problem, "tables", "helix_locks is one of an older version"); !strings.Contains(f.Cure, "txlock migrate adopt") {
			p.Errorf("cure: %s", f.Cure)
		}
		if _, err := migrations.Adopt(p.Context(), p.db); err != nil {
			p.Fatal(err)
		}
		p.apply(p.one(p.tablesOf(), Note, "tables", "helix_locks_older", "way back"))
		p.well(p.tablesOf())
	})
}

func TestTriggers(t *testing.T) {
	onServers(t, func(p *patient) {
		p.migrate()
		p.exec("CREATE TRIGGER `the ``audit` BEFORE INSERT ON helix_locks FOR EACH ROW SET @audited = 1")
		p.apply(p.one(p.tablesOf(), Problem, "tables", "helix_locks is with trigger the `audit", "hides the answers"))
		p.well(p.tablesOf())
	})
}

func TestNoDatabase(t *testing.T) {
	onServers(t, func(p *patient) {
		db := p.open(func(c *mysql.Config) { c.DBName = "" })
		p.one(p.tablesOf(db), Problem, "tables", "no database is selected")
	})
}

// Checks that fail are findings.
func TestTablesUnseen(t *testing.T) {
	broken := errors.New("broken")
	var found []Finding
	for _, seen := range []tablesSeen{{verify: broken}, {statusErr: broken}, {olderErr: broken}} {
		found = append(found, judgeTables(seen, access{})...)
	}
	if len(found) != 3 || slices.ContainsFunc(found, func(f Finding) bool {
		return f.Level != Note || !strings.HasSuffix(f.Text, "could not be looked at, because: broken")
	}) {
		t.Errorf("findings:\n%s", list(found))
	}
}
