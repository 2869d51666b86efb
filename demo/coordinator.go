package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// coordinator runs the demo: it brings up what the workers need, starts them,
// disturbs them, and audits what they leave.
type coordinator struct {
	options
	out     io.Writer
	root    string // of the repository
	payouts []payout
	config  *mysql.Config // of the demo's database
	db      *sql.DB
}

func runDemo(ctx context.Context, out *os.File, o options) (err error) {
	c := &coordinator{options: o, out: out}
	if c.root, err = testserver.Root(); err != nil {
		return err
	}
	if c.file == "" {
		c.file = filepath.Join(c.root, "testdata", "payouts.csv")
	}
	if c.payouts, err = readPayoutsFile(c.file); err != nil {
		return err
	}
	c.introduce()

	server, err := c.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if server.Ours() {
			c.step("clean up", "stopping the server and removing its data")
		}
		err = errors.Join(err, cleanupFailed(server.Stop()))
	}()
	dropDatabase, err := c.createDatabase(ctx, server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanupFailed(dropDatabase())) }()

	if c.db, err = openDB(c.config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.db.Close()) }()
	if err := c.prepare(ctx); err != nil {
		return err
	}
	result, err := c.post(ctx, out)
	if err != nil {
		return err
	}
	return c.report(ctx, result)
}

// step says what is done, so that nobody has to wonder where the time goes.
func (c *coordinator) step(name, format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, "%-9s %s\n", name, fmt.Sprintf(format, args...))
}

func (c *coordinator) introduce() {
	how := "each protected by gox-helix"
	if c.unprotect {
		how = "WITHOUT gox-helix"
	}
	c.step("demo", "%s payouts, posted by %d worker processes, %s", thousands(int64(len(c.payouts))), c.workers, how)
	_, _ = fmt.Fprintf(c.out, "%9s %s\n", "", c.file)
}

func (c *coordinator) startServer(ctx context.Context) (*testserver.Server, error) {
	if os.Getenv(testserver.DSNVariable) == "" {
		c.step("server", "starting a private one (it may have to be downloaded first)")
	}
	o := testserver.Options{
		Install: true,
		Logf: func(format string, args ...any) {
			_, _ = fmt.Fprintf(c.out, "%9s %s\n", "", strings.TrimPrefix(fmt.Sprintf(format, args...), "testserver: "))
		},
	}
	var server *testserver.Server
	var err error
	if c.engine != "" {
		server, err = testserver.Start(ctx, c.engine, o)
	} else {
		server, err = testserver.StartAny(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	where := "private"
	if !server.Ours() {
		where = "named by " + testserver.DSNVariable
	}
	c.step("server", "%s %s at %s, %s", server.Engine, server.Version, server.Config().Addr, where)
	return server, nil
}

func databaseName() string { return fmt.Sprintf("txlock_demo_%d", os.Getpid()) }

// createDatabase creates a database for this run, and returns what drops it.
func (c *coordinator) createDatabase(ctx context.Context, server *testserver.Server) (drop func() error, err error) {
	name := databaseName()
	c.config = server.Config()
	c.config.DBName = ""
	admin, err := openDB(c.config)
	if err != nil {
		return nil, err
	}
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4"); err != nil {
		return nil, errors.Join(fmt.Errorf("creating the database %s: %w", name, err), admin.Close())
	}
	c.config.DBName = name
	return func() error {
		// Also after Ctrl-C, so not under the context of the run.
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if !server.Ours() {
			c.step("clean up", "dropping the database %s", name)
		}
		_, err := admin.ExecContext(ctx, "DROP DATABASE "+name)
		if err != nil {
			err = fmt.Errorf("dropping the database %s: %w: drop it by hand", name, err)
		}
		return errors.Join(err, admin.Close())
	}, nil
}

func (c *coordinator) prepare(ctx context.Context) error {
	var flush, binlog int
	if err := c.db.QueryRowContext(ctx, "SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog").Scan(&flush, &binlog); err != nil {
		return fmt.Errorf("asking the server how it commits: %w", err)
	}
	c.step("database", "%s, innodb_flush_log_at_trx_commit = %d, sync_binlog = %d", c.config.DBName, flush, binlog)
	if c.unprotect {
		c.step("migrate", "nothing: without the library, there are no locks to make tables for")
	} else {
		c.step("migrate", "goose up (its first run compiles goose)")
		if err := c.migrate(ctx); err != nil {
			return err
		}
	}
	if err := createLedger(ctx, c.db); err != nil {
		return err
	}
	chunks, accounts, err := loadPayouts(ctx, c.db, c.payouts, c.chunk)
	if err != nil {
		return err
	}
	c.step("load", "%s payouts to %d accounts, in %d chunks of %d", thousands(int64(len(c.payouts))), accounts, chunks, c.chunk)
	return nil
}

// migrate creates the library's tables with the stock goose command, as a
// deployment would.
func (c *coordinator) migrate(ctx context.Context) error {
	out, err := testserver.Goose(ctx, c.root, c.config.FormatDSN(), "up")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "OK ") || strings.Contains(line, "migrated") {
			_, _ = fmt.Fprintf(c.out, "%9s %s\n", "", strings.TrimSpace(line))
		}
	}
	return nil
}

// result is what a run left, apart from the ledger.
type result struct {
	took   time.Duration
	tally  tally
	faults faultCounts
}

// post runs the workers until all payouts are posted, and disturbs them.
func (c *coordinator) post(ctx context.Context, out *os.File) (result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	bar := newProgress(out, len(c.payouts))
	defer bar.end()
	var posted atomic.Int64
	s := &saboteur{
		db: c.db, ttl: c.ttl, posted: &posted, total: len(c.payouts),
		say:       func(format string, args ...any) { bar.line("  * " + fmt.Sprintf(format, args...)) },
		abandoned: make(map[int]abandoned),
	}
	s.fleet = newFleet(ctx, workerConfig{DSN: c.config.FormatDSN(), TTL: c.ttl, Unprotect: c.unprotect}, s.claimed)
	defer s.fleet.killAll()

	c.step("post", "lease TTL %s; %d workers will be killed, %d paused", c.ttl, c.kills, map[bool]int{true: 1}[c.pause])
	began := time.Now()
	for range c.workers {
		if _, err := s.fleet.start(); err != nil {
			return result{}, err
		}
	}
	var faultsErr error
	faultsDone := make(chan struct{})
	go func() {
		defer close(faultsDone)
		faultsErr = s.run(ctx, planFaults(c.kills, c.pause, c.unprotect))
	}()

	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		n, err := countPosted(ctx, c.db)
		if err != nil {
			return false, err
		}
		posted.Store(int64(n))
		bar.set(n)
		select {
		case <-faultsDone:
			if faultsErr != nil {
				return false, faultsErr
			}
		default:
			return false, s.fleet.err()
		}
		return !s.fleet.alive(), s.fleet.err()
	})
	took := time.Since(began)
	if err != nil {
		cancel()
		<-faultsDone
		return result{}, err
	}
	n, err := countPosted(ctx, c.db)
	if err != nil {
		return result{}, err
	}
	bar.set(n)
	return result{took: took, tally: s.fleet.tally(), faults: s.counts}, nil
}
