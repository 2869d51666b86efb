package fault

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// through is a pool that reaches the server through a proxy, and one that does not.
func through(t *testing.T, s *servertest.Instance) (p *Proxy, db, direct *sql.DB) {
	t.Helper()
	p, err := NewProxy(s.Config().Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	name := s.EmptyDatabase(t)
	direct = s.Open(t, func(c *mysql.Config) { c.DBName = name })
	if _, err := direct.ExecContext(t.Context(), `CREATE TABLE t (n INT)`); err != nil {
		t.Fatal(err)
	}
	return p, s.Open(t, func(c *mysql.Config) { c.DBName, c.Addr, c.Logger = name, p.Addr(), &mysql.NopLogger{} }), direct
}

// insert inserts a row in a transaction, and returns the error of its COMMIT.
func insert(t *testing.T, db *sql.DB) error {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `INSERT INTO t VALUES (?)`, 1); err != nil {
		t.Fatal(err)
	}
	return tx.Commit()
}

// settled is how many rows there are once no session but ours is left.
func settled(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	for {
		var others int
		if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()`).Scan(&others); err != nil {
			t.Fatal(err)
		}
		if others == 0 {
			break
		}
	}
	if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM t`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCutAtCommit(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		for name, c := range map[string]struct {
			cut  Cut
			rows []int // one of these
		}{
			"before": {Before, []int{0}},
			"half":   {Half, []int{0}},
			"during": {During, []int{0, 1}},
			"after":  {After, []int{1}},
		} {
			t.Run(name, func(t *testing.T) {
				p, db, direct := through(t, s)
				p.Set(Wire{Cuts: []Cut{c.cut}, Percent: 100, Commits: true})
				if err := insert(t, db); !errors.Is(err, mysql.ErrInvalidConn) {
					t.Errorf("COMMIT: %v", err)
				}
				if p.Cuts() != 1 {
					t.Errorf("%d cuts", p.Cuts())
				}
				n := settled(t, direct)
				if n != c.rows[0] && n != c.rows[len(c.rows)-1] {
					t.Errorf("%d rows", n)
				}
				p.Set(Wire{})
				if err := insert(t, db); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	})
}

func TestCutAtAStatement(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		p, db, _ := through(t, s)
		if err := db.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Set(Wire{Cuts: []Cut{Before, After}, Percent: 100})
		if _, err := db.ExecContext(t.Context(), `INSERT INTO t VALUES (1)`); err == nil || p.Cuts() == 0 {
			t.Errorf("%v, %d cuts", err, p.Cuts())
		}
	})
}

// Nothing goes through a silent wire, and nothing ends, until it is dropped.
func TestSilence(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		p, db, _ := through(t, s)
		if err := db.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Set(Wire{Silent: true})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := db.ExecContext(ctx, `DO 1`); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("silent: %v", err)
		}
		failed := make(chan error)
		go func() { _, err := db.ExecContext(t.Context(), `DO 1`); failed <- err }()
		for sessions := 0; sessions == 0; { // until it has connected, or tries to
			p.mu.Lock()
			sessions = len(p.links)
			p.mu.Unlock()
		}
		p.Set(Wire{Delay: time.Millisecond})
		if err := <-failed; err != nil {
			t.Errorf("no longer silent: %v", err)
		}
		p.Drop()
		if _, err := db.ExecContext(t.Context(), `DO 1`); err != nil {
			t.Errorf("after it was dropped: %v", err) // on another connection
		}
	})
}

func TestRetarget(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		p, db, _ := through(t, s)
		p.Retarget("127.0.0.1:1")
		if err := db.PingContext(t.Context()); err == nil {
			t.Error("reached a server where there is none")
		}
		p.Retarget(s.Config().Addr)
		if err := db.PingContext(t.Context()); err != nil || p.Target() != s.Config().Addr {
			t.Errorf("%v at %s", err, p.Target())
		}
	})
}
