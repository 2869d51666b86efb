package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// Cluster is a running engine: one server, or the nodes of a group, which are
// numbered from 0. Its methods may be called at the same time, but what is
// done to one node must be done one after the other.
type Cluster struct {
	kind    kind
	options Options
	dir     *testserver.Directory
	scripts *scripts
	group   group
	version string

	mu      sync.Mutex
	nodes   []*node
	stopped bool
}

// node is a server and what has been done to it.
type node struct {
	server server
	clock  *clock // nil without Options.FakeClock

	down, paused, isolated bool
}

// group is what the engines do differently.
type group interface {
	// form starts all servers, none of which runs, and makes a group of them,
	// again if need be.
	form(ctx context.Context) error
	// start starts a server that is to join those that run.
	start(ctx context.Context, n int) error
	// view is what a node says of itself and of the group.
	view(ctx context.Context, n int) (view, error)
	// rejoin does what a node needs that is not in the group, and does not get
	// there by itself.
	rejoin(ctx context.Context, n int, v view) error
	isolate(ctx context.Context, n int) error
	heal(ctx context.Context, n int) error
	close() error
}

// view is what a node says.
type view struct {
	in      bool // it is in the group, and up to date
	writes  bool // it takes writes
	refuses bool // clients, but for such as we are
	members int  // that it sees in the group, itself included
	state   string
}

const (
	waitPatience = 3 * time.Minute
	pollInterval = 100 * time.Millisecond
)

func (c *Cluster) begin(ctx context.Context) error {
	ctx, cancel := patience(ctx)
	defer cancel()
	began := time.Now()
	var err error
	if c.scripts, err = newScripts(filepath.Join(c.dir.Path, "scripts"), c.options.Logf); err != nil {
		return err
	}
	for n := range c.kind.nodes {
		node := &node{down: true}
		if c.options.FakeClock {
			if node.clock, err = newClock(ctx, c.scripts, filepath.Join(c.dir.Path, fmt.Sprintf("clock%d", n))); err != nil {
				return err
			}
		}
		c.nodes = append(c.nodes, node)
	}
	if c.group, err = c.kind.group(ctx, c); err != nil {
		return err
	}
	if err := c.form(ctx); err != nil {
		return err
	}
	if c.version, err = c.serverVersion(ctx); err != nil {
		return err
	}
	c.options.Logf("engine: started %s (%s) in %s", c.kind.name, c.version, time.Since(began).Round(10*time.Millisecond))
	return nil
}

// scriptServers makes the nodes' data and servers, by the engine's script. Each
// node has that many ports, of which the first is for SQL; lines are of its
// my.cnf.
func (c *Cluster) scriptServers(ctx context.Context, each int, lines func(n int, ports [][]int) []string) ([]*scriptServer, error) {
	if _, err := c.scripts.run(ctx, c.kind.script, "install"); err != nil {
		return nil, err
	}
	free, err := freePorts(c.kind.nodes * each)
	if err != nil {
		return nil, err
	}
	ports := slices.Collect(slices.Chunk(free, each))
	servers, args := make([]*scriptServer, c.kind.nodes), []string{"init"}
	for n := range servers {
		dir := filepath.Join(c.dir.Path, "data", fmt.Sprintf("node%d", n))
		args = append(args, dir)
		servers[n] = &scriptServer{
			name: fmt.Sprintf("%s node %d", c.kind.name, n), scripts: c.scripts, script: c.kind.script, dir: dir, port: ports[n][0],
			lines: lines(n, ports), args: c.serverArgs(), env: c.env(n),
		}
		c.nodes[n].server = servers[n]
	}
	_, err = c.scripts.run(ctx, c.kind.script, args...)
	return servers, err
}

// serverArgs are those of every server: fast, and then as the caller wants.
func (c *Cluster) serverArgs() []string {
	return append(testserver.FastArgs(), c.options.ServerArgs...)
}

// env is the environment of a node beyond our own.
func (c *Cluster) env(n int) []string {
	env := append([]string{}, c.options.Env...)
	if clock := c.nodes[n].clock; clock != nil {
		env = append(env, clock.env()...)
	}
	return env
}

// form makes the group of nodes none of which runs.
func (c *Cluster) form(ctx context.Context) error {
	if err := c.group.form(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	for _, n := range c.nodes {
		n.down = false
	}
	c.mu.Unlock()
	return c.Wait(ctx)
}

func (c *Cluster) serverVersion(ctx context.Context) (version string, err error) {
	err = queryRow(ctx, c.Config(0), "SELECT VERSION()").Scan(&version)
	return version, err
}

// patience ends ctx when a group takes too long.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, waitPatience, fmt.Errorf("not done within %s", waitPatience))
}

// Name is the engine's name, as in [Names].
func (c *Cluster) Name() string { return c.kind.name }

