// The bench measures what a protected transaction costs with gox-helix and with
// other locks, side by side. See README.md.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/ground"
	"github.com/gox-helix/gox-helix/bench/measure"
	"github.com/gox-helix/gox-helix/bench/peer"
	"github.com/gox-helix/gox-helix/internal/testserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := dispatch(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 && (args[0] == workerSubcommand || args[0] == peer.EtcdSubcommand) {
		signal.Ignore(os.Interrupt) // who runs us ends us, by the end of our input
		if args[0] == peer.EtcdSubcommand {
			return peer.RunEtcd(context.Background(), os.Stdin, os.Stdout)
		}
		return runWorker(context.Background(), os.Stdin, os.Stdout)
	}
	b, err := parse(args)
	if err != nil {
		return err
	}
	return b.run(ctx)
}

// bench is one run.
type bench struct {
	engines    []string
	rounds     int
	slice      time.Duration
	workers    []int
	keys       []Keys
	rows       []int
	fast       bool
	out        string
	contenders []contender.Contender
	wire       measure.Wire
	env        contender.Env
	peers      []int         // their processes
	parts      []string      // of what is measured
	pausedTTL  time.Duration // of holders that are paused for twice as long; etcd has none below 2 s
	waiting    []int
	handovers  int
	holdLong   time.Duration // while the questions of those that wait are counted
	held       int           // keys held by one process
	heldTTL    time.Duration // of these
}

// The parts of a run.
const (
	partRates    = "rates"
	partHandover = "handover"
	partHeld     = "held"
	partLocks    = "locks"
	partPaused   = "paused"
)

var allParts = []string{partRates, partHandover, partHeld, partLocks, partPaused}

func (b *bench) measures(part string) bool { return slices.Contains(b.parts, part) }

func parse(args []string) (*bench, error) {
	b := &bench{workers: []int{1, 8, 64}, keys: []Keys{ownKeys, hotKey, oneKey}, rows: []int{1000, 1000000}, waiting: []int{1, 10, 100}, handovers: 12, holdLong: 2 * time.Second, held: 10000, heldTTL: 10 * time.Second, parts: allParts, pausedTTL: 2 * time.Second, contenders: contender.All()}
	var engines, only string
	var short bool
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&engines, "engines", "mysql,mariadb", "on these")
	f.StringVar(&only, "only", "", "these contenders, by parts of their names, and the reference (default: all)")
	f.IntVar(&b.rounds, "rounds", 9, "turns of each contender in each setting")
	f.DurationVar(&b.slice, "slice", 250*time.Millisecond, "a turn's length")
	f.Func("rows", "only with so many rows in the tables, as 1000 (default: a thousand and a million)", func(s string) error {
		n, err := strconv.Atoi(s)
		b.rows = []int{n}
		return err
	})
	f.Func("parts", "only these parts (default: "+strings.Join(allParts, ",")+")", func(s string) error {
		b.parts = strings.Split(s, ",")
		for _, part := range b.parts {
			if !slices.Contains(allParts, part) {
				return fmt.Errorf("there is no part %q, only %s", part, strings.Join(allParts, ","))
			}
		}
		return nil
	})
	f.BoolVar(&b.fast, "fast", false, "servers that do not wait for the disk (default: as they come, durable)")
	f.BoolVar(&short, "short", false, "see that all of it works: two rounds, few settings")
	f.StringVar(&b.out, "out", "", "write RESULTS.md and the chart into this directory (default: print the tables)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("what is %s? (-h shows how)", strings.Join(f.Args(), " "))
	}
	b.engines = strings.Split(engines, ",")
	if short {
		b.rounds, b.slice, b.workers, b.rows, b.waiting = 2, 100*time.Millisecond, []int{8}, []int{1000}, []int{1}
		b.parts = slices.DeleteFunc(slices.Clone(b.parts), func(part string) bool { return part == partPaused })
		b.handovers, b.holdLong = 3, 300*time.Millisecond
		b.held, b.heldTTL = 100, 2*time.Second
	}
	if only != "" {
		var some []contender.Contender
		for _, c := range b.contenders {
			named := c.Name == contender.Reference
			for _, part := range strings.Split(only, ",") {
				named = named || strings.Contains(c.Name, part)
			}
			if named {
				some = append(some, c)
			}
		}
		b.contenders = some
	}
	return b, nil
}

