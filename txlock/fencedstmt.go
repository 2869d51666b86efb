package txlock

import (
	"context"
	"database/sql/driver"
)

// fencedStmt is a prepared statement of a fencedConn.
type fencedStmt struct {
	driverStmt
	fenced    *fencedConn
	statement sqlStatement
}

// convertingStmt is one whose driver converts arguments by their place.
type convertingStmt struct {
	*fencedStmt
	converter driver.ColumnConverter //nolint:staticcheck // as package sql
}

func (s *convertingStmt) ColumnConverter(index int) driver.ValueConverter {
	return s.converter.ColumnConverter(index)
}

// Exec is what package sql no longer calls.
func (s *fencedStmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), namedValues(args))
}

// ExecContext executes it, in a transaction of its own where it needs one.
func (s *fencedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.fenced.exec(ctx, s.statement, func() (driver.Result, error) { return s.driverStmt.ExecContext(ctx, args) })
}

// Query is what package sql no longer calls.
func (s *fencedStmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), namedValues(args))
}

// QueryContext sends it for rows.
func (s *fencedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.fenced.query(s.statement, func() (driver.Rows, error) { return s.driverStmt.QueryContext(ctx, args) })
}
