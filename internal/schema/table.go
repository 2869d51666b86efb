package schema

// table is one as the library needs it. A test holds these against the
// migrations.
type table struct {
	name    string
	primary string
	columns []column
	check   string // of older programs' writes, if any
	undated string // the column that must have no default for the same reason
}

// column is NOT NULL, as all are.
type column struct {
	name string
	typ  string // as MySQL spells it
}

// tables is a function, so that nobody can change them.
func tables() []table {
	return []table{
		{name: "helix_locks", primary: "lock_key", check: "YEAR(acquired_at) > 0", undated: "acquired_at", columns: []column{
			{name: "lock_key", typ: "varbinary(255)"},
			{name: "owner_id", typ: "varbinary(255)"},
			{name: "epoch", typ: "bigint"},
			{name: "lease_id", typ: "bigint"},
			{name: "status", typ: "tinyint"},
			{name: "expires_at", typ: "datetime(6)"},
			{name: "acquired_at", typ: "datetime(6)"},
			{name: "created_at", typ: "datetime(6)"},
			{name: "updated_at", typ: "datetime(6)"},
		}},
		{name: "helix_lock_floor", primary: "shard", columns: []column{
			{name: "shard", typ: "smallint"},
			{name: "floor_epoch", typ: "bigint"},
		}},
	}
}

const shards = 256
