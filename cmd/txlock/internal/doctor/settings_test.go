package doctor

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
)

// On a server of its own, which it may change.
func TestOnFreshServer(t *testing.T) {
	onFresh(t, func(p *patient) {
		p.well(p.examine(p.db, Options{}))
		p.in("settings", testSettings)
		p.in("settings of the DSN", testSettingsOfTheDSN)
		p.in("refused statements", testRefusedStatements)
		p.in("waiting", testWaiting)
		p.in("privileges", testPrivileges)
		p.in("quoted account", testQuotedAccount)
		p.in("killed", testKilledServer)
	})
}

// Whatever is set wrong is found, said, and cured by the SQL that is given for it.
func testSettings(p *patient) {
	const both, mysqlOnly, mariadbOnly = "", "mysql", "mariadb"
	cases := []struct {
		engine, wrong  string
		level          Level
		subject, words string
	}{
		{both, "SET GLOBAL innodb_flush_log_at_trx_commit = 0", Warning, "durability", "is 0: when the server or its machine crashes"},
		{both, "SET GLOBAL innodb_flush_log_at_trx_commit = 2", Warning, "durability", "is 2: when the server's machine crashes"},
		{both, "SET GLOBAL sync_binlog = 0", Warning, "durability", "sync_binlog is 0"},
		{both, "SET GLOBAL sync_binlog = 100", Warning, "durability", "sync_binlog is 100"},
		{both, "SET GLOBAL TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", Warning, "isolation", "READ UNCOMMITTED"},
		{both, "SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE", Note, "isolation", "SERIALIZABLE"},
		{both, "SET GLOBAL autocommit = OFF", Note, "isolation", "autocommit is off"},
		{both, "SET GLOBAL innodb_deadlock_detect = OFF", Warning, "waiting", "innodb_deadlock_detect is off"},
		{mariadbOnly, "SET GLOBAL innodb_lock_wait_timeout = 0", Note, "waiting", "nothing waits"},
		{both, "SET GLOBAL binlog_format = 'STATEMENT'", Problem, "statements", "1665"},
		{mariadbOnly, "SET GLOBAL sql_safe_updates = ON", Warning, "statements", "1175"},
		{both, "SET GLOBAL read_only = ON", Warning, "writes", "this user may write nevertheless"},
		{mysqlOnly, "SET GLOBAL super_read_only = ON", Problem, "writes", "read-only (read_only and super_read_only)"},
		{mysqlOnly, "SET GLOBAL transaction_read_only = ON", Problem, "writes", "transaction_read_only is on"},
		{mariadbOnly, "SET GLOBAL tx_read_only = ON", Problem, "writes", "tx_read_only is on"},
		{mysqlOnly, "SET GLOBAL offline_mode = ON", Problem, "writes", "offline_mode"},
	}
	for _, c := range cases {
		if c.engine != both && c.engine != string(p.server.Engine) {
			continue
		}
		p.in(c.wrong, func(p *patient) {
			p.exec(c.wrong)
			found := bad(p.examine(p.open(), Options{}))
			if len(found) == 0 {
				p.Fatal("nothing was found")
			}
			p.is(found[0], c.level, c.subject, c.words)
			for _, other := range found[1:] { // on a server that refuses writes
				p.is(other, Note, "privileges", "INSERT, UPDATE and DELETE on helix_locks", "could not be looked at")
			}
			p.apply(found[0])
			p.well(p.examine(p.open(), Options{}))
		})
	}
}

// What only this DSN sets is to be left out of it.
func testSettingsOfTheDSN(p *patient) {
	isolation, readOnly := "transaction_isolation", "transaction_read_only"
	if p.isMariaDB() {
		isolation, readOnly = "tx_isolation", "tx_read_only"
	}
	for _, c := range []struct {
		name, value string
		level       Level
		subject     string
	}{
		{isolation, "'READ-UNCOMMITTED'", Warning, "isolation"},
		{isolation, "'SERIALIZABLE'", Note, "isolation"},
		{"autocommit", "0", Note, "isolation"},
		{"binlog_format", "'STATEMENT'", Problem, "statements"},
		{readOnly, "1", Problem, "writes"},
	} {
		p.in(c.name+"="+c.value, func(p *patient) {
			found := bad(p.examine(p.open(params(c.name, c.value)), Options{}))
			if len(found) == 0 {
				p.Fatal("nothing was found")
			}
			p.is(found[0], c.level, c.subject)
			if !strings.HasPrefix(found[0].Cure, "leave "+c.name+" out of the DSN") {
				p.Errorf("cure: %s", found[0].Cure)
			}
		})
	}
	p.in("READ COMMITTED", func(p *patient) {
		findings := p.examine(p.open(params(isolation, "'READ-COMMITTED'")), Options{})
		p.well(findings)
		p.is(about(findings, "isolation")[0], OK, "isolation", "READ COMMITTED", "not older than the lock")
	})
	p.in("snapshot isolation", func(p *patient) {
		if p.isMariaDB() {
			findings := p.examine(p.open(params("innodb_snapshot_isolation", "1")), Options{})
			p.well(findings)
			p.is(about(findings, "isolation")[0], OK, "isolation", "REPEATABLE READ", "1020")
		}
	})
}

