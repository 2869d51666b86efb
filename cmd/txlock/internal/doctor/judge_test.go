package doctor

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// judgement is what is to be found in what a server says of itself.
type judgement struct {
	level Level
	words string
}

func judges(t *testing.T, subject string, findings []Finding, want ...judgement) {
	t.Helper()
	if len(findings) != len(want) {
		t.Fatalf("findings:\n%s", list(findings))
	}
	for i, f := range findings {
		wellSaid(t, f)
		(&patient{T: t}).is(f, want[i].level, subject, want[i].words)
	}
}

func TestJudgeVersion(t *testing.T) {
	for _, c := range []struct {
		version, comment string
		level            Level
		words            string
	}{
		{"9.7.4-2", "(Debian)", OK, "run on 9.7"},
		{"9.7.0", "MySQL Community Server - GPL", OK, "run on 9.7"},
		{"10.11.19-MariaDB-0+deb12u1", "Debian 12", OK, "run on 10.11"},
		{"5.5.5-10.11.8-MariaDB", "", OK, "run on 10.11"},
		{"11.8.9-MariaDB-4 from Debian", "-- Please help get to 10k stars at https://github.com/MariaDB/Server", OK, "run on 11.8"},
		{"8.4.3", "MySQL Community Server - GPL", Note, "MySQL 8.4.3: it has what"},
		{"8.0.17", "MySQL Community Server - GPL", Note, "run on MySQL 9.7, MariaDB 10.11 and MariaDB 11.8 only"},
		{"10.6.0-MariaDB", "", Note, "MariaDB 10.6.0"},
		{"10.6.12-8-MariaDB-enterprise-log", "MariaDB Enterprise Server", Note, "10.6.12"},
		{"12.0.2-MariaDB", "", Note, "MariaDB 12.0.2"},
		{"8.0.35-27", "Percona Server (GPL), Release 27", Note, "Percona Server 8.0.35-27"},
		{"8.0.31-google", "(Google)", Note, "MySQL 8.0.31-google"},
		{"8.0.15", "MySQL Community Server - GPL", Problem, "MySQL 8.0.15 is too old"},
		{"5.7.44-log", "", Problem, "too old"},
		{"10.5.28-MariaDB", "", Problem, "MariaDB 10.5.28-MariaDB is too old"},
		{"5.7.44-48", "Percona Server (GPL)", Problem, "Percona Server 5.7.44-48 is too old"},
		{"8.0.11-TiDB-v7.5.0", "TiDB Server (Apache License 2.0)", Warning, "TiDB"},
		{"8.0.30-Vitess", "Version: 20.0.0", Warning, "Vitess"},
		{"5.7.25-OceanBase-v4.2.1.0", "", Warning, "OceanBase"},
		{"8.0.33", "Dolt", Warning, "Dolt"},
		{"", "", Warning, "no form known"},
		{"something", "", Warning, "no form known"},
	} {
		judges(t, "version", judgeVersion(settings{global: map[string]string{"version": c.version, "version_comment": c.comment}}), judgement{c.level, c.words})
	}
	judges(t, "version", judgeVersion(settings{global: map[string]string{"version": "8.0.32", "version_comment": "Source distribution", "aurora_version": "3.05.2"}}),
		judgement{Note, "Aurora 3.05.2, made from MySQL 8.0.32"})
}

func TestJudgeGalera(t *testing.T) {
	neither, multi, single := Options{}, Options{MultiWriter: true}, Options{SingleWriter: true}
	node := func(status, ready, size string) settings {
		return settings{
			global: map[string]string{"version": "10.11.19-MariaDB", "wsrep_on": "ON", "wsrep_provider": "/usr/lib/galera/libgalera_smm.so"},
			status: map[string]string{"wsrep_cluster_status": status, "wsrep_ready": ready, "wsrep_cluster_size": size, "wsrep_local_state_comment": "Synced"},
		}
	}
	three := node("Primary", "ON", "3")
	judges(t, "cluster", judgeGalera(three, neither), judgement{Problem, "ErrMultiWriter"})
	judges(t, "cluster", judgeGalera(three, single), judgement{OK, "size 3), ready, and single-writer mode"})
	judges(t, "cluster", judgeGalera(three, multi), judgement{Note, "does not report an abort"})
	if cure := judgeGalera(three, multi)[0].Cure; !strings.Contains(cure, "interpolateParams=true") || !strings.Contains(cure, leaseLock) {
		t.Error(cure)
	}
	judges(t, "cluster", judgeGalera(node("Primary", "ON", "1"), neither), judgement{Problem, "size 1)"})
	judges(t, "cluster", judgeGalera(node("Primary", "ON", "1"), multi), judgement{OK, "of 1 node,"})
	judges(t, "cluster", judgeGalera(node("Primary", "ON", "?"), neither), judgement{Problem, "size ?)"})
	judges(t, "cluster", judgeGalera(node("non-Primary", "OFF", "1"), single), judgement{Problem, "non-Primary"})
	judges(t, "cluster", judgeGalera(node("Primary", "OFF", "3"), multi), judgement{Problem, "1047"})
	if got := three.migrate(); got != leaseLock {
		t.Error(got)
	}
	alone := three
	alone.global = map[string]string{"wsrep_on": "ON", "wsrep_provider": "none"}
	if alone.isGalera() || (settings{}).isGalera() || !three.isGalera() {
		t.Error("what is Galera is mistaken")
	}
}

