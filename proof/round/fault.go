package round

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/gox-helix/gox-helix/proof/fault"
	"github.com/gox-helix/gox-helix/proof/load"
)

// Fault is something that happens in the middle of a round.
type Fault struct {
	Name string
	// About says it in a few words.
	About string
	// Cluster: it happens to a node of a cluster, and to no single server.
	Cluster bool
	// Single: it happens to a single server only.
	Single bool
	// setup changes how the workers are, for the whole round.
	setup func(c *load.Config, place int)
	// act goes on until ctx ends, and then makes all well again. What fails in it ends
	// the round; nil is no act.
	act func(ctx context.Context, f *field) error
	// Engines are the only ones that it happens to; none: all.
	Engines []string
	// Known says what it is known to show there, which is then no failure.
	Known string
	// FakeClock: the servers must have been started with clocks that can be set.
	FakeClock bool
	// wild says that clocks were set, so that the time of expiry is not judged.
	wild bool
}

// Faults are all there are.
func Faults() []Fault { return slices.Clone(faults) }

// On reports whether the fault can happen to an engine of so many nodes.
func (f *Fault) On(engine string, nodes int) bool {
	return (len(f.Engines) == 0 || slices.Contains(f.Engines, engine)) && (!f.Cluster || nodes > 1) && (!f.Single || nodes == 1)
}

// FaultNamed is one of them.
func FaultNamed(name string) (Fault, error) {
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, fmt.Errorf("no fault is called %q", name)
	}
	return faults[i], nil
}

// cutting cuts the connections of all workers, until at least one has been cut if w cuts any.
func cutting(w fault.Wire) func(context.Context, *field) error {
	return func(ctx context.Context, f *field) error {
		f.each(w)
		defer f.each(fault.Wire{})
		<-ctx.Done()
		late := time.Now().Add(loadPatience)
		for len(w.Cuts) > 0 && f.cuts() == 0 {
			if time.Now().After(late) {
				return fmt.Errorf("no connection was cut within %s", loadPatience)
			}
			time.Sleep(pollInterval)
		}
		return nil
	}
}

// The nights in which clocks are set back and forward, in most of Europe: the second
// in which they are, in seconds since 1970.
const (
	autumnNight = 1792890000 // 2026-10-25 01:00:00 UTC
	springNight = 1774746000 // 2026-03-29 01:00:00 UTC
)

// night lets the clock of all sessions run through a moment in the middle of the round.
func night(second int64) func(*load.Config, int) {
	return func(c *load.Config, _ int) {
		c.Clock = load.Clock{Begin: second - 2, Since: c.Start}
	}
}

