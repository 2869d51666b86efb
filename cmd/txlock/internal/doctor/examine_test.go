package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

func TestLevel(t *testing.T) {
	var all []string
	for l := range Level(5) {
		all = append(all, l.String())
	}
	if got := strings.Join(all, ", "); got != "ok, note, warning, problem, level 4" {
		t.Error(got)
	}
}

// subjects are those of the package's documentation, in their order.
func subjects() []string {
	return []string{"version", "tables", "isolation", "durability", "waiting", "statements", "writes", "cluster", "clock", "named-locks", "privileges"}
}

func TestEverySubject(t *testing.T) {
	onServers(t, func(p *patient) {
		p.migrate()
		var got []string
		for _, f := range p.examine(p.db, Options{}) {
			got = append(got, f.Subject)
		}
		if got := slices.Compact(got); !slices.Equal(got, subjects()) {
			p.Errorf("subjects %s", got)
		}
	})
}

// Whatever the DSN and the pool: no row is changed, and no lock, transaction or
// variable is left.
func TestLeavesNothing(t *testing.T) {
	const session = `SELECT CONCAT_WS('|', @@sql_mode, @@autocommit, @@time_zone, @@innodb_lock_wait_timeout, @@sql_safe_updates, @@character_set_client, COALESCE(@x, ''), DATABASE())`
	for name, open := range map[string]func(*mysql.Config){
		"defaults":      func(*mysql.Config) {},
		"interpolate":   func(c *mysql.Config) { c.InterpolateParams = true },
		"parse time":    func(c *mysql.Config) { c.ParseTime = true; c.Loc = time.FixedZone("x", 3600); c.ClientFoundRows = true },
		"no autocommit": func(c *mysql.Config) { c.Params = map[string]string{"autocommit": "0", "time_zone": "'-05:00'"} },
		"ansi":          func(c *mysql.Config) { c.Params = map[string]string{"sql_mode": "'ANSI,NO_BACKSLASH_ESCAPES'"} },
	} {
		for _, connections := range []int{1, 2, 3} {
			t.Run(fmt.Sprint(name, " ", connections), func(t *testing.T) {
				onServers(t, func(p *patient) {
					p.migrate()
					p.exec("INSERT INTO helix_locks VALUES ('', 'o', 1, 1, 1, NOW(), NOW(), NOW(), NOW()), ('k', 'o', 3, 2, 0, NOW(), NOW(), NOW(), NOW())")
					before := p.rows()
					db := p.open(open)
					db.SetMaxOpenConns(connections)
					db.SetMaxIdleConns(connections)
					ask := func(on interface {
						QueryRowContext(context.Context, string, ...any) *sql.Row
					}, query string) (answer string) {
						p.Helper()
						if err := on.QueryRowContext(p.Context(), query).Scan(&answer); err != nil {
							p.Fatal(err)
						}
						return answer
					}
					p.examine(db, Options{})
					if !p.isMariaDB() {
						p.count(p.db, `SELECT COUNT(*) FROM performance_schema.events_transactions_current JOIN performance_schema.threads USING (thread_id)
							WHERE state = 'ACTIVE' AND processlist_db = DATABASE() AND processlist_id <> CONNECTION_ID()`, 0)
					}
					idle := db.Stats().OpenConnections
					if idle < min(2, connections) {
						p.Errorf("%d connections are left", idle)
					}
					fresh := ask(p.open(open), session)
					for range idle {
						conn, err := db.Conn(p.Context())
						if err != nil {
							p.Fatal(err)
						}
						defer func() {
							if err := conn.Close(); err != nil {
								p.Error(err)
							}
						}()
						if p.isMariaDB() {
							p.count(conn, "SELECT @@in_transaction", 0)
						}
						p.count(conn, "SELECT RELEASE_ALL_LOCKS()", 0)
						if got := ask(conn, session); got != fresh {
							p.Errorf("session %s, want %s", got, fresh)
						}
					}
					if after := p.rows(); after != before {
						p.Errorf("rows\n%s\nwere\n%s", after, before)
					}
				})
			})
		}
	}
}

// rows tells when anything has changed in the tables.
func (p *patient) rows() (sums string) {
	p.Helper()
	rows, err := p.db.QueryContext(p.Context(), "CHECKSUM TABLE helix_locks, helix_lock_floor, helix_goose_db_version")
	if err != nil {
		p.Fatal(err)
	}
	defer func() {
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			p.Error(err)
		}
	}()
	for rows.Next() {
		var table, sum string
		if err := rows.Scan(&table, &sum); err != nil {
			p.Fatal(err)
		}
		sums += table + " " + sum + "\n"
	}
	return sums
}

func TestErrors(t *testing.T) {
	if _, err := Examine(t.Context(), nil, Options{}); err == nil || !strings.Contains(err.Error(), "no *sql.DB") {
		t.Errorf("nil: %v", err)
	}
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		db := s.Open(t, func(c *mysql.Config) { c.User, c.Passwd = "nobody", "wrong" })
		if findings, err := Examine(t.Context(), db, Options{}); findings != nil || err == nil || !strings.Contains(err.Error(), "cannot be talked to") {
			t.Errorf("%v, error %v", findings, err)
		}
	})
}

