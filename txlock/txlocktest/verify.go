package txlocktest

import (
	"context"
	"errors"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/schema"
	"github.com/gox-helix/gox-helix/lockdb"
)

// ExpectVerify expects the comparison of the tables that txlock.WithVerify makes
// of txlock.New, and migrations.Verify. Without a failure the tables are as they
// should be; with [NotMigrated] there are none; with another the first statement fails.
func ExpectVerify(mock sqlmock.Sqlmock, failure ...Failure) {
	tables, columns, indexes, constraints, shards := schema.Catalog()
	found := sqlmock.NewRows([]string{"name", "engine"})
	described := sqlmock.NewRows([]string{"table_name", "column_name", "column_type", "nullable", "has_default", "extra"})
	indexed := sqlmock.NewRows([]string{"table_name", "index_name", "is_unique", "column_name", "prefix_length"})
	constrained := sqlmock.NewRows([]string{"table_name", "constraint_type", "clause"})
	triggers := sqlmock.NewRows([]string{"table_name", "trigger_name"})
	floors := sqlmock.NewRows([]string{"shard"})
	migrated := true
	for _, f := range failure {
		var e *mysql.MySQLError
		if !errors.As(f.err, &e) || e.Number != noSuchTable {
			mock.ExpectQuery(reads((*lockdb.Queries).ListTables)).WillReturnError(f.err)
			return
		}
		migrated = false
	}
	if migrated {
		for _, t := range tables {
			found.AddRow(t.Name, t.Engine)
		}
		for _, c := range columns {
			described.AddRow(c.TableName, c.ColumnName, c.ColumnType, c.Nullable, c.HasDefault, c.Extra)
		}
		for _, i := range indexes {
			indexed.AddRow(i.TableName, i.IndexName, i.IsUnique, i.ColumnName, i.PrefixLength)
		}
		for _, c := range constraints {
			constrained.AddRow(c.TableName, c.ConstraintType, c.Clause)
		}
		for _, shard := range shards {
			floors.AddRow(shard)
		}
	}
	mock.ExpectQuery(reads((*lockdb.Queries).ListTables)).WillReturnRows(found)
	if !migrated {
		mock.ExpectQuery(reads((*lockdb.Queries).CurrentDatabase)).WillReturnRows(sqlmock.NewRows([]string{"name"}).AddRow("app"))
	}
	mock.ExpectQuery(reads((*lockdb.Queries).ListColumns)).WillReturnRows(described)
	mock.ExpectQuery(reads((*lockdb.Queries).ListIndexes)).WillReturnRows(indexed)
	mock.ExpectQuery(reads((*lockdb.Queries).ListConstraints)).WillReturnRows(constrained)
	mock.ExpectQuery(reads((*lockdb.Queries).ListTriggers)).WillReturnRows(triggers)
	if migrated {
		mock.ExpectQuery(reads((*lockdb.Queries).ListFloorShards)).WillReturnRows(floors)
	}
}

const noSuchTable = 1146

// reads is the pattern of a statement without arguments.
func reads[T any](send func(q *lockdb.Queries, ctx context.Context) (T, error)) string {
	return named(func(q *lockdb.Queries) error {
		_, err := send(q, context.Background())
		return err
	})
}
