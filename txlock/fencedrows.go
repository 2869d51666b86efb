package txlock

import (
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
)

// fencedRows are rows of a transaction, which may learn from them that the server
// has aborted it. Where the driver's rows lack a method, it does as package sql
// would do itself.
type fencedRows struct {
	driver.Rows
	tx *fencedTx
}

func (r *fencedRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	r.saw(err)
	return err
}

func (r *fencedRows) Close() error {
	err := r.Rows.Close()
	r.saw(err)
	return err
}

// saw passes on all but the regular end, for which io.EOF stands here.
func (r *fencedRows) saw(err error) {
	if !errors.Is(err, io.EOF) {
		r.tx.saw(err)
	}
}

func (r *fencedRows) HasNextResultSet() bool {
	n, ok := r.Rows.(driver.RowsNextResultSet)
	return ok && n.HasNextResultSet()
}

func (r *fencedRows) NextResultSet() error {
	n, ok := r.Rows.(driver.RowsNextResultSet)
	if !ok {
		return io.EOF
	}
	err := n.NextResultSet()
	r.saw(err)
	return err
}

func (r *fencedRows) ColumnTypeScanType(index int) reflect.Type {
	if c, ok := r.Rows.(driver.RowsColumnTypeScanType); ok {
		return c.ColumnTypeScanType(index)
	}
	return reflect.TypeFor[any]()
}

func (r *fencedRows) ColumnTypeDatabaseTypeName(index int) string {
	if c, ok := r.Rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return c.ColumnTypeDatabaseTypeName(index)
	}
	return ""
}

func (r *fencedRows) ColumnTypeLength(index int) (length int64, ok bool) {
	if c, ok := r.Rows.(driver.RowsColumnTypeLength); ok {
		return c.ColumnTypeLength(index)
	}
	return 0, false
}

func (r *fencedRows) ColumnTypeNullable(index int) (nullable, ok bool) {
	if c, ok := r.Rows.(driver.RowsColumnTypeNullable); ok {
		return c.ColumnTypeNullable(index)
	}
	return false, false
}

func (r *fencedRows) ColumnTypePrecisionScale(index int) (precision, scale int64, ok bool) {
	if c, ok := r.Rows.(driver.RowsColumnTypePrecisionScale); ok {
		return c.ColumnTypePrecisionScale(index)
	}
	return 0, 0, false
}
