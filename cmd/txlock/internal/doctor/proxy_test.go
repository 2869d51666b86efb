package doctor

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// serverConn is a connection of the driver.
type serverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.QueryerContext
	driver.ExecerContext
}

// between is a proxy between a pool and a server: pick gives the connection to the
// server that a statement is sent on, or an error instead of an answer.
type between struct {
	pick func(query string) (serverConn, error)
}

func (b between) Connect(context.Context) (driver.Conn, error) { return b, nil }
func (b between) Driver() driver.Driver                        { return mysql.MySQLDriver{} }
func (b between) Prepare(string) (driver.Stmt, error)          { return nil, errors.New("not prepared") }
func (b between) Begin() (driver.Tx, error)                    { return nil, errors.New("BeginTx") }
func (b between) Close() error                                 { return nil } // the real ones are the test's

func (b between) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	conn, err := b.pick("BEGIN")
	if err != nil {
		return nil, err
	}
	return conn.BeginTx(ctx, opts)
}

func (b between) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	conn, err := b.pick(query)
	if err != nil {
		return nil, err
	}
	return conn.QueryContext(ctx, query, args)
}

func (b between) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	conn, err := b.pick(query)
	if err != nil {
		return nil, err
	}
	return conn.ExecContext(ctx, query, args)
}

func (p *patient) connector() driver.Connector {
	p.Helper()
	config := p.server.Config()
	config.DBName, config.InterpolateParams = p.name, true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		p.Fatal(err)
	}
	return connector
}

func (p *patient) connect() serverConn {
	p.Helper()
	opened, err := p.connector().Connect(p.Context())
	if err != nil {
		p.Fatal(err)
	}
	conn, ok := opened.(serverConn)
	if !ok {
		p.Fatalf("%T", opened)
	}
	p.Cleanup(func() { _ = conn.Close() }) // a test may have lost it
	return conn
}

func (p *patient) pool(connector driver.Connector) *sql.DB {
	p.Helper()
	db := sql.OpenDB(connector)
	p.Cleanup(func() {
		if err := db.Close(); err != nil {
			p.Error(err)
		}
	})
	return db
}

// through is a pool of one real connection, where refuse may answer for the server.
func (p *patient) through(refuse func(query string) error) *sql.DB {
	p.Helper()
	conn := p.connect()
	return p.pool(between{func(query string) (serverConn, error) { return conn, refuse(query) }})
}

// connectFunc is a connector.
type connectFunc func(context.Context) (driver.Conn, error)

func (f connectFunc) Connect(ctx context.Context) (driver.Conn, error) { return f(ctx) }
func (f connectFunc) Driver() driver.Driver                            { return mysql.MySQLDriver{} }

func (p *patient) namedLocks(db *sql.DB) Finding {
	p.Helper()
	found := about(p.examine(db, Options{}), "named-locks")
	if len(found) != 1 {
		p.Fatalf("findings:\n%s", list(found))
	}
	return found[0]
}

func TestNamedLocks(t *testing.T) {
	var elsewhere driver.Connector
	onServers(t, func(p *patient) {
		p.in("no proxy", func(p *patient) {
			p.is(p.namedLocks(p.db), OK, "named-locks", "keeps another one out")
		})
		p.in("a pool of one", func(p *patient) {
			db := p.open()
			db.SetMaxOpenConns(1)
			p.is(p.namedLocks(db), Note, "named-locks", "SetMaxOpenConns")
		})
		p.in("no second connection", func(p *patient) {
			connects := 0
			p.is(p.namedLocks(p.pool(connectFunc(func(ctx context.Context) (driver.Conn, error) {
				if connects++; connects > 1 {
					return nil, &mysql.MySQLError{Number: 1040, Message: "Too many connections"}
				}
				return p.connector().Connect(ctx)
			}))), Note, "named-locks", "Too many connections")
		})
		p.in("one for all", func(p *patient) {
			conn := p.connect()
			f := p.namedLocks(p.pool(between{func(string) (serverConn, error) { return conn, nil }}))
			p.is(f, Warning, "named-locks", "are one in the server")
			if f.Cure[:len(leaseLock)] != leaseLock {
				p.Errorf("cure: %s", f.Cure)
			}
			p.releasesNothing(conn)
		})
		p.in("several for one", func(p *patient) {
			conns := []serverConn{p.connect(), p.connect()}
			turn := 0
			p.is(p.namedLocks(p.pool(between{func(string) (serverConn, error) {
				turn++
				return conns[turn%2], nil
			}})), Warning, "named-locks", "through several")
			p.releasesNothing(conns...)
		})
		p.in("refused", func(p *patient) {
			f := p.namedLocks(p.through(func(query string) error {
				if query == queryGetLock || query == queryReleaseLock {
					return &mysql.MySQLError{Number: 1235, Message: "This version of MariaDB doesn't yet support 'GET_LOCK in cluster (WSREP_ON=ON)'"}
				}
				return nil
			}))
			p.is(f, Warning, "named-locks", "do not work here", "WSREP_ON")
			if f.Cure != leaseLock {
				p.Errorf("cure: %s", f.Cure)
			}
		})
		p.in("several servers", func(p *patient) {
			p.name = "" // they have no other in common
			if elsewhere == nil {
				elsewhere = p.connector()
				return // the next engine's test takes both
			}
			here, connects := p.connector(), 0
			f := p.namedLocks(p.pool(connectFunc(func(ctx context.Context) (driver.Conn, error) {
				if connects++; connects%2 == 0 {
					return elsewhere.Connect(ctx)
				}
				return here.Connect(ctx)
			})))
			p.is(f, Warning, "named-locks", "reach different servers", "locks may go to the other")
		})
	})
}

// releasesNothing fails where a connection still has a named lock.
func (p *patient) releasesNothing(conns ...serverConn) {
	p.Helper()
	for _, conn := range conns {
		db := p.pool(between{func(string) (serverConn, error) { return conn, nil }})
		p.count(db, "SELECT RELEASE_ALL_LOCKS()", 0)
	}
}

func TestJudgeNamedLocks(t *testing.T) {
	mine, theirs := look{7, 7}, look{8, 7}
	for name, c := range map[string]struct {
		seen  lockSeen
		level Level
		words string
	}{
		"well":           {lockSeen{granted: 1, first: []look{mine}, second: []look{theirs}}, OK, "no proxy"},
		"refused":        {lockSeen{granted: -1}, Warning, "refused (GET_LOCK answered -1)"},
		"granted twice":  {lockSeen{granted: 1, first: []look{mine}, second: []look{theirs}, grantedBeside: 1}, Warning, "another's, too"},
		"nobody has it":  {lockSeen{granted: 1, first: []look{mine, {7, 0}}, second: []look{theirs}}, Warning, "nobody's"},
		"changed later":  {lockSeen{granted: 1, first: []look{mine, {9, 7}}, second: []look{theirs}}, Warning, "through several"},
		"second changes": {lockSeen{granted: 1, first: []look{mine}, second: []look{theirs, {9, 7}}}, Warning, "through several"},
		"servers":        {lockSeen{granted: 1, first: []look{mine}, firstServer: "a:1", second: []look{{7, 0}}, secondServer: "b:1", grantedBeside: 1}, Warning, "different servers, a:1 and b:1"},
		"alone":          {lockSeen{granted: 1, first: []look{mine}, alone: errors.New("none")}, Note, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			f := judgeNamedLocks(c.seen)
			wellSaid(t, f)
			(&patient{T: t}).is(f, c.level, "named-locks", c.words)
		})
	}
}
