package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"text/tabwriter"
)

// check is one question of the audit: a query that counts what is wrong.
type check struct {
	name  string
	query string
	// broken says what has happened if the count is not zero.
	broken string
}

// checks returns the audit of a ledger. withLocks adds the questions that only
// make sense where the library was used.
func checks(withLocks bool) []check {
	all := []check{
		{
			name: "payouts never posted",
			query: `SELECT COUNT(*) FROM payouts AS p
				LEFT JOIN entries AS e ON e.payout_id = p.payout_id
				WHERE e.entry_id IS NULL`,
			broken: "A chunk was recorded as done though part of it was not: money is owed.",
		},
		{
			name: "payouts posted more than once",
			query: `SELECT COUNT(*) FROM (
				SELECT payout_id FROM entries GROUP BY payout_id HAVING COUNT(*) > 1) AS twice`,
			broken: "Two workers had the same chunk, each looked before the other wrote, found no entry and wrote one: money is paid twice.",
		},
		{
			name: "entries that are not as in the file",
			query: `SELECT COUNT(*) FROM entries AS e
				LEFT JOIN payouts AS p ON p.payout_id = e.payout_id AND p.account = e.account
					AND p.amount_cents = e.amount_cents AND p.chunk_id = e.chunk_id
				WHERE p.payout_id IS NULL`,
			broken: "Entries went to the wrong account, or with the wrong amount.",
		},
		{
			name: "accounts whose balance is not the sum of the file",
			query: `SELECT COUNT(*) FROM accounts AS a
				LEFT JOIN (SELECT account, SUM(amount_cents) AS cents FROM payouts GROUP BY account) AS f ON f.account = a.account
				WHERE a.balance_cents <> COALESCE(f.cents, 0)`,
			broken: "Double postings raised balances, and lost updates dropped postings from them: neither customer nor bank has the right sum.",
		},
		{
			name: "accounts whose balance is not the sum of their entries",
			query: `SELECT COUNT(*) FROM accounts AS a
				LEFT JOIN (SELECT account, SUM(amount_cents) AS cents FROM entries GROUP BY account) AS e ON e.account = a.account
				WHERE a.balance_cents <> COALESCE(e.cents, 0)`,
			broken: "Two transactions read the same balance and each wrote its own sum, the later one over the earlier: an update was lost.",
		},
		{
			name: "entries written under an epoch older than one before",
			query: `SELECT COUNT(*) FROM (
				SELECT epoch, MAX(epoch) OVER (PARTITION BY chunk_id ORDER BY entry_id
					ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest
				FROM entries) AS e
				WHERE epoch < newest`,
			broken: "A worker went on writing after its chunk had been taken over, and nothing stopped it.",
		},
		{
			name: "epochs of a chunk that two workers wrote under",
			query: `SELECT COUNT(*) FROM (
				SELECT chunk_id, epoch FROM entries GROUP BY chunk_id, epoch HAVING COUNT(DISTINCT worker) > 1) AS shared`,
			broken: "Two workers claimed a chunk in the same moment: each saw that it was free before the other's claim was written.",
		},
		{
			name: "chunks not recorded as done exactly once",
			query: `SELECT COUNT(*) FROM (
				SELECT c.chunk_id FROM chunks AS c
				LEFT JOIN chunks_done AS d ON d.chunk_id = c.chunk_id
				GROUP BY c.chunk_id HAVING COUNT(d.id) <> 1) AS wrong`,
			broken: "Two workers each believed that they had finished the chunk.",
		},
	}
	if !withLocks {
		return all
	}
	return append(all,
		check{
			name: "accounts posted to whose key has no row",
			query: `SELECT COUNT(DISTINCT e.account) FROM entries AS e
				LEFT JOIN helix_locks AS l ON l.lock_key = CONCAT('account:', e.account)
				WHERE l.lock_key IS NULL`,
			broken: "The first lock of an account did not commit together with the rows that it protects.",
		},
		check{
			name:   "leases still active",
			query:  `SELECT COUNT(*) FROM helix_locks WHERE status = 1`,
			broken: "A worker ended without giving its chunk back.",
		},
	)
}

// finding is the answer to a check.
type finding struct {
	check
	count int64
}

func (f finding) ok() bool { return f.count == 0 }

func audit(ctx context.Context, db *sql.DB, checks []check) ([]finding, error) {
	var findings []finding
	for _, c := range checks {
		f := finding{check: c}
		if err := db.QueryRowContext(ctx, c.query).Scan(&f.count); err != nil {
			return nil, fmt.Errorf("audit: %s: %w", c.name, err)
		}
		findings = append(findings, f)
	}
	return findings, nil
}

func failures(findings []finding) []finding {
	var failed []finding
	for _, f := range findings {
		if !f.ok() {
			failed = append(failed, f)
		}
	}
	return failed
}

func printFindings(out io.Writer, findings []finding) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		verdict := "PASS"
		if !f.ok() {
			verdict = "FAIL"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%6d\n", verdict, f.name, f.count)
	}
	return t.Flush()
}

// figures is what the ledger says beyond right and wrong.
type figures struct {
	entries        int64
	fileCents      int64
	ledgerCents    int64
	balanceCents   int64
	takenOver      int64 // chunks that more than one worker posted from
	surplusEntries int64
}

func readFigures(ctx context.Context, db *sql.DB) (figures, error) {
	var f figures
	err := db.QueryRowContext(ctx, `SELECT
		(SELECT COUNT(*) FROM entries),
		(SELECT COALESCE(SUM(amount_cents), 0) FROM payouts),
		(SELECT COALESCE(SUM(amount_cents), 0) FROM entries),
		(SELECT COALESCE(SUM(balance_cents), 0) FROM accounts),
		(SELECT COUNT(*) FROM (SELECT chunk_id FROM entries GROUP BY chunk_id HAVING COUNT(DISTINCT worker) > 1) AS c),
		(SELECT COUNT(*) - COUNT(DISTINCT payout_id) FROM entries)`,
	).Scan(&f.entries, &f.fileCents, &f.ledgerCents, &f.balanceCents, &f.takenOver, &f.surplusEntries)
	if err != nil {
		return figures{}, fmt.Errorf("audit: %w", err)
	}
	return f, nil
}
