// Package schema compares the tables of a database with what the library needs.
// It knows nothing of goose, so that package txlock can use it.
package schema

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gox-helix/gox-helix/lockdb"
)

const (
	aside = "helix_locks_older" // an older table that was taken over

	migrateCure = "run the migrations, with migrations.Up or goose up; where goose has noted them already, run the Up half of the file in migrations/sql by hand"
	floorCure   = migrateCure + ", and then raise the floors as after a backup was restored (see package migrations)"
)

// Verify compares the live tables of the current database with those that the
// library needs, in six statements, and fails with a [DriftError].
func Verify(ctx context.Context, db lockdb.DBTX) error {
	q := lockdb.New(db)
	live, err := read(ctx, q)
	if err != nil {
		return fmt.Errorf("verify the tables: %w", err)
	}
	differences := live.compare()
	if _, ok := live.engines["helix_lock_floor"]; ok && len(differences) == 0 {
		present, err := q.ListFloorShards(ctx)
		if err != nil {
			return fmt.Errorf("verify the rows of helix_lock_floor: %w", err)
		}
		differences = compareFloors(present)
	}
	if len(differences) == 0 {
		return nil
	}
	return &DriftError{Differences: differences}
}

// live is what the catalog says, by table.
type live struct {
	engines map[string]string
	columns map[string][]*lockdb.ListColumnsRow
	indexes map[string][]*lockdb.ListIndexesRow

	constraints map[string][]*lockdb.ListConstraintsRow
	triggers    map[string][]string
}

func read(ctx context.Context, q *lockdb.Queries) (*live, error) {
	found, err := q.ListTables(ctx)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		if database, err := q.CurrentDatabase(ctx); err != nil || database == "" {
			return nil, errors.Join(err, errors.New("no database is selected: name it in the DSN"))
		}
	}
	columns, err := q.ListColumns(ctx)
	if err != nil {
		return nil, err
	}
	indexes, err := q.ListIndexes(ctx)
	if err != nil {
		return nil, err
	}
	constraints, err := q.ListConstraints(ctx)
	if err != nil {
		return nil, err
	}
	triggers, err := q.ListTriggers(ctx)
	if err != nil {
		return nil, err
	}
	l := &live{
		engines: map[string]string{}, columns: byTable(columns), indexes: map[string][]*lockdb.ListIndexesRow{},
		constraints: map[string][]*lockdb.ListConstraintsRow{}, triggers: map[string][]string{},
	}
	for _, t := range found {
		l.engines[t.Name] = t.Engine
	}
	for _, i := range indexes {
		l.indexes[i.TableName] = append(l.indexes[i.TableName], i)
	}
	for _, c := range constraints {
		l.constraints[c.TableName] = append(l.constraints[c.TableName], c)
	}
	for _, t := range triggers {
		l.triggers[t.TableName] = append(l.triggers[t.TableName], t.TriggerName)
	}
	return l, nil
}

func (l *live) compare() (differences []Difference) {
	for _, t := range tables() {
		engine, ok := l.engines[t.name]
		unfinished := l.unfinished()
		switch {
		case t.name == "helix_locks" && unfinished != nil:
			differences = append(differences, *unfinished)
		case !ok:
			d := Difference{Table: t.name, Got: "missing, or not visible to this user", Want: "a table", Cure: migrateCure, missing: true}
			if t.name == "helix_lock_floor" && stateOf(l.columns["helix_locks"]) == Current {
				d.Cure = floorCure
			}
			differences = append(differences, d)
		default:
			if engine != "innodb" {
				differences = append(differences, Difference{Table: t.name, Got: "of engine " + engine, Want: "InnoDB, which has transactions", Cure: "ALTER TABLE " + t.name + " ENGINE = InnoDB;"})
			}
			differences = slices.Concat(differences, t.compareColumns(l.columns[t.name]), t.compareIndexes(l.indexes[t.name]),
				t.compareConstraints(l.constraints[t.name]), t.compareTriggers(l.triggers[t.name]))
		}
	}
	return differences
}

