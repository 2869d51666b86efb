package measure

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Status is what a server has counted.
type Status struct {
	Statements int64 // Questions: statements of clients, with BEGIN and COMMIT
	Commits    int64 // Handler_commit: transactions ended, those of reads in autocommit as well
	Redo       int64 // bytes of InnoDB's log
	BinaryLog  int64 // bytes of all its files; 0 where it is off
}

// statusOf asks the server that db reaches. The statement itself is counted once.
func statusOf(ctx context.Context, db *sql.DB) (s Status, err error) {
	// The names of the two engines for the end of the log.
	rows, err := db.QueryContext(ctx, `SHOW GLOBAL STATUS WHERE Variable_name IN ('Questions', 'Handler_commit', 'Innodb_redo_log_current_lsn', 'Innodb_lsn_current')`)
	if err != nil {
		return s, fmt.Errorf("the server's counters: %w", err)
	}
	defer func() { _ = rows.Close() }() // read to their end, or rows.Err says more
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return s, fmt.Errorf("the server's counters: %w", err)
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return s, fmt.Errorf("the server's counter %s: %w", name, err)
		}
		switch strings.ToLower(name) {
		case "questions":
			s.Statements = n
		case "handler_commit":
			s.Commits = n
		default:
			s.Redo = n
		}
	}
	return s, rows.Err()
}

const erNoBinaryLogging = 1381

// binaryLogOf is how long the binary log is that the server of db writes, over all its
// files: one may come to its end meanwhile.
func binaryLogOf(ctx context.Context, db *sql.DB) (size int64, err error) {
	rows, err := db.QueryContext(ctx, `SHOW BINARY LOGS`)
	var refused *mysql.MySQLError
	if errors.As(err, &refused) && refused.Number == erNoBinaryLogging {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("the binary log: %w", err)
	}
	defer func() { _ = rows.Close() }() // read to their end, or rows.Err says more
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	var name string
	var bytes int64
	row := []any{&name, &bytes}
	for len(row) < len(columns) { // MySQL also tells if it is encrypted
		row = append(row, new(string))
	}
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return 0, fmt.Errorf("the binary log: %w", err)
		}
		size += bytes
	}
	return size, rows.Err()
}
