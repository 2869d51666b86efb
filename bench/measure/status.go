package measure

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// Status is what a server has counted.
type Status struct {
	Statements int64 // Questions: statements of clients, with BEGIN and COMMIT
	Commits    int64 // Handler_commit: transactions ended, those of reads in autocommit as well
	Redo       int64 // bytes of InnoDB's log
}

// of the server that db reaches. The statement itself is counted once.
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