func TestJudgeGroup(t *testing.T) {
	group := func(single string) settings {
		return settings{account: "app@%", global: map[string]string{"group_replication_group_name": "a", "group_replication_single_primary_mode": single, "server_uuid": "1"}}
	}
	members := func(roles ...string) (all []member) { // the first is this one; in capitals: ONLINE
		for i, role := range roles {
			state := "ONLINE"
			if role == "" {
				state = "UNREACHABLE"
			}
			all = append(all, member{string(rune('1' + i)), "db", 3306 + i, state, role})
		}
		return all
	}
	single, multi := group("ON"), group("OFF")
	neither, several := Options{}, Options{MultiWriter: true}
	denial := &mysql.MySQLError{Number: 1142, Message: "SELECT command denied"}
	judges(t, "cluster", judgeGroup(single, members("PRIMARY", "SECONDARY", "SECONDARY"), nil, neither), judgement{OK, "the primary of 3 members"})
	judges(t, "cluster", judgeGroup(single, members("SECONDARY", "PRIMARY"), nil, neither), judgement{Note, "the primary, db:3307"})
	judges(t, "cluster", judgeGroup(single, members("SECONDARY", "SECONDARY"), nil, neither), judgement{Note, "not known here"})
	judges(t, "cluster", judgeGroup(single, members("PRIMARY", "", ""), nil, neither), judgement{Problem, "of the 3 members of Group Replication only 1"})
	judges(t, "cluster", judgeGroup(single, []member{{id: "1", state: "RECOVERING"}}, nil, neither), judgement{Problem, "RECOVERING"})
	judges(t, "cluster", judgeGroup(single, []member{{state: "OFFLINE"}}, nil, neither), judgement{Problem, "in no group"})
	judges(t, "cluster", judgeGroup(multi, []member{{state: "OFFLINE"}}, nil, neither), judgement{Problem, "in no group"})
	judges(t, "cluster", judgeGroup(multi, members("PRIMARY", "PRIMARY", "PRIMARY"), nil, neither), judgement{Problem, "multi-primary mode"})
	judges(t, "cluster", judgeGroup(multi, members("PRIMARY", "PRIMARY", "PRIMARY"), nil, several), judgement{OK, "txlock migrate up --lock lease"})
	judges(t, "cluster", judgeGroup(multi, members("PRIMARY"), nil, neither), judgement{Problem, "ErrMultiWriter"})
	judges(t, "cluster", judgeGroup(multi, members("PRIMARY", "PRIMARY"), nil, Options{SingleWriter: true}), judgement{OK, "one of 2 members"})
	judges(t, "cluster", judgeGroup(single, nil, denial, neither), judgement{Note, "could not be looked at"})
	judges(t, "cluster", judgeGroup(multi, nil, denial, neither), judgement{Note, "could not be looked at"}, judgement{Problem, "multi-primary mode"})
	judges(t, "cluster", judgeGroup(single, nil, errors.New("broken"), several), judgement{Note, "broken"})
	if got := judgeGroup(single, nil, denial, neither)[0].Cure; got != "GRANT SELECT ON performance_schema.replication_group_members TO 'app'@'%';" {
		t.Error(got)
	}
	if single.migrate() != "txlock migrate up" || multi.migrate() != leaseLock {
		t.Error("how to migrate is mistaken")
	}
}

