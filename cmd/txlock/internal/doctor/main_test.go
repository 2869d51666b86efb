package doctor

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// patient is a test with a database of its own to look at.
type patient struct {
	*testing.T
	server *servertest.Instance
	name   string
	db     *sql.DB // as root
}

// wellArgs are those of a server about which there is nothing to say.
func wellArgs() []string {
	return []string{"--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1", "--log-bin=binlog", "--innodb-lock-wait-timeout=10", "--wait-timeout=600"}
}

// onFresh gives a test servers that it may change, in a migrated database.
func onFresh(t *testing.T, test func(p *patient), args ...string) {
	t.Helper()
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		fresh := s.Fresh(t, append(wellArgs(), args...)...)
		p := &patient{T: t, server: fresh, name: "app"}
		admin := fresh.Open(t, func(c *mysql.Config) { c.DBName = "" })
		if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE app"); err != nil {
			t.Fatal(err)
		}
		p.db = p.open()
		p.migrate()
		test(p)
	})
}

// onServers gives a test an empty database of servers that it must not change.
func onServers(t *testing.T, test func(p *patient)) {
	t.Helper()
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		p := &patient{T: t, server: s, name: s.EmptyDatabase(t)}
		p.db = p.open()
		test(p)
	})
}

// in is p in a subtest.
func (p *patient) in(name string, test func(p *patient)) {
	p.Helper()
	p.Run(name, func(t *testing.T) {
		inner := *p
		inner.T = t
		test(&inner)
	})
}

func (p *patient) open(opts ...func(*mysql.Config)) *sql.DB {
	p.Helper()
	return p.server.Open(p.T, append([]func(*mysql.Config){func(c *mysql.Config) { c.DBName = p.name }}, opts...)...)
}

// params is for sessions that start with a variable set.
func params(name, value string) func(*mysql.Config) {
	return func(c *mysql.Config) { c.Params = map[string]string{name: value} }
}

func (p *patient) migrate() {
	p.Helper()
	if _, err := migrations.Up(p.Context(), p.db); err != nil {
		p.Fatal(err)
	}
}

func (p *patient) exec(query string) { p.Helper(); p.execOn(p.db, query) }

func (p *patient) execOn(db *sql.DB, query string) {
	p.Helper()
	if _, err := db.ExecContext(p.Context(), query); err != nil {
		p.Fatalf("%s: %v", query, err)
	}
}

func (p *patient) isMariaDB() bool { return p.server.Engine == "mariadb" }

func (p *patient) examine(db *sql.DB, o Options) []Finding {
	p.Helper()
	findings, err := Examine(p.Context(), db, o)
	if err != nil {
		p.Fatal(err)
	}
	for _, f := range findings {
		wellSaid(p.T, f)
	}
	return findings
}

// wellSaid holds a finding against what is promised of all.
func wellSaid(t *testing.T, f Finding) {
	t.Helper()
	if f.Text == "" || f.Subject == "" || (f.Level == OK) != (f.Cure == "") || strings.Contains(f.Text+f.Cure, "%!") || strings.Contains(f.Text, "\n") {
		t.Errorf("badly said: %+v", f)
	}
}

// bad are the findings that are not ok.
func bad(findings []Finding) (found []Finding) {
	for _, f := range findings {
		if f.Level != OK {
			found = append(found, f)
		}
	}
	return found
}

func about(findings []Finding, subject string) (found []Finding) {
	for _, f := range findings {
		if f.Subject == subject {
			found = append(found, f)
		}
	}
	return found
}

// one is the only finding that is not ok, which has to be of this level and subject,
// and to say the words.
func (p *patient) one(findings []Finding, level Level, subject string, words ...string) Finding {
	p.Helper()
	found := bad(findings)
	if len(found) != 1 {
		p.Fatalf("findings:\n%s", list(found))
	}
	p.is(found[0], level, subject, words...)
	return found[0]
}

func (p *patient) is(f Finding, level Level, subject string, words ...string) {
	p.Helper()
	if f.Level != level || f.Subject != subject {
		p.Errorf("%s %s, want %s %s: %s", f.Level, f.Subject, level, subject, f.Text)
	}
	for _, word := range words {
		if !strings.Contains(f.Text, word) {
			p.Errorf("%q is not in: %s", word, f.Text)
		}
	}
}

func (p *patient) well(findings []Finding) {
	p.Helper()
	if found := bad(findings); len(found) > 0 {
		p.Errorf("findings:\n%s", list(found))
	}
}

func list(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%-8s %s: %s\n", f.Level, f.Subject, f.Text)
		if f.Cure != "" {
			fmt.Fprintf(&b, "         -> %s\n", f.Cure)
		}
	}
	return b.String()
}

var statement = regexp.MustCompile(`\b(SET|GRANT|DROP|ALTER|INSERT|START) [^;]*;`)

// apply runs the SQL of a cure.
func (p *patient) apply(f Finding) {
	p.Helper()
	statements := statement.FindAllString(f.Cure, -1)
	if len(statements) == 0 {
		p.Fatalf("no SQL: %s", f.Cure)
	}
	for _, s := range statements {
		p.exec(s)
	}
}

// user makes one without privileges but that to connect, and a pool of it.
func (p *patient) user(name string, grants ...string) (account string, db *sql.DB) {
	p.Helper()
	name += strings.ToLower(rand.Text()[:6])
	account = quoteAccount(name + "@%")
	p.exec("CREATE USER " + account)
	p.exec("GRANT CREATE TEMPORARY TABLES ON " + p.name + ".* TO " + account) // or it may not use the database
	for _, grant := range grants {
		p.exec(grant + " TO " + account)
	}
	return account, p.open(func(c *mysql.Config) { c.User = name })
}
