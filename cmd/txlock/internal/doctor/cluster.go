package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
)

// leaseLock says how to migrate where a named lock does not exclude.
const leaseLock = "txlock migrate up --lock lease"

// writersCure says how programs and this command are told of a cluster.
const writersCure = "use txlock.WithMultiWriter() in all programs, give --multi-writer to this command, and migrate with: " + leaseLock +
	"; or, if all programs write to the same server, use txlock.WithSingleWriter(), and give --single-writer"

// member is one of Group Replication.
type member struct {
	id, host    string
	port        int
	state, role string
}

func (m member) address() string { return fmt.Sprintf("%s:%d", m.host, m.port) }

func (e *examination) cluster(ctx context.Context) []Finding {
	return e.judged(subjectCluster, "whether the server is in a cluster", func(s settings) []Finding {
		switch {
		case s.isGalera():
			return judgeGalera(s, e.options)
		case s.isGroup():
			var members []member
			err := e.on(ctx, func(ctx context.Context, conn *sql.Conn) (err error) {
				members, err = readMembers(ctx, conn)
				return err
			})
			return judgeGroup(s, members, err, e.options)
		}
		text := "the server is in no cluster of Galera or Group Replication"
		if e.options.MultiWriter {
			text += ", and multi-writer mode, which is given, only makes each lock and each fence a write"
		}
		return orOK(nil, subjectCluster, text)
	})
}

func (s settings) isGalera() bool {
	provider := s.global["wsrep_provider"]
	return isOn(s.global["wsrep_on"]) && provider != "" && provider != "none"
}

// migrate is the command that migrates here.
func (s settings) migrate() string {
	if s.isGalera() || s.isGroup() && !s.isSinglePrimary() {
		return leaseLock
	}
	return "txlock migrate up"
}

func (s settings) isSinglePrimary() bool {
	return isOn(s.global["group_replication_single_primary_mode"])
}

// isGroup is also true of a server that is set up for a group and is in none.
func (s settings) isGroup() bool { return s.global["group_replication_group_name"] != "" }

func readMembers(ctx context.Context, conn *sql.Conn) (members []member, err error) {
	rows, err := conn.QueryContext(ctx, queryGroupMembers)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var m member
		if err := rows.Scan(&m.id, &m.host, &m.port, &m.state, &m.role); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, rows.Err()
}

func judgeGalera(s settings, o Options) (findings []Finding) {
	add := func(level Level, text, cure string) {
		findings = append(findings, Finding{level, subjectCluster, text, cure})
	}
	status, state := s.status["wsrep_cluster_status"], s.status["wsrep_local_state_comment"]
	nodes := s.status["wsrep_cluster_size"]
	size, err := strconv.Atoi(nodes)
	switch {
	case status != "Primary" || !isOn(s.status["wsrep_ready"]):
		add(Problem, fmt.Sprintf("this node of a Galera cluster is not ready (wsrep_cluster_status %s, wsrep_local_state_comment %s): it is cut off from most of its cluster, or not up to date, and refuses statements (error 1047), so that no lock can be had or kept through it", status, state),
			"connect to a node that is Primary and ready; SHOW STATUS LIKE 'wsrep%'; on each tells which")
	case o.MultiWriter && (err != nil || size > 1):
		add(Note, fmt.Sprintf("this is a node of a Galera cluster of %s nodes, ready, and multi-writer mode is on; it does not report an abort that comes while a statement is prepared in a transaction: what follows there is committed at once, and alone, without lock or fence", nodes),
			"give interpolateParams=true in the DSN of every program that writes to it; named locks are one node's, so migrate with: "+leaseLock)
	case o.MultiWriter:
	case o.SingleWriter:
		return orOK(findings, subjectCluster, fmt.Sprintf("this is a node of a Galera cluster (wsrep_cluster_size %s), ready, and single-writer mode is on: all programs have to write to this node", nodes))
	default:
		add(Problem, fmt.Sprintf("this is a node of a Galera cluster (wsrep_cluster_size %s), all nodes of which take writes, and row locks are one node's: locks and fences fail with ErrMultiWriter unless the program uses WithMultiWriter or WithSingleWriter", nodes), writersCure)
	}
	return orOK(findings, subjectCluster, fmt.Sprintf("this is a node of a Galera cluster of %s, ready, and multi-writer mode is on; named locks are one node's, so migrate with %s", plural(int64(size), "node"), leaseLock))
}

func judgeGroup(s settings, members []member, err error, o Options) (findings []Finding) {
	add := func(level Level, text, cure string) {
		findings = append(findings, Finding{level, subjectCluster, text, cure})
	}
	multiPrimary := !s.isSinglePrimary()
	if err != nil {
		cure := askAgain
		if outcomeOf(err) == denied {
			cure = fmt.Sprintf("GRANT SELECT ON performance_schema.replication_group_members TO %s;", quoteAccount(s.account))
		}
		findings = append(findings, unseen(subjectCluster, "which members of Group Replication there are", err))
		findings[0].Cure = cure
	}
	var self, primary member
	online := 0
	for _, m := range members {
		if m.id != "" && m.id == s.global["server_uuid"] {
			self = m
		}
		if m.state == "ONLINE" {
			online++
			if m.role == "PRIMARY" {
				primary = m
			}
		}
	}
	inGroup := err != nil || self.state == "ONLINE"
	switch {
	case err != nil:
	case self.id == "":
		add(Problem, "this server is set up for Group Replication and is in no group: locks that are taken on it are not those of the group", "START GROUP_REPLICATION; or connect to a member that is ONLINE")
	case self.state != "ONLINE":
		add(Problem, fmt.Sprintf("this member of Group Replication is %s: it takes no writes, or none that last, so that no lock can be had or kept through it", self.state), "connect to a member that is ONLINE; SELECT * FROM performance_schema.replication_group_members; tells which")
	case 2*online <= len(members):
		add(Problem, fmt.Sprintf("of the %d members of Group Replication only %d are reached from here: without most of them no COMMIT ends, and no lock can be had or kept", len(members), online), "bring the others back, or connect to where most of them are")
	case !multiPrimary && self.role == "SECONDARY":
		add(Note, fmt.Sprintf("this is a secondary of Group Replication, which takes no writes: locks are had on the primary, %s", addressOf(primary)), "connect to "+addressOf(primary))
	}
	if multiPrimary && inGroup && !o.MultiWriter && !o.SingleWriter {
		add(Problem, "this is Group Replication in multi-primary mode, all members of which take writes, and row locks are one member's: locks and fences fail with ErrMultiWriter unless the program uses WithMultiWriter or WithSingleWriter", writersCure)
	}
	if multiPrimary && o.SingleWriter {
		return orOK(findings, subjectCluster, fmt.Sprintf("this is one of %s of Group Replication in multi-primary mode, and single-writer mode is on: all programs have to write to this member", plural(int64(len(members)), "member")))
	}
	if multiPrimary {
		return orOK(findings, subjectCluster, fmt.Sprintf("this is one of %s of Group Replication in multi-primary mode, and multi-writer mode is on; named locks are one member's, so migrate with %s", plural(int64(len(members)), "member"), leaseLock))
	}
	return orOK(findings, subjectCluster, fmt.Sprintf("this is the primary of %s of Group Replication, and the only one that takes writes: all programs have to reach the primary", plural(int64(len(members)), "member")))
}

func addressOf(primary member) string {
	if primary.host == "" {
		return "which is not known here"
	}
	return primary.address()
}
