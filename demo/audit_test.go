package main

import (
	"context"
	"database/sql"
	"slices"
	"testing"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// The audit finds nothing wrong with a ledger that is right, and finds what is
// wrong with one that was doctored, and only that.
func TestAudit(t *testing.T) {
	for name, tc := range map[string]struct {
		doctor string
		want   []string
	}{
		"right": {},
		"never posted": {
			doctor: "DELETE FROM entries WHERE payout_id = 'P2026-000002'",
			want:   []string{"payouts never posted", "accounts whose balance is not the sum of their entries"},
		},
		"posted twice, with its balance": {
			doctor: `INSERT INTO entries (payout_id, account, amount_cents, chunk_id, epoch, worker, posted_at)
					SELECT payout_id, account, amount_cents, chunk_id, epoch, worker, posted_at FROM entries WHERE payout_id = 'P2026-000002';
				UPDATE accounts AS a JOIN payouts AS p ON p.account = a.account AND p.payout_id = 'P2026-000002'
					SET a.balance_cents = a.balance_cents + p.amount_cents`,
			want: []string{"payouts posted more than once", "accounts whose balance is not the sum of the file"},
		},
		"lost update": {
			doctor: "UPDATE accounts SET balance_cents = balance_cents - 1 ORDER BY account LIMIT 1",
			want:   []string{"accounts whose balance is not the sum of the file", "accounts whose balance is not the sum of their entries"},
		},
		"wrong amount": {
			doctor: "UPDATE entries SET amount_cents = amount_cents + 1 WHERE payout_id = 'P2026-000002'",
			want:   []string{"entries that are not as in the file", "accounts whose balance is not the sum of their entries"},
		},
		"wrong chunk": {
			doctor: "UPDATE entries SET chunk_id = chunk_id + 1, epoch = 7 WHERE payout_id = 'P2026-000040'",
			want:   []string{"entries that are not as in the file"},
		},
		"late write": {
			doctor: "UPDATE entries SET epoch = 2, worker = 'w2' WHERE payout_id = 'P2026-000002'",
			want:   []string{"entries written under an epoch older than one before"},
		},
		"two workers in one epoch": {
			doctor: "UPDATE entries SET worker = 'w2' WHERE payout_id = 'P2026-000002'",
			want:   []string{"epochs of a chunk that two workers wrote under"},
		},
		"chunk not done": {
			doctor: "DELETE FROM chunks_done ORDER BY id LIMIT 1",
			want:   []string{"chunks not recorded as done exactly once"},
		},
		"chunk done twice": {
			doctor: "INSERT INTO chunks_done (chunk_id, epoch, worker) VALUES (1, 2, 'w2')",
			want:   []string{"chunks not recorded as done exactly once"},
		},
		"no lock taken": {
			doctor: "DELETE FROM helix_locks ORDER BY lock_key LIMIT 1",
			want:   []string{"accounts posted to whose key has no row"},
		},
		"lease not given back": {
			doctor: "UPDATE helix_locks SET status = 1 ORDER BY lock_key LIMIT 1",
			want:   []string{"leases still active"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
				db := rightLedger(t, s)
				if err := execAll(t.Context(), db, tc.doctor); err != nil {
					t.Fatal(err)
				}
				findings, err := audit(t.Context(), db, checks(true))
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, f := range failures(findings) {
					got = append(got, f.name)
				}
				if !slices.Equal(got, tc.want) {
					t.Errorf("failed: %q, want %q", got, tc.want)
				}
			})
		})
	}
}

// rightLedger is a database in which one worker has posted forty payouts, with
// what the library would have left in its table.
func rightLedger(t *testing.T, s *servertest.Instance) *sql.DB {
	t.Helper()
	config := s.Config()
	config.DBName = s.EmptyDatabase(t)
	db, err := openDB(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ctx := t.Context()
	if err := createLedger(ctx, db); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadPayouts(ctx, db, generatePayouts()[:40], 10); err != nil {
		t.Fatal(err)
	}
	for chunk := 1; chunk <= 4; chunk++ {
		payouts, err := openPayouts(ctx, db, chunk)
		if err != nil || len(payouts) != 10 {
			t.Fatalf("%d payouts, %v", len(payouts), err)
		}
		for _, p := range payouts {
			entry := posting{payout: p, Chunk: chunk, Epoch: 1, Worker: "w1"}
			posted, balance, err := entry.read(ctx, db)
			if err != nil || posted {
				t.Fatal(posted, err)
			}
			if err := entry.writeEntry(ctx, db); err != nil {
				t.Fatal(err)
			}
			if err := entry.writeBalance(ctx, db, balance+p.AmountCents); err != nil {
				t.Fatal(err)
			}
		}
		if err := recordChunkDone(ctx, db, chunk, 1, "w1"); err != nil {
			t.Fatal(err)
		}
	}
	const locks = `CREATE TABLE helix_locks (lock_key VARBINARY(255) NOT NULL PRIMARY KEY, epoch BIGINT NOT NULL, status TINYINT NOT NULL);
		INSERT INTO helix_locks SELECT CONCAT('account:', account), 0, 0 FROM entries GROUP BY account`
	if err := execAll(ctx, db, locks); err != nil {
		t.Fatal(err)
	}
	return db
}

func execAll(ctx context.Context, db *sql.DB, statements string) error {
	for _, statement := range splitStatements(statements) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