func (t table) compareColumns(got []*lockdb.ListColumnsRow) (differences []Difference) {
	for _, want := range t.columns {
		i := slices.IndexFunc(got, func(c *lockdb.ListColumnsRow) bool { return c.ColumnName == want.name })
		definition := want.name + " " + strings.ToUpper(want.typ) + " NOT NULL"
		d := Difference{Table: t.name, Column: want.name, Want: want.typ + " not null", Cure: "ALTER TABLE " + t.name + " MODIFY " + definition + ";"}
		if i < 0 {
			d.Got = "missing"
			d.Cure = "restore the table, or drop it while no lock is held and create it anew by its migration"
			if t.name == "helix_locks" && want.name == "lease_id" {
				d.Cure = "ALTER TABLE helix_locks ADD COLUMN " + definition + " DEFAULT 0;"
			}
			differences = append(differences, d)
			continue
		}
		c := got[i]
		d.Got = spell(c.ColumnType)
		reopened := want.name == t.undated && c.HasDefault != 0
		updates := strings.Contains(c.Extra, "on update")
		if d.Got == want.typ && c.Nullable == "no" && !generated(c.Extra) && !reopened && !updates {
			continue
		}
		if c.Nullable != "no" {
			d.Got += " null"
		}
		if generated(c.Extra) {
			d.Got += " " + c.Extra
		}
		if reopened {
			d.Got += " with a default"
			d.Want += " without a default, which lets older programs insert again"
		}
		if updates {
			d.Got += " on update current_timestamp"
			d.Want += ", which only the library's statements change"
		}
		if strings.HasPrefix(want.typ, "varbinary") && strings.Contains(c.ColumnType, "char") {
			d.Want += ", as text has a charset and a collation, which take different keys for one"
		}
		differences = append(differences, d)
	}
	for _, c := range got {
		known := slices.ContainsFunc(t.columns, func(want column) bool { return want.name == c.ColumnName })
		if known || c.Nullable != "no" || c.HasDefault != 0 || generated(c.Extra) {
			continue
		}
		differences = append(differences, Difference{
			Table: t.name, Column: c.ColumnName, Got: "not null without a default, and not known here", Want: "absent, or optional: inserts fail",
			Cure: "ALTER TABLE " + t.name + " MODIFY `" + c.ColumnName + "` " + strings.ToUpper(c.ColumnType) + " NULL;",
		})
	}
	return differences
}

func (t table) compareIndexes(got []*lockdb.ListIndexesRow) (differences []Difference) {
	var names []string // in the order of the catalog
	parts := map[string][]string{}
	unique := map[string]bool{}
	for _, i := range got {
		if !slices.Contains(names, i.IndexName) {
			names = append(names, i.IndexName)
		}
		part := i.ColumnName
		if i.PrefixLength > 0 {
			part = fmt.Sprintf("%s(%d)", part, i.PrefixLength)
		}
		parts[i.IndexName] = append(parts[i.IndexName], part)
		unique[i.IndexName] = i.IsUnique != 0
	}
	alter := "ALTER TABLE " + t.name + " "
	primary := strings.Join(parts["PRIMARY"], ", ")
	if primary != t.primary {
		d := Difference{Table: t.name, Got: "without a primary key", Want: "PRIMARY KEY (" + t.primary + ")", Cure: alter + "ADD PRIMARY KEY (" + t.primary + ");"}
		if primary != "" {
			d.Got, d.Cure = "PRIMARY KEY ("+primary+")", alter+"DROP PRIMARY KEY, ADD PRIMARY KEY ("+t.primary+");"
		}
		differences = append(differences, d)
	}
	for _, name := range names {
		if name == "PRIMARY" {
			continue
		}
		d := Difference{
			Table: t.name, Got: "with index " + name + " (" + strings.Join(parts[name], ", ") + ")", Want: "without it, as every lock taken would maintain it",
			Cure: alter + "DROP INDEX `" + strings.ReplaceAll(name, "`", "``") + "`;",
		}
		if unique[name] {
			d.Got, d.Want = "with unique index "+name+" ("+strings.Join(parts[name], ", ")+")", "without it, as a second unique index makes acquisitions deadlock"
		}
		differences = append(differences, d)
	}
	return differences
}

// restoreFloors makes floors that are lost again: at the time in microseconds, which no epoch
// has reached.
const restoreFloors = "INSERT IGNORE INTO helix_lock_floor (shard, floor_epoch) " +
	"WITH RECURSIVE shards (shard) AS (SELECT 0 UNION ALL SELECT shard + 1 FROM shards WHERE shard < 255) " +
	"SELECT shard, UNIX_TIMESTAMP() * 1000000 FROM shards;"

// compareFloors finds shards without a floor.
func compareFloors(present []int16) []Difference {
	var missing []string
	for shard := int16(0); shard < shards; shard++ {
		if slices.Contains(present, shard) {
			continue
		}
		first := shard
		for shard+1 < shards && !slices.Contains(present, shard+1) {
			shard++
		}
		if shard > first {
			missing = append(missing, fmt.Sprintf("%d-%d", first, shard))
		} else {
			missing = append(missing, fmt.Sprint(first))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []Difference{{
		Table: "helix_lock_floor", Got: "without shards " + strings.Join(missing, ", "), Want: "one row for each of 0 to 255, without which keys cannot be acquired",
		Cure: restoreFloors,
	}}
}

var displayWidth = regexp.MustCompile(`^(tinyint|smallint|mediumint|int|bigint)\(\d+\)`)

// spell is a type as MySQL spells it: MariaDB, and older MySQL, also tell how
// wide an integer is displayed.
func spell(typ string) string { return displayWidth.ReplaceAllString(typ, "$1") }

func generated(extra string) bool {
	return strings.Contains(extra, "generated") && !strings.Contains(extra, "default_generated") || strings.Contains(extra, "auto_increment")
}
