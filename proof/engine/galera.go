package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// galera is a cluster of MariaDB nodes, all of which take writes.
type galera struct {
	cluster *Cluster
	servers []*scriptServer
}

func newGalera(ctx context.Context, c *Cluster) (group, error) {
	servers, err := c.scriptServers(ctx, 4, func(n int, ports [][]int) []string {
		var group []string
		for _, p := range ports {
			group = append(group, local(p[1]))
		}
		own := ports[n]
		return []string{
			"character-set-server=utf8mb4",
			"collation-server=utf8mb4_general_ci",
			"binlog-format=ROW",
			"default-storage-engine=InnoDB",
			"innodb-autoinc-lock-mode=2",
			"wsrep-on=ON",
			"wsrep-cluster-name=" + filepath.Base(c.dir.Path),
			"wsrep-cluster-address=gcomm://" + strings.Join(group, ","),
			fmt.Sprintf("wsrep-node-name=node%d", n),
			"wsrep-node-address=" + local(own[1]),
			"wsrep-node-incoming-address=" + local(own[0]),
			"wsrep-sst-method=rsync",
			"wsrep-sst-receive-address=" + local(own[3]),
			fmt.Sprintf(`wsrep-provider-options="gmcast.listen_addr=tcp://%s;ist.recv_addr=%s;ist.recv_bind=%[2]s"`, local(own[1]), local(own[2])),
		}
	})
	return &galera{cluster: c, servers: servers}, err
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// form starts the node that has most as the first of a new cluster, and the
// others to join it.
func (g *galera) form(ctx context.Context) error {
	first, most := 0, int64(-1)
	for n, s := range g.servers {
		position, err := g.position(ctx, s)
		if err != nil {
			return err
		}
		_, number, _ := strings.Cut(position, ":")
		if seqno, err := strconv.ParseInt(number, 10, 64); err == nil && seqno > most {
			first, most = n, seqno
		}
	}
	if err := allowBootstrap(g.servers[first].dir); err != nil {
		return err
	}
	if err := g.startWith(ctx, first, "--wsrep-new-cluster"); err != nil {
		return err
	}
	for n := range g.servers {
		if n != first {
			if err := g.start(ctx, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// stateFile is where a node notes what it has; a new node has none.
func stateFile(dir string) string { return filepath.Join(dir, "data", "grastate.dat") }

// position is what a node that does not run has, as UUID:number; empty for a
// new one.
func (g *galera) position(ctx context.Context, s *scriptServer) (string, error) {
	if _, err := os.Stat(stateFile(s.dir)); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return g.cluster.scripts.run(ctx, s.script, append([]string{"recover", s.dir}, s.args...)...)
}

// allowBootstrap tells a node that it is the one to begin with, which it would
// doubt after a crash.
func allowBootstrap(dir string) error {
	text, err := os.ReadFile(stateFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		text = bytes.Replace(text, []byte("safe_to_bootstrap: 0"), []byte("safe_to_bootstrap: 1"), 1)
		err = os.WriteFile(stateFile(dir), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("engine: galera: the state to begin a cluster from: %w", err)
	}
	return nil
}

// start waits until the others have given up the node that was killed: while
// they have not, a new start takes a quarter of a minute longer than that.
func (g *galera) start(ctx context.Context, n int) error {
	if err := g.awaitGone(ctx, n); err != nil {
		return err
	}
	return g.startWith(ctx, n)
}

// gonePatience is how long the others may take to give up a node. (If they are
// too few they never do, and it is started nevertheless.)
const gonePatience = 10 * time.Second

func (g *galera) awaitGone(ctx context.Context, n int) error {
	waiting, cancel := context.WithTimeout(ctx, gonePatience)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		known := false
		for _, other := range g.cluster.reachable() {
			found, err := settings(waiting, g.cluster.Config(other), "SHOW GLOBAL STATUS LIKE 'wsrep_incoming_addresses'")
			addresses := strings.Split(found["wsrep_incoming_addresses"], ",")
			known = known || err != nil || slices.Contains(addresses, local(g.servers[n].port))
		}
		if !known {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("engine: galera: starting node %d: %w", n, context.Cause(ctx))
		case <-waiting.Done():
			return nil
		case <-ticker.C:
		}
	}
}

var knownPosition = regexp.MustCompile(`^[0-9a-f-]{36}:\d+$`)

// startWith starts a node from the position that it had, so that it need not
// be sent all data.
func (g *galera) startWith(ctx context.Context, n int, args ...string) error {
	s := g.servers[n]
	position, err := g.position(ctx, s)
	if err != nil {
		return err
	}
	if knownPosition.MatchString(position) {
		args = append(args, "--wsrep-start-position="+position)
	}
	return s.start(ctx, args...)
}

func (g *galera) view(ctx context.Context, n int) (view, error) {
	found, err := settings(ctx, g.cluster.Config(n), `SHOW GLOBAL STATUS WHERE Variable_name IN
		('wsrep_local_state_comment', 'wsrep_ready', 'wsrep_cluster_status', 'wsrep_cluster_size')`)
	if err != nil {
		return view{}, err
	}
	v := view{state: found["wsrep_local_state_comment"] + " in a component that is " + found["wsrep_cluster_status"]}
	v.in = found["wsrep_local_state_comment"] == "Synced" && found["wsrep_ready"] == "ON" && found["wsrep_cluster_status"] == "Primary"
	v.writes = v.in
	v.members, err = strconv.Atoi(found["wsrep_cluster_size"])
	if err != nil {
		return view{}, fmt.Errorf("its wsrep_cluster_size: %w", err)
	}
	return v, nil
}

// rejoin does nothing, as a node does that by itself.
func (g *galera) rejoin(context.Context, int, view) error { return nil }

func (g *galera) isolate(ctx context.Context, n int) error { return g.cut(ctx, n, 1) }

func (g *galera) heal(ctx context.Context, n int) error {
	if g.servers[n].pid() == 0 {
		return nil // it is isolated no more
	}
	return g.cut(ctx, n, 0)
}

func (g *galera) cut(ctx context.Context, n, value int) error {
	return execute(ctx, g.cluster.Config(n), fmt.Sprintf("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=%d'", value))
}

func (g *galera) close() error { return nil }
