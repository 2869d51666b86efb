package schema

import "github.com/gox-helix/gox-helix/lockdb"

// Catalog is what a server answers for tables that are as they should be, for
// those who play the server. There are no triggers.
func Catalog() (names []lockdb.ListTablesRow, columns []lockdb.ListColumnsRow, indexes []lockdb.ListIndexesRow, constraints []lockdb.ListConstraintsRow, shardRows []int16) {
	for _, t := range tables() {
		names = append(names, lockdb.ListTablesRow{Name: t.name, Engine: "innodb"})
		for _, c := range t.columns {
			columns = append(columns, lockdb.ListColumnsRow{TableName: t.name, ColumnName: c.name, ColumnType: c.typ, Nullable: "no"})
		}
		indexes = append(indexes, lockdb.ListIndexesRow{TableName: t.name, IndexName: "PRIMARY", IsUnique: 1, ColumnName: t.primary})
		if t.check != "" {
			constraints = append(constraints, lockdb.ListConstraintsRow{TableName: t.name, ConstraintType: "check", Clause: t.check})
		}
	}
	for shard := range int16(shards) {
		shardRows = append(shardRows, shard)
	}
	return names, columns, indexes, constraints, shardRows
}
