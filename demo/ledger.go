package main

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
)

//go:embed schema.sql
var schema string

// openDB opens a pool for a process that does one thing at a time, with a
// connection to spare. The library asks for nothing in particular in a DSN;
// interpolateParams saves this program's own statements a round trip each.
func openDB(config *mysql.Config) (*sql.DB, error) {
	config = config.Clone()
	config.InterpolateParams = true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(2)
	db.SetMaxIdleConns(2)
	return db, nil
}

func createLedger(ctx context.Context, db *sql.DB) error {
	for _, statement := range splitStatements(schema) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("creating the ledger's tables: %w", err)
		}
	}
	return nil
}

// splitStatements splits SQL of ours, which has no semicolon but at the end of a
// statement, and comments only in lines of their own.
func splitStatements(text string) []string {
	var code strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			code.WriteString(line)
		}
	}
	var statements []string
	for statement := range strings.SplitSeq(code.String(), ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, statement)
		}
	}
	return statements
}

// loadPayouts brings the file into the database, cut into chunks, and opens the
// accounts that it names. It returns the number of chunks and of accounts.
func loadPayouts(ctx context.Context, db *sql.DB, payouts []payout, chunkSize int) (chunks, accounts int, err error) {
	const rowsPerInsert = 500
	for start := 0; start < len(payouts); start += rowsPerInsert {
		var values []string
		var args []any
		for i := start; i < min(start+rowsPerInsert, len(payouts)); i++ {
			p := payouts[i]
			values = append(values, "(?, ?, ?, ?, ?, ?)")
			args = append(args, p.ID, i/chunkSize+1, i+1, p.Account, p.AmountCents, p.Memo)
		}
		insert := "INSERT INTO payouts (payout_id, chunk_id, line, account, amount_cents, memo) VALUES " + strings.Join(values, ", ")
		if _, err := db.ExecContext(ctx, insert, args...); err != nil {
			return 0, 0, fmt.Errorf("loading payouts %d and on: %w", start+1, err)
		}
	}
	for _, statement := range []string{
		"INSERT INTO chunks (chunk_id) SELECT DISTINCT chunk_id FROM payouts",
		"INSERT INTO accounts (account) SELECT DISTINCT account FROM payouts",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return 0, 0, fmt.Errorf("loading payouts: %w", err)
		}
	}
	err = db.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM chunks), (SELECT COUNT(*) FROM accounts)").Scan(&chunks, &accounts)
	return chunks, accounts, err
}

// countPosted returns how many payouts have been posted at all.
func countPosted(ctx context.Context, db *sql.DB) (int, error) {
	var n int
	err := db.QueryRowContext(ctx, "SELECT COUNT(DISTINCT payout_id) FROM entries").Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting what is posted: %w", err)
	}
	return n, nil
}

// openChunks returns the chunks that are not recorded as done. It is where a
// worker looks for work, and decides nothing: what it returns may be old.
func openChunks(ctx context.Context, db *sql.DB) ([]int, error) {
	return queryAll(ctx, db, func(rows *sql.Rows) (id int, err error) { return id, rows.Scan(&id) },
		"SELECT c.chunk_id FROM chunks AS c LEFT JOIN chunks_done AS d ON d.chunk_id = c.chunk_id WHERE d.id IS NULL ORDER BY c.chunk_id")
}

// openPayouts returns what of a chunk is not posted. After a takeover that is
// what the worker before has left. It decides nothing either.
func openPayouts(ctx context.Context, db *sql.DB, chunk int) ([]payout, error) {
	return queryAll(ctx, db, func(rows *sql.Rows) (p payout, err error) {
		return p, rows.Scan(&p.ID, &p.Account, &p.AmountCents, &p.Memo)
	}, `SELECT p.payout_id, p.account, p.amount_cents, p.memo FROM payouts AS p
		LEFT JOIN entries AS e ON e.payout_id = p.payout_id
		WHERE p.chunk_id = ? AND e.entry_id IS NULL ORDER BY p.line`, chunk)
}

func queryAll[T any](ctx context.Context, db *sql.DB, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err says it
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// posting is one payout on its way into the ledger.
type posting struct {
	payout
	Chunk  int
	Epoch  int64
	Worker string
}

// read looks whether the payout is posted already, and at the balance. Both
// answers are good for nothing once somebody else may write to the account.
func (p posting) read(ctx context.Context, q querier) (posted bool, balance int64, err error) {
	if err := q.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM entries WHERE payout_id = ?", p.ID).Scan(&posted); err != nil {
		return false, 0, fmt.Errorf("payout %s: looking for its entry: %w", p.ID, err)
	}
	if posted {
		return true, 0, nil
	}
	if err := q.QueryRowContext(ctx, "SELECT balance_cents FROM accounts WHERE account = ?", p.Account).Scan(&balance); err != nil {
		return false, 0, fmt.Errorf("payout %s: balance of account %s: %w", p.ID, p.Account, err)
	}
	return false, balance, nil
}

func (p posting) writeEntry(ctx context.Context, q querier) error {
	_, err := q.ExecContext(ctx,
		"INSERT INTO entries (payout_id, account, amount_cents, chunk_id, epoch, worker, posted_at) VALUES (?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))",
		p.ID, p.Account, p.AmountCents, p.Chunk, p.Epoch, p.Worker)
	if err != nil {
		return fmt.Errorf("payout %s: writing its entry: %w", p.ID, err)
	}
	return nil
}

// writeBalance sets the balance that was computed from the one that was read, as
// code does whose rules do not fit into an UPDATE.
func (p posting) writeBalance(ctx context.Context, q querier, balance int64) error {
	if _, err := q.ExecContext(ctx, "UPDATE accounts SET balance_cents = ? WHERE account = ?", balance, p.Account); err != nil {
		return fmt.Errorf("payout %s: setting the balance of account %s: %w", p.ID, p.Account, err)
	}
	return nil
}

// lockChunk keeps other transactions that do the same out, until tx ends.
func lockChunk(ctx context.Context, tx *sql.Tx, chunk int) error {
	var id int
	if err := tx.QueryRowContext(ctx, "SELECT chunk_id FROM chunks WHERE chunk_id = ? FOR UPDATE", chunk).Scan(&id); err != nil {
		return fmt.Errorf("chunk %d: locking its row: %w", chunk, err)
	}
	return nil
}

func chunkDone(ctx context.Context, q querier, chunk int) (bool, error) {
	var done bool
	err := q.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM chunks_done WHERE chunk_id = ?", chunk).Scan(&done)
	if err != nil {
		return false, fmt.Errorf("chunk %d: looking whether it is done: %w", chunk, err)
	}
	return done, nil
}

func recordChunkDone(ctx context.Context, q querier, chunk int, epoch int64, worker string) error {
	_, err := q.ExecContext(ctx, "INSERT INTO chunks_done (chunk_id, epoch, worker) VALUES (?, ?, ?)", chunk, epoch, worker)
	if err != nil {
		return fmt.Errorf("chunk %d: recording that it is done: %w", chunk, err)
	}
	return nil
}