// Version is what the first node said as its VERSION() when it was started.
func (c *Cluster) Version() string { return c.version }

// MultiWriter reports whether more than one node takes writes.
func (c *Cluster) MultiWriter() bool { return c.kind.multiWriter }

// Nodes is the number of nodes.
func (c *Cluster) Nodes() int { return len(c.nodes) }

// Config is how to connect to a node, as root, without a database. The caller
// may change it.
func (c *Cluster) Config(node int) *mysql.Config { return c.nodes[node].server.config() }

// Pid is a node's process, or 0 if it does not run.
func (c *Cluster) Pid(node int) int { return c.nodes[node].server.pid() }

// Log is the end of what a node has written to its log.
func (c *Cluster) Log(node int) string { return c.nodes[node].server.logTail() }

// Writers are the nodes that take writes now, as they say themselves: a node
// that is cut off may not know yet. Without any it is empty.
func (c *Cluster) Writers(ctx context.Context) ([]int, error) {
	var writers []int
	for _, n := range c.reachable() {
		if v, err := c.group.view(ctx, n); err == nil && v.writes {
			writers = append(writers, n)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("engine: %s: asking who takes writes: %w", c.kind.name, err)
	}
	return writers, nil
}

// reachable are the nodes that run and that nothing has been done to.
func (c *Cluster) reachable() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var reachable []int
	for i, n := range c.nodes {
		if !n.down && !n.paused && !n.isolated {
			reachable = append(reachable, i)
		}
	}
	return reachable
}

// Wait returns when the nodes that run, and are neither paused nor isolated,
// answer and are in one group, of them and no others. A node that has been
// expelled is made to join again.
func (c *Cluster) Wait(ctx context.Context) error {
	reachable := c.reachable()
	return c.await(ctx, reachable, func(v view) bool { return v.in && v.members == len(reachable) })
}

// await returns when the views of these nodes are as they should be.
func (c *Cluster) await(ctx context.Context, nodes []int, ok func(view) bool) error {
	ctx, cancel := patience(ctx)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		var missing error
		for _, n := range nodes {
			if c.Pid(n) == 0 {
				return fmt.Errorf("engine: %s: node %d has ended by itself; its log ends:\n%s", c.kind.name, n, c.Log(n))
			}
			v, err := c.group.view(ctx, n)
			if err == nil && !v.in {
				err = c.group.rejoin(ctx, n, v)
			}
			if err == nil && !ok(v) {
				err = fmt.Errorf("it is %s, and sees %d nodes", v.state, v.members)
			}
			if err != nil {
				missing = errors.Join(missing, fmt.Errorf("node %d: %w", n, err))
			}
		}
		if missing == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("engine: %s: no group of the nodes %v: %w: %w: see their logs, or bring all back with Recover",
				c.kind.name, nodes, context.Cause(ctx), missing)
		case <-ticker.C:
		}
	}
}

// Recover brings every node back, whatever has been done to them: it resumes
// and heals, starts what does not run, and makes the group again, of the node
// that has most, if too many were lost at once for it to go on. (Then Group
// Replication loses what a node had acknowledged and no other had received, if
// it begins again from another node.)
func (c *Cluster) Recover(ctx context.Context) error {
	ctx, cancel := patience(ctx)
	defer cancel()
	for i := range c.nodes {
		if err := c.Resume(i); err != nil {
			return err
		}
	}
	for i := range c.nodes {
		if err := c.reconnect(ctx, i); err != nil {
			return err
		}
	}
	if !c.goesOn(ctx) {
		c.options.Logf("engine: %s: there is no group that takes writes: making it again", c.kind.name)
		for i := range c.nodes {
			if err := c.Kill(ctx, i); err != nil {
				return err
			}
		}
		return c.form(ctx)
	}
	for i := range c.nodes {
		if c.isDown(i) {
			if err := c.Restart(ctx, i); err != nil {
				return err
			}
		}
	}
	return c.Wait(ctx)
}

// quorumPatience is how long a group may take to go on without lost nodes.
const quorumPatience = 20 * time.Second

// goesOn reports whether the group takes writes, or soon does, and knows which
// nodes it has lost: until then it may believe that it has a quorum.
func (c *Cluster) goesOn(ctx context.Context) bool {
	running := c.reachable()
	if len(running) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, quorumPatience)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		for _, n := range running {
			if v, err := c.group.view(ctx, n); err == nil && v.in && v.writes && v.members <= len(running) {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// Stop ends all nodes and removes their data. A second time it does nothing.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	var errs []error
	for _, n := range c.nodes {
		if n.server != nil {
			errs = append(errs, n.server.stop())
		}
	}
	if c.group != nil {
		errs = append(errs, c.group.close())
	}
	return errors.Join(append(errs, c.dir.Remove())...)
}
