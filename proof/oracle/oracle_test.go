package oracle

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/proof/load"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// sound is a database in which nothing is wrong: key k was locked, acquired, fenced,
// locked again, and locked without an epoch, and with others.
var sound = []string{
	`INSERT INTO proof_writes (op, k, n, epoch, lease) VALUES (1, 'k', 1, 1, 1), (3, 'k', 2, 2, 2), (4, 'k', 3, 2, 2), (5, 'k', 4, 4, 5), (6, 'k', 5, 4, 0)`,
	`INSERT INTO proof_shared (op, k, n, again, epoch) VALUES (7, 'k', 5, 5, 4)`,
	`INSERT INTO proof_acquired (op, k, epoch) VALUES (2, 'k', 2)`,
	`INSERT INTO proof_counters (k, leased, n) VALUES ('k', 7, 5), ('other', 0, 0)`,
	`INSERT INTO helix_locks (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at) VALUES ('k', 'o', 4, 0, 0, NOW(), NOW(), NOW(), NOW())`,
}

func database(t *testing.T, s *servertest.Instance) *sql.DB {
	t.Helper()
	name := s.EmptyDatabase(t)
	db := s.Open(t, func(c *mysql.Config) { c.DBName = name })
	if _, err := migrations.Up(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	run(t, db, append(load.Schema, sound...)...)
	return db
}

func run(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Each rule finds what breaks it, and nothing else.
func TestCheck(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		db := database(t, s)
		for name, c := range map[string]struct {
			breaks, mends []string
			rules         []string
			text          string
		}{
			"sound": {},
			"two of one number": {
				[]string{`INSERT INTO proof_writes (op, k, n, epoch, lease) VALUES (9, 'k', 4, 4, 5)`, `UPDATE proof_counters SET n = 6 WHERE k = 'k'`},
				[]string{`DELETE FROM proof_writes WHERE op = 9`, `UPDATE proof_counters SET n = 5 WHERE k = 'k'`},
				[]string{"the same value twice"}, "2 transactions made it 4",
			},
			"an increment lost": {
				[]string{`UPDATE proof_counters SET n = 3 WHERE k = 'k'`}, []string{`UPDATE proof_counters SET n = 5 WHERE k = 'k'`},
				[]string{"not the number of its rows"}, "3 instead of 5",
			},
			"a change under a shared lock": {
				[]string{`UPDATE proof_shared SET again = 6`}, []string{`UPDATE proof_shared SET again = 5`},
				[]string{"changed under a shared lock"}, "operation 7 read 5, and then 6",
			},
			"an epoch back": {
				[]string{`UPDATE proof_writes SET epoch = 3 WHERE op = 1`}, []string{`UPDATE proof_writes SET epoch = 1 WHERE op = 1`},
				[]string{"an epoch went back"}, "number 2 was written under epoch 2, after epoch 3",
			},
			"two owners of one epoch": {
				[]string{`INSERT INTO proof_acquired (op, k, epoch) VALUES (9, 'k', 2)`}, []string{`DELETE FROM proof_acquired WHERE op = 9`},
				[]string{"two owners had one epoch"}, "2,9",
			},
			"ahead of the lock": {
				[]string{`UPDATE helix_locks SET epoch = 3`}, []string{`UPDATE helix_locks SET epoch = 4`},
				[]string{"ahead of the lock"}, "epoch 4, while the lock is at 3",
			},
			"purged": {
				[]string{`DELETE FROM helix_locks`, `UPDATE helix_lock_floor SET floor_epoch = 4 WHERE shard = MOD(CRC32('k'), 256)`},
				[]string{sound[4], `UPDATE helix_lock_floor SET floor_epoch = 0`}, nil, "",
			},
			"purged without floor": {
				[]string{`DELETE FROM helix_locks`}, []string{sound[4]},
				[]string{"ahead of the lock"}, "while the lock is at -1 and the floor at 0",
			},
		} {
			t.Run(name, func(t *testing.T) {
				run(t, db, c.breaks...)
				found, err := Check(t.Context(), db)
				if err != nil {
					t.Fatal(err)
				}
				if len(found) != len(c.rules) {
					t.Errorf("found %v", found)
				}
				for i := range min(len(found), len(c.rules)) {
					if !strings.Contains(found[i].Rule, c.rules[i]) || !strings.Contains(found[i].String(), c.text) || found[i].Of < 1 {
						t.Errorf("found %v", found[i])
					}
				}
				run(t, db, c.mends...)
			})
		}
	})
}

func TestRowsAndCounters(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		db := database(t, s)
		rows, err := Rows(t.Context(), db)
		if err != nil || len(rows) != 7 || rows[2] != 2 || rows[5] != 4 {
			t.Errorf("%v, %v", rows, err)
		}
		var ops []history.Op
		for range 9 {
			ops = append(ops, history.Op{Key: "k", Kind: history.Bump, Outcome: history.OK})
		}
		for range 6 {
			ops = append(ops, history.Op{Key: "k", Kind: history.Fence, Outcome: history.OK}, history.Op{Key: "k", Kind: history.Fence, Outcome: history.Lost})
		}
		ops = append(ops, history.Op{Key: "k", Kind: history.Share, Outcome: history.OK}, history.Op{Key: "other", Kind: history.Lock, Outcome: history.Unknown}, history.Op{Key: "other", Kind: history.Bump, Outcome: history.Unknown})
		c, err := Count(t.Context(), db, ops)
		if want := (Counters{Leased: Counter{9, 1, 2}, Fenced: Counter{6, 1, 1}}); err != nil || c != want {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestSettle(t *testing.T) {
	op := func(id int64, kind history.Kind, outcome history.Outcome, epoch int64) history.Op {
		return history.Op{ID: id, Kind: kind, Outcome: outcome, Epoch: epoch, Return: 5}
	}
	ops := []history.Op{
		op(1, history.Lock, history.OK, 1), op(2, history.Fence, history.Unknown, 0), op(3, history.Turn, history.Unknown, 9),
		op(4, history.Release, history.Unknown, 0), op(5, history.AcquireTx, history.RolledBack, 3),
	}
	if found := Settle(ops, map[int64]int64{1: 1, 2: 4}); len(found) != 0 {
		t.Error(found)
	}
	if ops[1].Outcome != history.OK || ops[1].Epoch != 4 || ops[1].Return != history.Pending || ops[2].Outcome != history.RolledBack || ops[3].Outcome != history.Unknown {
		t.Errorf("settled: %+v", ops)
	}
	for name, c := range map[string]struct {
		ops  []history.Op
		rows map[int64]int64
		rule string
	}{
		"acknowledged without row": {[]history.Op{op(1, history.Lock, history.OK, 1)}, nil, "has left no row"},
		"refused with row":         {[]history.Op{op(1, history.Fence, history.Lost, 1)}, map[int64]int64{1: 1}, "refused or rolled back"},
		"never called":             {nil, map[int64]int64{1: 1}, "refused or rolled back"},
		"another epoch":            {[]history.Op{op(1, history.Lock, history.OK, 1)}, map[int64]int64{1: 2}, "another epoch"},
	} {
		if found := Settle(c.ops, c.rows); len(found) != 1 || !strings.Contains(found[0].Rule, c.rule) || found[0].Of != 1 {
			t.Errorf("%s: found %v", name, found)
		}
	}
}