// What is said of refused statements is so.
func testRefusedStatements(p *patient) {
	purge := func(db *sql.DB) error {
		p.Helper()
		locker, err := txlock.New(db)
		if err != nil {
			p.Fatal(err)
		}
		p.Cleanup(func() {
			if err := locker.Close(); err != nil {
				p.Error(err)
			}
		})
		lease, err := locker.TryAcquire(p.Context(), p.Name())
		if err != nil {
			p.Fatal(err)
		}
		if err := lease.Release(p.Context()); err != nil {
			p.Fatal(err)
		}
		if err := locker.Retire(p.Context(), p.Name()); err != nil {
			p.Fatal(err)
		}
		_, err = locker.Purge(p.Context(), txlock.PurgeOptions{})
		return err
	}
	if err := purge(p.open(params("binlog_format", "'STATEMENT'"))); err == nil || !strings.Contains(err.Error(), "1665") {
		p.Errorf("with binlog_format STATEMENT: %v", err)
	}
	if err := purge(p.open(params("sql_safe_updates", "1"))); p.isMariaDB() != (err != nil && strings.Contains(err.Error(), "1175")) {
		p.Errorf("with sql_safe_updates: %v", err)
	}
	if !p.isMariaDB() {
		p.well(p.examine(p.open(params("sql_safe_updates", "1")), Options{}))
	}
}

func testWaiting(p *patient) {
	remote, local := &mysql.Config{Net: "tcp", Addr: "db.example.com:3306"}, &mysql.Config{Net: "tcp", Addr: "127.0.0.1:3306"}
	impatient := func(c *mysql.Config, d time.Duration) *mysql.Config {
		c = c.Clone()
		c.ReadTimeout = d
		return c
	}
	p.in("longer than readTimeout", func(p *patient) {
		f := p.one(p.examine(p.db, Options{Config: impatient(local, 10*time.Second)}), Warning, "waiting", "readTimeout in the DSN is 10s", "10 seconds")
		if !strings.Contains(f.Cure, "readTimeout=20s") || !strings.Contains(f.Cure, "innodb_lock_wait_timeout=5") {
			p.Errorf("cure: %s", f.Cure)
		}
		p.well(p.examine(p.db, Options{Config: impatient(local, 20*time.Second)}))
		p.well(p.examine(p.open(params("innodb_lock_wait_timeout", "5")), Options{Config: impatient(local, 10*time.Second)}))
	})
	p.in("the default", func(p *patient) {
		db := p.open(params("innodb_lock_wait_timeout", "50"))
		p.one(p.examine(db, Options{Config: local}), Note, "waiting", "50 seconds")
		p.one(p.examine(db, Options{Config: impatient(local, time.Minute)}), Note, "waiting", "50 seconds")
		p.one(p.examine(db, Options{Config: impatient(local, time.Second)}), Warning, "waiting", "readTimeout")
	})
	p.in("a host that vanishes", func(p *patient) {
		p.exec("SET GLOBAL wait_timeout = 28800")
		f := p.one(p.examine(p.open(), Options{Config: remote}), Note, "waiting", "8 hours")
		p.well(p.examine(p.open(), Options{Config: local}))
		p.apply(f)
		p.well(p.examine(p.open(), Options{Config: remote}))
	})
}

func TestRollbackOnTimeout(t *testing.T) {
	onFresh(t, func(p *patient) {
		p.one(p.examine(p.db, Options{}), Note, "waiting", "innodb_rollback_on_timeout is on")
	}, "--innodb-rollback-on-timeout=ON")
}
