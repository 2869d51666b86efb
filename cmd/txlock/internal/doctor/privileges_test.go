package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// Each privilege is missed, at its own level, and cured by the GRANT that is given.
func testPrivileges(p *patient) {
	grants := func(without probe) (all []string) {
		for _, probe := range probes() {
			if probe != without {
				all = append(all, fmt.Sprintf("GRANT %s ON %s.%s", probe.privilege, p.name, probe.table))
			}
		}
		return all
	}
	for _, probe := range probes() {
		p.in(probe.privilege+" on "+probe.table, func(p *patient) {
			account, db := p.user("app", grants(probe)...)
			level := Problem
			if probe.purge {
				level = Warning
			}
			found := bad(p.examine(db, Options{}))
			i := slices.IndexFunc(found, func(f Finding) bool { return f.Subject == "privileges" })
			if i < 0 {
				p.Fatalf("findings:\n%s", list(found))
			}
			p.is(found[i], level, "privileges", "may not "+probe.privilege+" on "+probe.table)
			if !strings.HasSuffix(found[i].Cure, " TO "+account+";") {
				p.Errorf("cure: %s", found[i].Cure)
			}
			p.apply(found[i])
			p.well(p.examine(db, Options{}))
		})
	}
	p.in("none", func(p *patient) {
		_, db := p.user("none")
		found := bad(p.examine(db, Options{}))
		if len(found) != 5 {
			p.Fatalf("findings:\n%s", list(found))
		}
		p.is(found[0], Note, "tables", "may not see helix_locks and helix_lock_floor")
		p.is(found[1], Problem, "privileges", "may not SELECT, INSERT and UPDATE on helix_locks")
		p.is(found[3], Warning, "privileges", "may not DELETE on helix_locks")
		for _, f := range found[1:] {
			p.apply(f)
		}
		p.well(p.examine(db, Options{}))
	})
	p.in("some columns", func(p *patient) {
		_, db := p.user("columns", "GRANT SELECT (lock_key, epoch), INSERT (lock_key), UPDATE (epoch) ON app.helix_locks", "GRANT ALL ON app.helix_lock_floor")
		for _, f := range about(p.examine(db, Options{}), "privileges") {
			p.apply(f)
		}
		p.well(p.examine(db, Options{}))
	})
	p.in("with sql_safe_updates", func(p *patient) {
		account, _ := p.user("safe", grants(probes()[3])...)
		name, _, _ := strings.Cut(strings.Trim(account, "'"), "'")
		db := p.open(params("sql_safe_updates", "1"), func(c *mysql.Config) { c.User = name })
		p.is(bad(about(p.examine(db, Options{}), "privileges"))[0], Warning, "privileges", "may not DELETE on helix_locks")
		db = p.open(params("sql_safe_updates", "1"))
		p.well(about(p.examine(db, Options{}), "privileges"))
	})
	p.in("on a read-only server", func(p *patient) {
		_, db := p.user("replica", grants(probe{})...)
		p.well(p.examine(db, Options{}))
		p.exec("SET GLOBAL read_only = ON")
		found := bad(p.examine(db, Options{}))
		if len(found) != 2 {
			p.Fatalf("findings:\n%s", list(found))
		}
		p.is(found[0], Problem, "writes", "no lock can be acquired")
		p.is(found[1], Note, "privileges", "could not be looked at", "1290")
		p.apply(found[0])
		p.well(p.examine(db, Options{}))
	})
}

func TestQuoteAccount(t *testing.T) {
	for account, want := range map[string]string{
		"app@%":            "'app'@'%'",
		"a@b@10.0.0.1":     "'a@b'@'10.0.0.1'",
		"@localhost":       "''@'localhost'",
		`o'brien\@%`:       "`o'brien\\`@'%'",
		"a`'b@%":           "`a``'b`@'%'",
		"role":             "'role'",
		"'; DROP TABLE x;": "`'; DROP TABLE x;`",
	} {
		if got := quoteAccount(account); got != want {
			t.Errorf("%s: %s, want %s", account, got, want)
		}
	}
}

// A name like that is quoted so that both engines take it.
func testQuotedAccount(p *patient) {
	account := quoteAccount(`o'br\ien@%`)
	p.exec("CREATE USER " + account)
	p.exec("GRANT SELECT ON app.helix_locks TO " + account)
	db := p.open(func(c *mysql.Config) { c.User = `o'br\ien` })
	for _, f := range about(p.examine(db, Options{}), "privileges") {
		p.apply(f)
	}
	p.well(p.examine(db, Options{}))
}

// While the probes' transaction is open others change every row, and every gap.
func TestProbesLockNothing(t *testing.T) {
	onServers(t, func(p *patient) {
		p.migrate()
		isolation := "transaction_isolation"
		if p.isMariaDB() {
			isolation = "tx_isolation"
		}
		row := "INSERT INTO helix_locks VALUES ('%s', '', 1, 0, 0, NOW(), NOW(), NOW(), NOW())"
		for i, level := range []string{"READ-UNCOMMITTED", "READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"} {
			tx, err := p.open(params(isolation, "'"+level+"'")).BeginTx(p.Context(), nil)
			if err != nil {
				p.Fatal(err)
			}
			for _, probe := range probes() {
				result, err := tx.ExecContext(p.Context(), probe.query)
				if err != nil {
					p.Fatal(err)
				}
				if n, err := result.RowsAffected(); err != nil || n != 0 {
					p.Errorf("%s: %d rows, %v", probe.query, n, err)
				}
			}
			other := p.open(params("innodb_lock_wait_timeout", "1"))
			for _, key := range []string{"", "m", "zzz"} {
				p.execOn(other, fmt.Sprintf(row, fmt.Sprint(key, i)))
			}
			p.execOn(other, "UPDATE helix_locks SET epoch = epoch + 1")
			p.execOn(other, "UPDATE helix_lock_floor SET floor_epoch = floor_epoch + 1")
			if !p.isMariaDB() {
				p.count(p.db, "SELECT COUNT(*) FROM performance_schema.data_locks", 0)
			}
			if err := tx.Rollback(); err != nil {
				p.Fatal(err)
			}
		}
	})
}

func (p *patient) count(on interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, query string, want int) {
	p.Helper()
	var got int
	if err := on.QueryRowContext(p.Context(), query).Scan(&got); err != nil || got != want {
		p.Errorf("%s: %d, want %d, error %v", query, got, want, err)
	}
}
