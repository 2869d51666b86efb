package round

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/proof/fault"
	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/proof/load"
)

const (
	pollInterval  = 20 * time.Millisecond
	loadPatience  = 60 * time.Second // for the least load, before and after a fault
	quietPatience = 30 * time.Second // for the server to see that all connections have ended
)

// Run runs a round. An error says that it could not be run, or that it does not
// count; what is wrong with the library is in the result.
func Run(ctx context.Context, servers Servers, p Plan) (_ *Result, err error) {
	began := time.Now()
	if p.Logf == nil {
		p.Logf = func(string, ...any) {}
	}
	if p.Program == "" {
		if p.Program, err = self(); err != nil {
			return nil, err
		}
	}
	if p.Dir == "" {
		p.Dir, err = os.MkdirTemp("", "txlock-proof-")
	} else {
		err = os.MkdirAll(p.Dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("a directory for the history: %w", err)
	}

	f := &field{
		Plan: p, servers: servers, rand: rand.New(rand.NewPCG(p.Seed, 0)), note: p.Logf,
		database: fmt.Sprintf("proof_%d_%d", os.Getpid(), time.Now().UnixMicro()),
	}
	r := &Result{Engine: servers.Name(), Version: servers.Version(), Fault: p.Fault.Name, Known: p.Fault.Known, Seed: p.Seed}
	if err := f.prepare(ctx); err != nil {
		return nil, fmt.Errorf("preparing: %w", err)
	}
	defer func() {
		dropped := withAdmin(context.WithoutCancel(ctx), servers, "", func(db *sql.DB) error {
			_, err := db.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE "+f.database)
			return err
		})
		if err == nil && dropped != nil {
			err = fmt.Errorf("dropping the database: %w", dropped)
		}
	}()
	if err := f.run(ctx, r); err != nil {
		return nil, fmt.Errorf("%w (its history is in %s)", err, p.Dir)
	}
	if err := f.judge(ctx, r); err != nil {
		return nil, fmt.Errorf("judging: %w (its history is in %s)", err, p.Dir)
	}
	if len(r.Findings) > 0 {
		r.Dir = p.Dir
	} else if err := os.RemoveAll(p.Dir); err != nil {
		return nil, fmt.Errorf("removing the history: %w", err)
	}
	r.Took = time.Since(began)
	return r, nil
}

// prepare makes the database, with the locks' tables and those of the business.
func (f *field) prepare(ctx context.Context) error {
	if err := withAdmin(ctx, f.servers, "", func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "CREATE DATABASE "+f.database)
		return err
	}); err != nil {
		return err
	}
	return withAdmin(ctx, f.servers, f.database, func(db *sql.DB) error {
		if _, err := migrations.Up(ctx, db); err != nil {
			return err
		}
		for _, ddl := range load.Schema {
			if _, err := db.ExecContext(ctx, ddl); err != nil {
				return err
			}
		}
		return nil
	})
}

// run runs the load and the fault.
func (f *field) run(ctx context.Context, r *Result) (err error) {
	writers, err := f.servers.Writers(ctx)
	if err != nil {
		return err
	}
	f.crew = &crew{program: f.Program, dir: f.Dir}
	defer func() {
		if killed := f.crew.stop(3 * f.Patience); killed > 0 {
			f.note("%d workers did not end by themselves", killed)
		}
		r.Cuts = f.cuts()
		for _, p := range f.proxies {
			err = errors.Join(err, p.Close())
		}
		err = errors.Join(err, f.crew.err(), f.quiet(context.WithoutCancel(ctx)))
	}()
	start := history.Now()
	for place := range f.Workers {
		p, err := fault.NewProxy(f.address(writers[place%len(writers)]))
		if err != nil {
			return err
		}
		f.proxies = append(f.proxies, p)
		if err := f.crew.start(place, f.worker(place, p.Addr(), start)); err != nil {
			return err
		}
	}

	if r.Before, err = f.loaded(ctx, "before", 0, f.Before); err != nil {
		return err
	}
	f.note("the fault begins")
	during, stop := context.WithTimeout(ctx, f.During)
	defer stop()
	if f.Fault.act != nil {
		if err := f.Fault.act(during, f); err != nil {
			return fmt.Errorf("the fault %s: %w", f.Fault.Name, err)
		}
	}
	<-during.Done()
	f.note("the fault ends")
	r.During = f.crew.acknowledged() - r.Before
	r.After, err = f.loaded(ctx, "after", r.Before+r.During, f.After)
	return err
}

// worker is the configuration of the worker in a place.
func (f *field) worker(place int, address string, start int64) load.Config {
	config := f.servers.Config(0).Clone()
	config.Addr, config.DBName = address, f.database
	config.ReadTimeout = 2 * f.Patience // COMMIT has no context
	prepared := f.rand.IntN(2) == 0
	if f.servers.Name() == "galera" {
		prepared = f.Fault.Known != "" // see there
	}
	config.InterpolateParams = !prepared
	levels := []string{"", "READ-COMMITTED", "SERIALIZABLE"}
	if f.servers.Nodes() > 1 {
		levels = levels[:2] // Group Replication refuses the last one
	}
	config.Params = map[string]string{"innodb_lock_wait_timeout": "1"}
	if level := levels[place%len(levels)]; level != "" {
		config.Params[isolationVariable(f.servers.Version())] = "'" + level + "'"
	}
	c := load.Config{
		Owner: fmt.Sprintf("owner%d", place+1), DSN: config.FormatDSN(), Seed: f.Seed, Start: start,
		Clients: f.Clients, Keys: f.Keys, Generation: 1500 * time.Millisecond, TTL: f.TTL, Patience: f.Patience,
		MultiWriter: f.servers.MultiWriter(), Prepare: prepared && f.rand.IntN(2) == 0,
	}
	if f.Fault.setup != nil {
		f.Fault.setup(&c, place)
	}
	return c
}

// loaded waits for the least load, and for some time, and returns how many
// operations were acknowledged since there were so many.
func (f *field) loaded(ctx context.Context, when string, since int64, least time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	enough := time.Now().Add(least)
	for {
		n := f.crew.acknowledged() - since
		if n >= f.Least && time.Now().After(enough) {
			return n, nil
		}
		if err := f.crew.err(); err != nil {
			return 0, err
		}
		if !sleep(ctx, pollInterval) {
			return 0, fmt.Errorf("the load %s the fault was too small to count: %d of %d operations acknowledged: %w", when, n, f.Least, context.Cause(ctx))
		}
	}
}

// quiet waits until the servers have seen all the workers' connections end: until
// then something may happen still.
func (f *field) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, quietPatience)
	defer cancel()
	for node := range f.servers.Nodes() {
		db, err := pool(f.servers.Config(node), "")
		if err != nil {
			return err
		}
		for {
			ids, err := sessions(ctx, db, f.database)
			if err == nil && len(ids) == 0 {
				break
			}
			if !sleep(ctx, pollInterval) {
				return errors.Join(fmt.Errorf("node %d still has sessions %v of the load: %w", node+1, ids, ctx.Err()), err, db.Close())
			}
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Result) String() string {
	var b strings.Builder
	outcomes := r.Outcomes()
	fmt.Fprintf(&b, "%s, %s, seed %d: %d operations", r.Engine, r.Fault, r.Seed, r.Total())
	for _, o := range []history.Outcome{history.OK, history.Held, history.Lost, history.NotFound, history.Busy, history.Aborted, history.RolledBack, history.Ended, history.Failed, history.Unknown} {
		if n := outcomes[o]; n > 0 {
			fmt.Fprintf(&b, ", %d %s", n, o)
		}
	}
	return b.String()
}
