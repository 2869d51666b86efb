package txlock_test

import (
	"context"
	"database/sql"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gox-helix/gox-helix/lockdb"
)

// explainer sends EXPLAIN of each statement in its place, and looks at the plan.
type explainer struct {
	*testing.T
	tx        *sql.Tx
	explained []string
}

func (e *explainer) explain(query string, args []any) {
	e.Helper()
	head, text, _ := strings.Cut(query, "\n")
	name, _, _ := strings.Cut(strings.TrimPrefix(head, "-- name: "), " ")
	text = strings.TrimSpace(text)
	switch {
	case !strings.Contains(text, "helix_locks"), strings.Contains(text, "information_schema"):
		return
	case strings.Contains(text, "helix_locks_"): // an adoption's, which reads all
		return
	}
	e.explained = append(e.explained, name)
	if strings.Contains(text, "JSON_TABLE") {
		args[slices.Index(args, any(explainedHex))] = lockdb.Batch([]lockdb.Entry{{Key: explainedKey, Epoch: 1, LeaseID: 1}, {Key: "00049999", Epoch: 1, LeaseID: 1}})
	}
	rows, err := e.tx.QueryContext(e.Context(), "EXPLAIN FORMAT=TRADITIONAL "+text, args...)
	if err != nil {
		e.Errorf("%s: %v", name, err)
		return
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		e.Error(err)
	}
	for rows.Next() {
		values, into, row := make([]sql.NullString, len(columns)), make([]any, len(columns)), make(map[string]string)
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			e.Error(err)
		}
		for i, column := range columns {
			row[column] = values[i].String
		}
		// The table that an INSERT ... SELECT writes is helix_locks, what it reads is l.
		reads := row["table"] == "l" || row["table"] == "helix_locks" && !strings.HasPrefix(text, "INSERT")
		if reads && (row["key"] != "PRIMARY" || row["type"] == "index") {
			e.Errorf("%s: %v", name, row)
		}
	}
	if err := rows.Err(); err != nil {
		e.Error(err)
	}
}

func (e *explainer) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	e.explain(query, args)
	return nil, sql.ErrNoRows
}

func (e *explainer) QueryContext(_ context.Context, query string, args ...any) (*sql.Rows, error) {
	e.explain(query, args)
	return nil, sql.ErrNoRows
}

func (e *explainer) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	e.explain(query, args)
	return e.tx.QueryRowContext(ctx, `SELECT 1 FROM DUAL WHERE FALSE`)
}

func (e *explainer) PrepareContext(context.Context, string) (*sql.Stmt, error) { return nil, nil }

const explainedKey = "00000007"

var explainedHex = lockdb.Hex(explainedKey)

// Every statement that names helix_locks goes by its primary key, in a table of many rows.
func TestStatementsGoByThePrimaryKey(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		l.fill(50_000)
		l.text(l.db, `SELECT COUNT(*) FROM helix_locks`)
		e := &explainer{T: l.T, tx: l.begin()}
		q := reflect.ValueOf(lockdb.New(e))
		for i := range q.NumMethod() {
			method := q.Type().Method(i)
			if method.Name == "WithTx" || method.Name == "Close" {
				continue
			}
			args := []reflect.Value{q, reflect.ValueOf(l.Context())}
			for p := 2; p < method.Type.NumIn(); p++ {
				args = append(args, example(method.Type.In(p)))
			}
			method.Func.Call(args)
		}
		if n := len(e.explained); n < 25 {
			l.Errorf("explained %d statements: %v", n, e.explained)
		}
	})
}

// example is an argument that a statement could be given.
func example(of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.String:
		v.SetString(explainedHex)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Slice:
		return reflect.ValueOf([]int16{1})
	case reflect.Struct:
		for i := range of.NumField() {
			v.Field(i).Set(example(of.Field(i).Type))
		}
	default:
	}
	return v
}
