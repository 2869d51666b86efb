package schema_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/schema"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// onMigrated gives a test databases with every migration.
func onMigrated(t *testing.T, test func(t *testing.T, db *sql.DB)) {
	t.Helper()
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		name := s.EmptyDatabase(t)
		db := s.Open(t, func(c *mysql.Config) { c.DBName = name })
		if _, err := migrations.Up(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		if err := schema.Verify(t.Context(), db); err != nil {
			t.Fatalf("what the migrations make: %v", err)
		}
		test(t, db)
	})
}

func exec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func differences(t *testing.T, db *sql.DB) []schema.Difference {
	t.Helper()
	err := schema.Verify(t.Context(), db)
	var drift *schema.DriftError
	if err != nil && !errors.As(err, &drift) {
		t.Fatal(err)
	}
	if drift == nil {
		return nil
	}
	return drift.Differences
}

// Each change of the live tables is found, said, and cured by the SQL that is
// given for it.
func TestDriftAndCure(t *testing.T) {
	for name, c := range map[string]struct {
		change, table, column, got string
	}{
		"type":              {"ALTER TABLE helix_locks MODIFY epoch INT NOT NULL", "helix_locks", "epoch", "int"},
		"unsigned":          {"ALTER TABLE helix_locks MODIFY epoch BIGINT UNSIGNED NOT NULL", "helix_locks", "epoch", "bigint unsigned"},
		"shorter":           {"ALTER TABLE helix_locks MODIFY lock_key VARBINARY(100) NOT NULL", "helix_locks", "lock_key", "varbinary(100)"},
		"text":              {"ALTER TABLE helix_locks MODIFY lock_key VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL", "helix_locks", "lock_key", "varchar(255)"},
		"precision":         {"ALTER TABLE helix_locks MODIFY expires_at DATETIME NOT NULL", "helix_locks", "expires_at", "datetime"},
		"timestamp":         {"ALTER TABLE helix_locks MODIFY created_at TIMESTAMP(6) NOT NULL", "helix_locks", "created_at", "timestamp(6)"},
		"enum":              {"ALTER TABLE helix_locks MODIFY status ENUM('0','1','2') NOT NULL", "helix_locks", "status", "enum('0','1','2')"},
		"nullable":          {"ALTER TABLE helix_locks MODIFY owner_id VARBINARY(255) NULL", "helix_locks", "owner_id", "varbinary(255) null"},
		"nullable floor":    {"ALTER TABLE helix_lock_floor MODIFY floor_epoch BIGINT NULL", "helix_lock_floor", "floor_epoch", "bigint null"},
		"no lease_id":       {"ALTER TABLE helix_locks DROP COLUMN lease_id", "helix_locks", "lease_id", "missing"},
		"engine":            {"ALTER TABLE helix_lock_floor ENGINE = MyISAM", "helix_lock_floor", "", "of engine myisam"},
		"no primary key":    {"ALTER TABLE helix_locks DROP PRIMARY KEY", "helix_locks", "", "without a primary key"},
		"another key":       {"ALTER TABLE helix_lock_floor DROP PRIMARY KEY, ADD PRIMARY KEY (floor_epoch, shard)", "helix_lock_floor", "", "PRIMARY KEY (floor_epoch, shard)"},
		"a prefix":          {"ALTER TABLE helix_locks DROP PRIMARY KEY, ADD PRIMARY KEY (lock_key(20))", "helix_locks", "", "PRIMARY KEY (lock_key(20))"},
		"second unique key": {"ALTER TABLE helix_locks ADD UNIQUE KEY once (lock_key, epoch)", "helix_locks", "", "with unique index once (lock_key, epoch)"},
		"index":             {"ALTER TABLE helix_locks ADD KEY `by ``owner` (owner_id)", "helix_locks", "", "with index by `owner (owner_id)"},
		"required column":   {"ALTER TABLE helix_locks ADD COLUMN domain VARCHAR(20) NOT NULL", "helix_locks", "domain", "not null without a default, and not known here"},
		"a default":         {"ALTER TABLE helix_locks MODIFY acquired_at DATETIME(6) NOT NULL DEFAULT '2020-01-01'", "helix_locks", "acquired_at", "datetime(6) with a default"},
		"a default of now":  {"ALTER TABLE helix_locks MODIFY acquired_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)", "helix_locks", "acquired_at", "datetime(6) with a default"},
		"on update":         {"ALTER TABLE helix_locks MODIFY expires_at DATETIME(6) NOT NULL DEFAULT '2020-01-01' ON UPDATE CURRENT_TIMESTAMP(6)", "helix_locks", "expires_at", "datetime(6) on update current_timestamp"},
		"weaker check":      {"ALTER TABLE helix_locks DROP CONSTRAINT `%check`, ADD CHECK (YEAR(acquired_at) >= 0)", "helix_locks", "", "without CHECK (YEAR(acquired_at) > 0), or does not enforce it"},
		"no check":          {"ALTER TABLE helix_locks DROP CONSTRAINT `%check`", "helix_locks", "", "without CHECK (YEAR(acquired_at) > 0), or does not enforce it"},
		"trigger":           {"CREATE TRIGGER `a ``trigger` BEFORE INSERT ON helix_locks FOR EACH ROW SET NEW.epoch = 1", "helix_locks", "", "with trigger a `trigger"},
		"trigger of floors": {"CREATE TRIGGER t AFTER UPDATE ON helix_lock_floor FOR EACH ROW SET @x = 1", "helix_lock_floor", "", "with trigger t"},
		"one floor":         {"DELETE FROM helix_lock_floor WHERE shard = 7", "helix_lock_floor", "", "without shards 7"},
		"floors":            {"DELETE FROM helix_lock_floor WHERE shard IN (0, 100, 101, 102, 254, 255)", "helix_lock_floor", "", "without shards 0, 100-102, 254-255"},
	} {
		t.Run(name, func(t *testing.T) {
			onMigrated(t, func(t *testing.T, db *sql.DB) {
				exec(t, db, strings.Replace(c.change, "%check", checkName(t, db), 1))
				found := differences(t, db)
				if len(found) != 1 {
					t.Fatalf("differences: %v", found)
				}
				d := found[0]
				if d.Table != c.table || d.Column != c.column || d.Got != c.got {
					t.Errorf("%s", d)
				}
				if !strings.HasSuffix(d.Cure, ";") {
					t.Fatalf("no SQL: %s", d.Cure)
				}
				exec(t, db, d.Cure)
				if left := differences(t, db); len(left) > 0 {
					t.Errorf("after %s: %v", d.Cure, left)
				}
			})
		})
	}
}

