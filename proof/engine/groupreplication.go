package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
)

// groupReplication is a group of MySQL servers, of which one takes writes, or
// all. The servers talk over their SQL ports (the communication stack MYSQL, as
// the other listens on all of the machine's addresses), but through a network
// of ours.
type groupReplication struct {
	cluster *Cluster
	servers []*scriptServer
	network *network
}

func newGroupReplication(ctx context.Context, c *Cluster) (group, error) {
	g := &groupReplication{cluster: c}
	var err error
	if g.network, err = newNetwork(c.kind.nodes); err != nil {
		return nil, err
	}
	single, multi := "ON", "OFF"
	if c.kind.multiWriter {
		single, multi = multi, single
	}
	id, err := groupName()
	if err != nil {
		return g, err
	}
	g.servers, err = c.scriptServers(ctx, 1, func(n int, ports [][]int) []string {
		return []string{
			"loose-mysqlx=OFF",
			fmt.Sprintf("server-id=%d", n+1),
			"gtid-mode=ON",
			"enforce-gtid-consistency=ON",
			"report-host=127.0.0.1",
			fmt.Sprintf("report-port=%d", ports[n][0]),
			"plugin-load-add=group_replication.so",
			"plugin-load-add=mysql_clone.so",
			"group-replication-group-name=" + id,
			"group-replication-start-on-boot=OFF",
			"group-replication-bootstrap-group=OFF",
			"group-replication-communication-stack=MYSQL",
			"group-replication-recovery-get-public-key=ON",
			"group-replication-local-address=" + g.network.address(n),
			"group-replication-group-seeds=" + strings.Join(g.network.addresses(), ","),
			"group-replication-single-primary-mode=" + single,
			"group-replication-enforce-update-everywhere-checks=" + multi,
			// A lost node is expelled once it is suspected, after five seconds.
			"group-replication-member-expel-timeout=0",
		}
	})
	if err != nil {
		return g, err
	}
	g.network.open(g.servers)
	return g, nil
}

func groupName() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

const startReplication = "START GROUP_REPLICATION USER='repl', PASSWORD='repl'"

// form starts the servers, makes a group of the one that has most, and lets
// the others join.
func (g *groupReplication) form(ctx context.Context) error {
	errs := make(chan error)
	for n := range g.servers {
		go func() { errs <- g.start(ctx, n) }()
	}
	var err error
	for range g.servers {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return err
	}
	first, err := g.most(ctx)
	if err != nil {
		return err
	}
	if err := execute(ctx, g.cluster.Config(first), "SET GLOBAL group_replication_bootstrap_group = ON", startReplication,
		"SET GLOBAL group_replication_bootstrap_group = OFF"); err != nil {
		return fmt.Errorf("engine: %s: node %d could not begin a group: %w; its log ends:\n%s", g.cluster.kind.name, first, err, g.cluster.Log(first))
	}
	return g.cluster.await(ctx, []int{first}, func(v view) bool { return v.in })
}

// received is all that a node has, executed or to be.
const received = `SELECT CONCAT(@@GLOBAL.gtid_executed, IFNULL((SELECT CONCAT(',', RECEIVED_TRANSACTION_SET)
	FROM performance_schema.replication_connection_status
	WHERE CHANNEL_NAME = 'group_replication_applier' AND RECEIVED_TRANSACTION_SET <> ''), ''))`

// most is the node that has what the others have.
func (g *groupReplication) most(ctx context.Context) (int, error) {
	best, has := 0, ""
	for n := range g.servers {
		var set string
		if err := queryRow(ctx, g.cluster.Config(n), received).Scan(&set); err != nil {
			return 0, fmt.Errorf("engine: %s: asking node %d what it has: %w", g.cluster.kind.name, n, err)
		}
		set = strings.Trim(strings.Join(strings.Fields(set), ""), ",")
		if n == 0 {
			has = set
			continue
		}
		var less, more bool
		if err := queryRow(ctx, g.cluster.Config(n), fmt.Sprintf("SELECT GTID_SUBSET('%s', '%s'), GTID_SUBSET('%[2]s', '%[1]s')", set, has)).Scan(&less, &more); err != nil {
			return 0, fmt.Errorf("engine: %s: comparing what nodes %d and %d have: %w", g.cluster.kind.name, best, n, err)
		}
		if more && !less {
			best, has = n, set
		} else if !more && !less {
			g.cluster.options.Logf("engine: %s: node %d has %s and node %d has %s: the latter is lost", g.cluster.kind.name, best, has, n, set)
		}
	}
	return best, nil
}

// start starts a server. It joins when it is waited for, as that may have to be
// tried again: a node that was killed a moment ago is still a member until it
// is expelled.
func (g *groupReplication) start(ctx context.Context, n int) error { return g.servers[n].start(ctx) }

func (g *groupReplication) view(ctx context.Context, n int) (view, error) {
	var state, role string
	var online, members int
	var readOnly, offline bool
	if err := queryRow(ctx, g.cluster.Config(n), `SELECT
		IFNULL(MAX(IF(own, MEMBER_STATE, NULL)), 'OFFLINE'), IFNULL(MAX(IF(own, MEMBER_ROLE, NULL)), ''),
		SUM(MEMBER_STATE IN ('ONLINE', 'RECOVERING')), COUNT(*), @@GLOBAL.super_read_only, @@GLOBAL.offline_mode
		FROM (SELECT *, MEMBER_ID IN ('', @@GLOBAL.server_uuid) own FROM performance_schema.replication_group_members) m`).
		Scan(&state, &role, &online, &members, &readOnly, &offline); err != nil {
		return view{}, err
	}
	v := view{members: members, state: strings.TrimSpace(state + " " + role)}
	v.in = state == "ONLINE" && online == members && !offline
	v.writes = state == "ONLINE" && role == "PRIMARY" && !readOnly && 2*online > members
	if online < members {
		v.state += fmt.Sprintf(" and does not reach %d", members-online)
	}
	if v.refuses = offline; offline {
		v.state += " and refuses clients"
	}
	return v, nil
}

// joinPatience is how long one try to join may take.
const joinPatience = time.Minute

func (g *groupReplication) rejoin(ctx context.Context, n int, v view) error {
	ctx, cancel := context.WithTimeoutCause(ctx, joinPatience, fmt.Errorf("not joined within %s", joinPatience))
	defer cancel()
	config := g.cluster.Config(n)
	var err error
	switch state, _, _ := strings.Cut(v.state, " "); state {
	case "ERROR":
		err = execute(ctx, config, "STOP GROUP_REPLICATION", startReplication)
	case "OFFLINE":
		err = execute(ctx, config, startReplication)
	case "ONLINE":
		if v.refuses { // since it was expelled, and does not undo by itself
			err = execute(ctx, config, "SET GLOBAL offline_mode = OFF")
		}
	}
	if err != nil {
		return fmt.Errorf("it is %s, and joining failed: %w", v.state, err)
	}
	return nil
}

func (g *groupReplication) isolate(_ context.Context, n int) error {
	g.network.cut(n, true)
	return nil
}

func (g *groupReplication) heal(_ context.Context, n int) error {
	g.network.cut(n, false)
	return nil
}

func (g *groupReplication) close() error { return g.network.close() }