func testKilledServer(p *patient) {
	if err := p.server.Kill(); err != nil {
		p.Fatal(err)
	}
	if findings, err := Examine(p.Context(), p.db, Options{}); findings != nil || err == nil || !strings.Contains(err.Error(), "cannot be talked to") {
		p.Errorf("%v, error %v", findings, err)
	}
}

// Who stops gets what was found until then.
func TestStopped(t *testing.T) {
	onServers(t, func(p *patient) {
		ctx, cancel := context.WithCancel(p.Context())
		defer cancel()
		db := p.through(func(query string) error {
			if query == queryOlderTable {
				cancel()
			}
			return nil
		})
		findings, err := Examine(ctx, db, Options{})
		if !errors.Is(err, context.Canceled) || len(findings) != 1 || findings[0].Subject != "version" {
			p.Errorf("error %v, findings:\n%s", err, list(findings))
		}
		if findings, err := Examine(ctx, p.db, Options{}); !errors.Is(err, context.Canceled) || len(findings) > 0 {
			p.Errorf("error %v, findings:\n%s", err, list(findings))
		}
	})
}

// Whatever statement fails, the others are sent, and what could not be looked at is
// said.
func TestEachStatementFails(t *testing.T) {
	onServers(t, func(p *patient) {
		p.migrate()
		for query, subject := range map[string]string{
			querySessionVariables: "version", queryGlobalVariables: "isolation", queryClusterStatus: "cluster", queryIdentity: "privileges",
			queryServer: "named-locks", queryOlderTable: "tables", queryClock: "clock",
			queryGetLock: "named-locks", queryLockHolder: "named-locks", queryReleaseLock: "named-locks",
			"BEGIN": "privileges", probeSelectLocks: "privileges", probeUpdateFloor: "privileges",
		} {
			for _, failure := range []error{&mysql.MySQLError{Number: 1105, Message: "so it failed"}, mysql.ErrInvalidConn} {
				findings := p.examine(p.through(func(q string) error {
					if q == query {
						return failure
					}
					return nil
				}), Options{})
				found := bad(about(findings, subject))
				if len(found) == 0 || !slices.ContainsFunc(found, func(f Finding) bool { return strings.Contains(f.Text, failure.Error()) }) && query != queryReleaseLock {
					p.Errorf("%s: %v: findings:\n%s", query, failure, list(findings))
				}
			}
		}
	})
}

// A table that another session has locked does not keep us for long.
func TestImpatience(t *testing.T) {
	onServers(t, func(p *patient) {
		p.migrate()
		conn, err := p.db.Conn(p.Context())
		if err != nil {
			p.Fatal(err)
		}
		defer func() {
			if err := conn.Close(); err != nil {
				p.Error(err)
			}
		}()
		if _, err := conn.ExecContext(p.Context(), "LOCK TABLES helix_locks WRITE"); err != nil {
			p.Fatal(err)
		}
		e := &examination{db: p.open(), patience: 50 * time.Millisecond}
		found := judgePrivileges(settings{account: "app@%"}, e.readAccess(p.Context()))
		p.one(found, Note, "privileges", "app@%", "no answer within 50ms", "SHOW PROCESSLIST")
		if _, err := conn.ExecContext(p.Context(), "UNLOCK TABLES"); err != nil {
			p.Fatal(err)
		}
	})
}

// The server's clock can be set for a session.
func TestClock(t *testing.T) {
	onServers(t, func(p *patient) {
		clock := func(opts ...func(*mysql.Config)) Finding {
			p.Helper()
			return about(p.examine(p.open(opts...), Options{}), "clock")[0]
		}
		at := func(ahead time.Duration) func(*mysql.Config) {
			return params("timestamp", fmt.Sprint(time.Now().Add(ahead).Unix()))
		}
		p.is(clock(), OK, "clock", "differ by no more than")
		p.is(clock(func(c *mysql.Config) {
			c.ParseTime, c.Loc = true, time.FixedZone("x", 3600)
			c.Params = map[string]string{"time_zone": "'-05:00'"}
		}), OK, "clock")
		p.is(clock(at(30*time.Second)), Note, "clock", "ahead of this machine's", "no two machines' clocks")
		p.is(clock(at(-30*time.Second)), Note, "clock", "behind this machine's")
		p.is(clock(at(-time.Hour)), Warning, "clock", "behind this machine's")
	})
}

func TestJudgeClock(t *testing.T) {
	for _, c := range []struct {
		ahead, trip time.Duration
		level       Level
		words       string
	}{
		{0, 0, OK, "no more than 1ms"},
		{900 * time.Millisecond, 4 * time.Millisecond, OK, "no more than 903ms"},
		{1400 * time.Millisecond, time.Second, OK, "no more than 1.901s"}, // as far as that can be told
		{1600 * time.Millisecond, time.Second, Note, "1.6s ahead of"},
		{-90 * time.Second, 0, Warning, "1m30s behind"},
	} {
		f := judgeClock(reading{c.ahead, c.trip})
		wellSaid(t, f)
		(&patient{T: t}).is(f, c.level, "clock", c.words)
	}
}
