package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Options say what is known already.
type Options struct {
	// MultiWriter says that programs use txlock.WithMultiWriter, SingleWriter that they
	// use txlock.WithSingleWriter; not both.
	MultiWriter, SingleWriter bool

	// Config is the pool's; it may be nil, and is only read.
	Config *mysql.Config
}

// patience is how long one check may take. A statement that reads a table waits
// for as long as another session has it locked or changes it, by default for days.
const patience = 10 * time.Second

// tidyPatience is how long it may take to give back a lock or to roll back.
const tidyPatience = 5 * time.Second

// Examine looks at the database of db, and returns what it finds, in the order of
// the subjects in the package's documentation.
//
// It changes nothing, and leaves nothing on the connections of db, of which it uses
// two at a time where the pool has them. (With autocommit off it ends what a
// connection has open, as it could not tell it from its own.)
//
// A check that cannot be made is a finding. The error says that the server cannot
// be talked to at all, or that ctx has ended; then the findings are those until then.
func Examine(ctx context.Context, db *sql.DB, o Options) ([]Finding, error) {
	if db == nil {
		return nil, errors.New("doctor: no *sql.DB: give the pool of the database to look at")
	}
	e := &examination{db: db, options: o, patience: patience}
	if err := e.on(ctx, func(ctx context.Context, conn *sql.Conn) (err error) {
		if err := conn.PingContext(ctx); err != nil {
			return err
		}
		e.settings, e.settingsErr = readSettings(ctx, conn)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("doctor: nothing could be looked at, as the server cannot be talked to: see that it runs, and that address, user and password are right: %w", err)
	}
	if e.settingsErr == nil {
		// First, as two other checks ask what came of it.
		e.access = e.readAccess(ctx)
	}
	var findings []Finding
	for _, check := range []func(context.Context) []Finding{
		e.version, e.tables, e.isolation, e.durability, e.waiting, e.statements, e.writes, e.cluster, e.clock, e.namedLocks, e.privileges,
	} {
		found := check(ctx)
		if err := ctx.Err(); err != nil {
			return findings, fmt.Errorf("doctor: stopped before the end: %w", err)
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

// examination is one under way.
type examination struct {
	db       *sql.DB
	options  Options
	patience time.Duration

	settings    settings
	settingsErr error
	access      access
}

// on runs look with a connection of the pool, which it gives back as it was.
func (e *examination) on(ctx context.Context, look func(context.Context, *sql.Conn) error) (err error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, e.patience)
	defer cancel()
	conn, err := e.db.Conn(ctx)
	if err == nil {
		err = e.with(ctx, conn, look)
	}
	return e.impatient(parent, err)
}

// with is on with a connection that is there, and gives it back.
func (e *examination) with(ctx context.Context, conn *sql.Conn, look func(context.Context, *sql.Conn) error) (err error) {
	defer func() {
		if closeErr := conn.Close(); !errors.Is(closeErr, sql.ErrConnDone) { // lost, which look was told
			err = errors.Join(err, closeErr)
		}
	}()
	err = look(ctx, conn)
	if rollbackErr := e.rollback(ctx, conn); err == nil { // else err says more
		err = rollbackErr
	}
	return err
}

// rollback ends what statements have begun where autocommit is off, whatever has
// become of ctx.
func (e *examination) rollback(ctx context.Context, on interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}) error {
	if autocommit, ok := e.settings.session["autocommit"]; !ok || isOn(autocommit) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyPatience)
	defer cancel()
	_, err := on.ExecContext(ctx, queryRollback)
	return err
}

// onPool is on for what wants a pool.
func (e *examination) onPool(ctx context.Context, look func(context.Context) error) (err error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, e.patience)
	defer cancel()
	err = look(ctx)
	// The pool gives the connection that it got back last.
	if rollbackErr := e.rollback(ctx, e.db); err == nil {
		err = rollbackErr
	}
	return e.impatient(parent, err)
}

// impatient explains that we, not the caller, have given up.
func (e *examination) impatient(parent context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && parent.Err() == nil {
		return fmt.Errorf("there was no answer within %v: another session may have the tables locked (LOCK TABLES, ALTER TABLE: see SHOW PROCESSLIST), or the pool or the server may have no connection left: %w", e.patience, err)
	}
	return err
}

// judged is what a judge finds in the settings, or that there are none.
func (e *examination) judged(subject, what string, judge func(settings) []Finding) []Finding {
	if e.settingsErr != nil {
		return []Finding{unseen(subject, what, e.settingsErr)}
	}
	return judge(e.settings)
}