// checkName is what the server calls the CHECK.
func checkName(t *testing.T, db *sql.DB) (name string) {
	t.Helper()
	const query = "SELECT constraint_name FROM information_schema.table_constraints WHERE table_schema = DATABASE() AND table_name = 'helix_locks' AND constraint_type = 'CHECK'"
	if err := db.QueryRowContext(t.Context(), query).Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

// MySQL knows conditions that it does not enforce.
func TestCheckThatIsNone(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		name := s.EmptyDatabase(t)
		db := s.Open(t, func(c *mysql.Config) { c.DBName = name })
		if _, err := migrations.Up(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		check := checkName(t, db)
		if s.Engine == "mysql" {
			exec(t, db, "ALTER TABLE helix_locks ALTER CHECK `"+check+"` NOT ENFORCED")
		} else {
			exec(t, db, "ALTER TABLE helix_locks DROP CONSTRAINT `"+check+"`, ADD CONSTRAINT `"+check+"` CHECK (epoch > -5)")
		}
		found := differences(t, db)
		if len(found) != 1 || !strings.HasPrefix(found[0].Got, "without CHECK") {
			t.Fatalf("differences: %v", found)
		}
		exec(t, db, found[0].Cure)
		if left := differences(t, db); len(left) > 0 {
			t.Errorf("after %s: %v", found[0].Cure, left)
		}
	})
}

// Who may do no more than the library does sees the tables as they are, and is told
// of nothing that is not so.
func TestVerifyWithFewPrivileges(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		name := s.EmptyDatabase(t)
		db := s.Open(t, func(c *mysql.Config) { c.DBName = name })
		if _, err := migrations.Up(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		user := "verify_" + name[len(name)-6:]
		exec(t, db, "CREATE USER '"+user+"'@'%' IDENTIFIED BY 'secret'")
		t.Cleanup(func() {
			if _, err := db.ExecContext(context.Background(), "DROP USER '"+user+"'@'%'"); err != nil {
				t.Error(err)
			}
		})
		for _, grant := range []string{"SELECT, INSERT, UPDATE ON helix_locks", "SELECT ON helix_lock_floor"} {
			exec(t, db, "GRANT "+grant+" TO '"+user+"'@'%'")
		}
		limited := s.Open(t, func(c *mysql.Config) { c.DBName, c.User, c.Passwd = name, user, "secret" })
		if found := differences(t, limited); len(found) > 0 {
			t.Errorf("%v", found)
		}
	})
}