var faults = []Fault{
	{Name: "none", About: "nothing happens"},
	{Name: "cut-before-commit", About: "connections are cut before COMMIT reaches the server", act: cutting(fault.Wire{Cuts: []fault.Cut{fault.Before}, Percent: 8, Commits: true})},
	{Name: "cut-in-commit", About: "… in the middle of its packet, or as soon as it has been sent", act: cutting(fault.Wire{Cuts: []fault.Cut{fault.Half, fault.During}, Percent: 8, Commits: true})},
	{Name: "cut-after-commit", About: "… when it is done, before its answer reaches the client", act: cutting(fault.Wire{Cuts: []fault.Cut{fault.After}, Percent: 8, Commits: true})},
	{Name: "cut-anywhere", About: "connections are cut before, in and after any statement", act: cutting(fault.Wire{Cuts: []fault.Cut{fault.Before, fault.Half, fault.During, fault.After}, Percent: 2})},
	{Name: "delay", About: "each packet is up to 20 ms late", act: cutting(fault.Wire{Delay: 20 * time.Millisecond})},
	{Name: "silence", About: "a worker's network goes silent for longer than the TTL, and its connections end after that", act: silence},
	{Name: "kill-connections", About: "KILL, of a random connection, 50 times a second", act: killConnections},
	{Name: "pause-workers", About: "SIGSTOP of a worker for longer than the TTL, and SIGCONT", setup: func(c *load.Config, _ int) { c.Mix = load.Bumps }, act: pauseWorkers},
	{Name: "kill-workers", About: "SIGKILL of workers, which are replaced by others of their name", act: killWorkers},
	{Name: "kill-server", About: "SIGKILL of the server in full load, and restart", Single: true, act: killServer},
	{Name: "clocks", About: "each session has a clock of its own, up to an hour off, and another one each time it is used", wild: true, act: wildClocks},
	{Name: "server-clock", About: "the server's own clock jumps, up to an hour forward and back", wild: true, FakeClock: true, act: serverClock},
	{Name: "autumn-night", About: "the server's clock goes through the end of summer time", setup: night(autumnNight)},
	{Name: "spring-night", About: "… and its beginning", setup: night(springNight)},
	{Name: "pool-of-one", About: "each worker has one connection", setup: func(c *load.Config, _ int) { c.Connections = 1 }},
	{Name: "rollbacks", About: "half of the clients' own transactions are rolled back", setup: func(c *load.Config, _ int) { c.Mix = load.Rollbacks }},
	{Name: "deadlocks", About: "transactions lock two keys, in either order", setup: func(c *load.Config, _ int) { c.Mix = load.Deadlocks }},
	{Name: "mixed", About: "all of these at once, in turns", wild: true, act: mixed},
	{
		Name: "prepared-statements", About: "no fault, but statements that are prepared in their transaction, in place of interpolateParams=true", Engines: []string{"galera"},
		Known: "Galera does not report an abort that comes while a statement is prepared: what follows in that transaction is committed at once, and alone",
		setup: func(c *load.Config, _ int) { c.Mix = load.Deadlocks },
	},
	{Name: "kill-node", About: "SIGKILL of a node, and restart", Cluster: true, act: killNode},
	{Name: "pause-node", About: "SIGSTOP of a node until the others do without it, and SIGCONT", Cluster: true, act: pauseNode},
	{Name: "isolate-node", About: "a node is cut off from the others, but not from its clients", Cluster: true, act: isolateNode},
}

// silence makes one worker's network silent for one to four TTLs, again and again.
func silence(ctx context.Context, f *field) error {
	for ctx.Err() == nil {
		p := f.proxies[f.place()]
		p.Set(fault.Wire{Silent: true})
		sleep(ctx, f.between(f.TTL, 4*f.TTL))
		p.Drop()
		p.Set(fault.Wire{})
		sleep(ctx, f.TTL/2)
	}
	return nil
}

func killConnections(ctx context.Context, f *field) error {
	for sleep(ctx, 20*time.Millisecond) {
		f.killConnections(ctx)
	}
	return nil
}

func pauseWorkers(ctx context.Context, f *field) error {
	for ctx.Err() == nil {
		m := f.crew.at(f.place())
		m.signal(syscall.SIGSTOP)
		sleep(ctx, f.between(f.TTL, 5*f.TTL))
		m.signal(syscall.SIGCONT)
		sleep(ctx, f.between(f.TTL/4, f.TTL))
	}
	return nil
}

func killWorkers(ctx context.Context, f *field) error {
	for sleep(ctx, f.between(f.TTL/2, 2*f.TTL)) {
		if err := f.crew.replace(f.place()); err != nil {
			return err
		}
	}
	return nil
}

// restartPatience is how long a server may take to come back.
const restartPatience = 3 * time.Minute

// withoutNode does something to a node, has the workers use others meanwhile, and
// afterwards all.
func (f *field) withoutNode(ctx context.Context, node int, happens, ends func(ctx context.Context) error, lasts time.Duration) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), restartPatience)
	defer cancel()
	f.note("node %d: begins", node+1)
	if err := happens(whole); err != nil {
		return err
	}
	f.away = map[int]bool{node: true}
	if f.servers.Nodes() > 1 {
		if err := f.route(whole); err != nil {
			return err
		}
		sleep(ctx, lasts)
	}
	f.note("node %d: ends", node+1)
	if err := ends(whole); err != nil {
		return err
	}
	if err := f.servers.Wait(whole); err != nil {
		return err
	}
	f.away = nil
	return f.route(whole)
}