func (b *bench) run(ctx context.Context) (err error) {
	r := &results{began: time.Now(), bench: b}
	redis, err := peer.StartRedis(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, redis.Stop()) }()
	durable, err := peer.StartRedis(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, durable.Stop()) }()
	etcd, err := peer.StartEtcd(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Stop()) }()
	b.env = contender.Env{TTL: 10 * time.Second, Redis: redis.Addr(), DurableRedis: durable.Addr(), Etcd: etcd.Addr(), Dial: b.wire.Dial}
	b.peers = []int{redis.Pid(), durable.Pid(), etcd.Pid()}
	for _, name := range b.engines {
		if err := b.onEngine(ctx, name, r); err != nil {
			return err
		}
	}
	return r.write(b.out)
}

func (b *bench) onEngine(ctx context.Context, name string, r *results) (err error) {
	o := testserver.Options{Install: true, Logf: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }, ServerArgs: []string{"--max-connections=1000"}}
	if b.fast {
		o.ServerArgs = append(o.ServerArgs, testserver.FastArgs()...)
	}
	server, err := testserver.Start(ctx, testserver.Engine(name), o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	version := name + " " + server.Version
	if server.Pid() == 0 {
		version += " (in no process of ours: its processor time is not in the figures)"
	}
	r.versions = append(r.versions, version)
	sizes := b.rows
	if !b.measures(partRates) {
		sizes = sizes[:1] // the others are for rates
	}
	for _, rows := range sizes {
		if err := b.onGround(ctx, name, server, rows, r); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) onGround(ctx context.Context, engine string, server *testserver.Server, rows int, r *results) (err error) {
	config := server.Config()
	status, err := open(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, status.Close()) }()
	database := fmt.Sprintf("bench_%d", rows)
	if _, err := status.ExecContext(ctx, "CREATE DATABASE "+database); err != nil {
		return err
	}
	config.DBName = database
	direct, err := open(config)
	if err != nil {
		return err
	}
	if err := errors.Join(ground.Lay(ctx, direct, rows), direct.Close()); err != nil {
		return err
	}
	e := b.env
	e.MySQL = config
	m := &measure.Meter{Wire: &b.wire, Database: status, Servers: slices.Clone(b.peers)}
	if pid := server.Pid(); pid != 0 {
		m.Servers = append(m.Servers, pid)
	}
	if rows == b.rows[0] {
		if err := b.beside(ctx, engine, e, m, r); err != nil {
			return err
		}
	}
	if !b.measures(partRates) {
		return nil
	}
	for _, workers := range b.workers {
		for _, keys := range b.keys {
			if workers == 1 && keys != ownKeys {
				continue // the same
			}
			s := setting{Engine: engine, Rows: rows, Workers: workers, Keys: keys}
			fmt.Fprintln(os.Stderr, s)
			row, err := b.measureRow(ctx, s, e, m)
			if err != nil {
				return err
			}
			r.rows = append(r.rows, row)
		}
	}
	return nil
}

// beside measures what is no rate: hand-overs, holding many keys, row locks, and holders
// that are paused.
func (b *bench) beside(ctx context.Context, engine string, e contender.Env, m *measure.Meter, r *results) (err error) {
	db, err := open(e.MySQL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "INSERT IGNORE INTO mutexes VALUES ('handover')"); err != nil {
		return err
	}
	for _, c := range b.contenders {
		for _, waiting := range b.waiting {
			if c.Unlocked || c.OwnKeys || !b.measures(partHandover) {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s, hand-over, %s, %d waiting\n", engine, c.Name, waiting)
			h, err := b.handOver(ctx, c, e, waiting)
			if err != nil {
				return err
			}
			r.handovers = append(r.handovers, engineHandover{engine, h})
		}
		// What is kept elsewhere is the same on all engines.
		first := engine == b.engines[0]
		if b.measures(partHeld) && c.Hold != nil && (first || c.Promises.OtherServer == "") {
			fmt.Fprintf(os.Stderr, "%s, %d keys held, %s\n", engine, b.held, c.Name)
			many := e
			many.TTL = b.heldTTL
			h, err := b.hold(ctx, c, many, m, b.held)
			if err != nil {
				return err
			}
			r.held = append(r.held, engineHeld{engine, h})
		}
		if b.measures(partLocks) && engine == string(testserver.MySQL) && c.Promises.OtherServer == "" {
			l, err := b.rowLocks(ctx, c, e, db)
			if err != nil {
				return err
			}
			r.rowLocks = append(r.rowLocks, l)
		}
		if b.measures(partPaused) && first {
			fmt.Fprintf(os.Stderr, "%s, paused holders, %s\n", engine, c.Name)
			p, err := b.pause(ctx, c, e, db)
			if err != nil {
				return err
			}
			r.paused = append(r.paused, p)
		}
	}
	return nil
}

func open(config *mysql.Config) (*sql.DB, error) {
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