// Every column is looked at: without it, the table is not ours.
func TestEveryColumnIsNeeded(t *testing.T) {
	onMigrated(t, func(t *testing.T, db *sql.DB) {
		for _, column := range []string{"owner_id", "epoch", "lease_id", "status", "expires_at", "created_at", "updated_at"} {
			exec(t, db, "CREATE TABLE kept LIKE helix_locks")
			exec(t, db, "ALTER TABLE helix_locks DROP COLUMN "+column)
			found := differences(t, db)
			if len(found) != 1 || found[0].Column != column || found[0].Got != "missing" {
				t.Errorf("without %s: %v", column, found)
			}
			exec(t, db, "DROP TABLE helix_locks")
			exec(t, db, "RENAME TABLE kept TO helix_locks")
		}
	})
}

func TestHarmlessChanges(t *testing.T) {
	onMigrated(t, func(t *testing.T, db *sql.DB) {
		exec(t, db, "ALTER TABLE helix_locks ADD COLUMN note VARCHAR(20) NULL, ADD COLUMN team VARCHAR(20) NOT NULL DEFAULT 'x', ADD COLUMN twice BIGINT AS (epoch * 2)")
		if found := differences(t, db); len(found) > 0 {
			t.Errorf("%v", found)
		}
	})
}

func TestMissingTables(t *testing.T) {
	onMigrated(t, func(t *testing.T, db *sql.DB) {
		for _, table := range []string{"helix_locks", "helix_lock_floor"} {
			exec(t, db, "DROP TABLE "+table)
			found := differences(t, db)
			if !slices.ContainsFunc(found, func(d schema.Difference) bool { return d.Table == table && strings.HasPrefix(d.Got, "missing") }) {
				t.Errorf("without %s: %v", table, found)
			}
		}
		var drift *schema.DriftError
		if err := schema.Verify(t.Context(), db); !errors.As(err, &drift) || !drift.NotMigrated() || len(drift.Differences) != 2 {
			t.Errorf("without tables: %v", err)
		}
	})
}

// A table of an older version, and one whose adoption is not at its end, have one cure each.
func TestStates(t *testing.T) {
	const older = "CREATE TABLE helix_locks (id INT PRIMARY KEY, lock_key VARCHAR(255), owner_id VARCHAR(255), expires_at TIMESTAMP NULL, status INT, created_at DATETIME, updated_at DATETIME)"
	for name, c := range map[string]struct {
		tables []string
		state  schema.State
		cure   string // empty where all is well
	}{
		"older":       {[]string{older}, schema.Older, "take it over with its locks: txlock migrate adopt"},
		"interrupted": {[]string{"CREATE TABLE helix_locks_older (id INT)", "CREATE TABLE helix_locks (being_adopted INT)"}, schema.Closed, "call it again: txlock migrate adopt"},
		"adopted":     {[]string{"CREATE TABLE helix_locks_older (id INT)", "CREATE TABLE helix_locks LIKE kept"}, schema.Current, ""},
	} {
		t.Run(name, func(t *testing.T) {
			onMigrated(t, func(t *testing.T, db *sql.DB) {
				exec(t, db, "RENAME TABLE helix_locks TO kept")
				for _, table := range c.tables {
					exec(t, db, table)
				}
				if shape, err := schema.Look(t.Context(), db); err != nil || shape.State != c.state {
					t.Errorf("state %+v, %v", shape, err)
				}
				var drift *schema.DriftError
				err := schema.Verify(t.Context(), db)
				if c.cure == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if !errors.As(err, &drift) || len(drift.Differences) != 1 || !drift.NotMigrated() || !strings.Contains(drift.Differences[0].Cure, c.cure) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestNoDatabase(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		db := s.Open(t, func(c *mysql.Config) { c.DBName = "" })
		if err := schema.Verify(t.Context(), db); err == nil || !strings.Contains(err.Error(), "no database is selected") {
			t.Errorf("error %v", err)
		}
	})
}

// Whatever the session, the answer is the same.
func TestVerifyInAnySession(t *testing.T) {
	for name, params := range map[string]map[string]string{
		"ansi":    {"sql_mode": "'ANSI,NO_BACKSLASH_ESCAPES'"},
		"swedish": {"collation_connection": "latin1_swedish_ci"},
		"utf16":   {"collation_connection": "utf16_bin"},
		"prepare": {"autocommit": "0"},
	} {
		t.Run(name, func(t *testing.T) {
			servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
				db := s.Open(t, func(c *mysql.Config) { c.Params = params; c.ParseTime = name == "ansi"; c.ClientFoundRows = true })
				if err := schema.Verify(t.Context(), db); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