// On a server that is in no cluster but is taken for one.
func TestCluster(t *testing.T) {
	onServers(t, func(p *patient) {
		cluster := func(db *sql.DB, multiWriter bool, global map[string]string) []Finding {
			global["version"] = p.server.Version
			e := &examination{db: db, patience: patience, options: Options{MultiWriter: multiWriter}, settings: settings{account: "app@%", global: global}}
			return e.cluster(p.Context())
		}
		judges(p.T, "cluster", cluster(p.db, false, map[string]string{}), judgement{OK, "in no cluster"})
		judges(p.T, "cluster", cluster(p.db, true, map[string]string{}), judgement{OK, "multi-writer mode, which is given"})
		judges(p.T, "cluster", cluster(p.db, true, map[string]string{"wsrep_on": "ON", "wsrep_provider": "libgalera"}), judgement{Problem, "not ready"})
		group := map[string]string{"group_replication_group_name": "a"}
		if p.isMariaDB() {
			judges(p.T, "cluster", cluster(p.db, true, group), judgement{Note, "doesn't exist"})
			return
		}
		judges(p.T, "cluster", cluster(p.db, true, group), judgement{Problem, "in no group"})
	})
}

// What the tests cannot start a server with.
func TestJudgeWrites(t *testing.T) {
	refusal := access{probed: []probed{{probes()[1], &mysql.MySQLError{Number: 3100, Message: "hook"}}}}
	taken := access{probed: []probed{{probe: probes()[1]}}}
	with := func(name, value string) settings { return settings{global: map[string]string{name: value}} }
	judges(t, "writes", judgeWrites(with("innodb_read_only", "ON"), access{}), judgement{Problem, "innodb_read_only"})
	judges(t, "writes", judgeWrites(with("innodb_force_recovery", "3"), access{}), judgement{Problem, "innodb_force_recovery is 3"})
	judges(t, "writes", judgeWrites(with("innodb_force_recovery", "0"), refusal), judgement{Problem, "hook"})
	judges(t, "writes", judgeWrites(settings{}, access{err: &mysql.MySQLError{Number: 1047, Message: "WSREP has not yet prepared node"}}), judgement{Problem, "WSREP"})
	for _, number := range []uint16{1015, 1036, 1290, 1792, 1836, 1874, 1881} {
		judges(t, "writes", judgeWrites(settings{}, access{probed: []probed{{probes()[2], &mysql.MySQLError{Number: number, Message: "no"}}}}), judgement{Problem, "no"})
	}
	judges(t, "writes", judgeWrites(settings{}, access{}), judgement{OK, "no setting"})
	judges(t, "writes", judgeWrites(settings{}, taken), judgement{OK, "takes writes"})
	judges(t, "writes", judgeWrites(with("read_only", "NO_LOCK"), taken), judgement{Warning, "may write nevertheless"}) // MariaDB 12
	group := with("super_read_only", "ON")
	group.global["group_replication_group_name"] = "a"
	f := judgeWrites(group, refusal)
	judges(t, "writes", f, judgement{Problem, "super_read_only"})
	if f[0].Cure != "connect to the member of the group that takes writes (see cluster)" {
		t.Error(f[0].Cure)
	}
}

func TestNoticesAfter(t *testing.T) {
	for _, c := range []struct {
		wait, all, writing, keepalive string
		want                          int64
	}{
		{"28800", "", "", "", 28800},
		{"28800", "0", "0", "0", 28800},
		{"28800", "60", "0", "0", 60},
		{"28800", "0", "90", "0", 90},
		{"28800", "60", "90", "0", 90},
		{"28800", "0", "0", "120", 120},
		{"30", "60", "0", "120", 30},
		{"", "60", "", "", 0},
	} {
		s := settings{session: map[string]string{"wait_timeout": c.wait, "idle_transaction_timeout": c.all, "idle_write_transaction_timeout": c.writing, "tcp_keepalive_time": c.keepalive}}
		if got := s.noticesAfter(); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestIsLocal(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1:3306": true, "localhost:3306": true, "[::1]:3306": true, "localhost": true, "db:3306": false, "10.0.0.1:3306": false, "": false} {
		if got := isLocal(&mysql.Config{Net: "tcp", Addr: addr}); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if isLocal(nil) || !isLocal(&mysql.Config{Net: "unix", Addr: "/run/mysqld.sock"}) {
		t.Error("sockets are mistaken")
	}
}

func TestSeconds(t *testing.T) {
	for n, want := range map[int64]string{0: "0 seconds", 1: "1 second", 50: "50 seconds", 90: "90 seconds", 60: "60 seconds", 120: "2 minutes", 3600: "1 hour", 28800: "8 hours", 5400: "90 minutes"} {
		if got := seconds(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
