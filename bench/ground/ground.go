// Package ground is the database that contenders are measured on: accounts, a
// ledger, and what each way of locking needs, for so many keys.
package ground

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/migrations"
)

const digits = `(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)`

// Lay makes the tables, with so many rows each, from a thousand to a million.
func Lay(ctx context.Context, db *sql.DB, rows int) error {
	if _, err := migrations.Up(ctx, db); err != nil {
		return err
	}
	numbers := fmt.Sprintf(`(SELECT a.d + 10*b.d + 100*c.d + 1000*d.d + 10000*e.d + 100000*f.d AS n FROM %[1]s a, %[1]s b, %[1]s c, %[1]s d, %[1]s e, %[1]s f) AS t WHERE n < %[2]d`, digits, rows)
	for _, query := range []string{
		`CREATE TABLE accounts (id INT PRIMARY KEY, cents BIGINT NOT NULL)`,
		`CREATE TABLE ledger (id BIGINT PRIMARY KEY AUTO_INCREMENT, debit INT NOT NULL, credit INT NOT NULL, cents BIGINT NOT NULL)`,
		`CREATE TABLE mutexes (name VARBINARY(255) PRIMARY KEY)`,
		`CREATE TABLE leases (name VARBINARY(255) PRIMARY KEY, owner VARBINARY(255) NOT NULL, expires_at DATETIME(6) NOT NULL)`,
		`INSERT INTO accounts SELECT n, 0 FROM ` + numbers,
		`INSERT INTO mutexes SELECT CONCAT('key:', n) FROM ` + numbers,
		`INSERT INTO leases SELECT CONCAT('key:', n), '', '2000-01-01' FROM ` + numbers,
		`INSERT INTO helix_locks (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
			SELECT CONCAT('key:', n), 'bench', 1, 0, 0, '1970-01-01', UTC_TIMESTAMP(), UTC_TIMESTAMP(), UTC_TIMESTAMP() FROM ` + numbers,
		`ANALYZE TABLE accounts, mutexes, leases, helix_locks`,
	} {
		if _, err := db.ExecContext(ctx, query); err != nil {
			return fmt.Errorf("laying the ground: %w", err)
		}
	}
	return nil
}

// Key names the n-th key.
func Key(n int) string { return fmt.Sprintf("key:%d", n) }

// Transfer is the business transaction under the n-th key, of so many: it reads a
// balance, moves a cent to another account of the same key, and enters that.
func Transfer(n, rows int) contender.Business {
	debit, credit := n, (n+rows/2)%rows
	return func(ctx context.Context, tx *sql.Tx) error {
		var cents int64
		if err := tx.QueryRowContext(ctx, "SELECT cents FROM accounts WHERE id = ?", debit).Scan(&cents); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = ? WHERE id = ?", cents-1, debit); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents + 1 WHERE id = ?", credit); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO ledger (debit, credit, cents) VALUES (?, ?, 1)", debit, credit)
		return err
	}
}
