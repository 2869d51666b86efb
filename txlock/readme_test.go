package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gox-helix/gox-helix/txlock"
)

var errTooLittle = errors.New("the account has too little")

// firstLock
func withdraw(ctx context.Context, locker *txlock.Locker, account, cents int64) error {
	return locker.Do(ctx, fmt.Sprint("account:", account), func(ctx context.Context, tx *sql.Tx) error {
		var balance int64
		if err := tx.QueryRowContext(ctx, "SELECT cents FROM accounts WHERE id = ?", account).Scan(&balance); err != nil {
			return err
		}
		if balance < cents {
			return errTooLittle
		}
		_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = ? WHERE id = ?", balance-cents, account)
		return err
	})
}

// firstLease
func report(ctx context.Context, locker *txlock.Locker, chunks []int) error {
	err := locker.Run(ctx, "report:daily", func(ctx context.Context, lease *txlock.Lease) error {
		for _, chunk := range chunks {
			if err := lease.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
				// chunk is unique: one that an earlier holder has written stays as it is.
				_, err := tx.ExecContext(ctx, "INSERT IGNORE INTO report_lines (chunk) VALUES (?)", chunk)
				return err
			}); err != nil {
				return err // ErrLost: another has taken over, and nothing was written
			}
		}
		return nil
	}, txlock.NoWait())
	if errors.Is(err, txlock.ErrHeld) {
		return nil // somebody else is at it
	}
	return err
}

// The README shows what runs here.
func TestReadmeShowsThisCode(t *testing.T) {
	here, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"firstLock", "firstLease"} {
		_, code, _ := strings.Cut(string(here), "\n// "+name+"\n")
		code, _, ok := strings.Cut(code, "\n}\n")
		if !ok || !strings.Contains(string(readme), "<!-- "+name+" -->\n```go\n"+code+"\n}\n```\n") {
			t.Errorf("README.md shows another %s", name)
		}
	}
}

func TestReadmeRuns(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		l.exec(`CREATE TABLE accounts (id BIGINT PRIMARY KEY, cents BIGINT NOT NULL)`)
		l.exec(`CREATE TABLE report_lines (chunk INT PRIMARY KEY)`)
		l.exec(`INSERT INTO accounts VALUES (7, 900)`)
		l.must(withdraw(ctx, l.Locker, 7, 500))
		l.wants(withdraw(ctx, l.Locker, 7, 500), errTooLittle)
		if cents := l.text(l.db, `SELECT cents FROM accounts WHERE id = 7`); cents != "400" {
			l.Errorf("%s cents are left", cents)
		}
		l.must(report(ctx, l.Locker, []int{1, 2, 3}))
		if n := l.text(l.db, `SELECT COUNT(*) FROM report_lines`); n != "3" {
			l.Errorf("%s lines are there", n)
		}
		l.exec(`DROP TABLE accounts, report_lines`)
	})
}