func killServer(ctx context.Context, f *field) error {
	for sleep(ctx, f.between(f.TTL, 3*f.TTL)) {
		if err := f.withoutNode(ctx, 0, func(ctx context.Context) error { return f.servers.Kill(ctx, 0) },
			func(ctx context.Context) error { return f.servers.Restart(ctx, 0) }, 0); err != nil {
			return err
		}
	}
	return nil
}

// victim is a node that takes writes.
func (f *field) victim(ctx context.Context) (int, error) {
	writers, err := f.servers.Writers(ctx)
	if err != nil || len(writers) == 0 {
		return 0, fmt.Errorf("%s: no node takes writes: %w", f.servers.Name(), err)
	}
	return writers[f.rand.IntN(len(writers))], nil
}

func killNode(ctx context.Context, f *field) error {
	node, err := f.victim(ctx)
	if err != nil {
		return err
	}
	return f.withoutNode(ctx, node, func(ctx context.Context) error { return f.servers.Kill(ctx, node) },
		func(ctx context.Context) error { return f.servers.Restart(ctx, node) }, 10*time.Second)
}

func pauseNode(ctx context.Context, f *field) error {
	node, err := f.victim(ctx)
	if err != nil {
		return err
	}
	return f.withoutNode(ctx, node, func(context.Context) error { return f.servers.Pause(node) },
		func(context.Context) error { return f.servers.Resume(node) }, 15*time.Second)
}

// isolateNode cuts a node off, and leaves its workers with it for a while.
func isolateNode(ctx context.Context, f *field) error {
	node, err := f.victim(ctx)
	if err != nil {
		return err
	}
	return f.withoutNode(ctx, node, func(ctx context.Context) error {
		if err := f.servers.Isolate(ctx, node); err != nil {
			return err
		}
		sleep(ctx, 3*time.Second)
		return nil
	}, func(ctx context.Context) error { return f.servers.Heal(ctx, node) }, 10*time.Second)
}

func wildClocks(ctx context.Context, f *field) error {
	f.clock(load.Clock{Chaos: time.Hour})
	<-ctx.Done()
	f.clock(load.Clock{})
	return nil
}

func serverClock(ctx context.Context, f *field) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), restartPatience)
	defer cancel()
	for ctx.Err() == nil {
		most := []time.Duration{f.TTL, 10 * f.TTL, time.Hour}[f.rand.IntN(3)]
		if err := f.servers.SetClock(whole, f.rand.IntN(f.servers.Nodes()), f.between(-most, most)); err != nil {
			return err
		}
		sleep(ctx, f.between(f.TTL/4, f.TTL))
	}
	for node := range f.servers.Nodes() {
		if err := f.servers.SetClock(whole, node, 0); err != nil {
			return err
		}
	}
	return nil
}

// mixed has something else happen twice a second, on top of wild clocks.
func mixed(ctx context.Context, f *field) error {
	f.clock(load.Clock{Chaos: 2 * f.TTL})
	defer func() {
		f.clock(load.Clock{})
		f.each(fault.Wire{})
	}()
	for ctx.Err() == nil {
		p := f.proxies[f.place()]
		switch f.rand.IntN(6) {
		case 0:
			p.Set(fault.Wire{Cuts: []fault.Cut{fault.Before, fault.Half, fault.During, fault.After}, Percent: 10, Commits: f.rand.IntN(2) == 0})
		case 1:
			p.Set(fault.Wire{Delay: 10 * time.Millisecond})
		case 2:
			p.Set(fault.Wire{Silent: true})
			sleep(ctx, f.between(f.TTL, 2*f.TTL))
			p.Drop()
			p.Set(fault.Wire{})
		case 3:
			m := f.crew.at(f.place())
			m.signal(syscall.SIGSTOP)
			sleep(ctx, f.between(f.TTL, 3*f.TTL))
			m.signal(syscall.SIGCONT)
		case 4:
			if err := f.crew.replace(f.place()); err != nil {
				return err
			}
		case 5:
			f.killConnections(ctx)
		}
		sleep(ctx, f.between(0, 500*time.Millisecond))
		p.Set(fault.Wire{})
	}
	return nil
}
