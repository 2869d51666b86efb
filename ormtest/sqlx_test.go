package ormtest

import (
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/gox-helix/gox-helix/txlock"
)

// row is an account as sqlx reads and writes it.
type row struct {
	Name  string `db:"name"`
	Cents int64  `db:"cents"`
}

func TestSqlx(t *testing.T) {
	onServers(t, func(f *fixture) {
		ctx := f.Context()
		db := sqlx.NewDb(f.fenced, "mysql")
		a, b := row{f.key + "a", 1}, row{f.key + "b", 2}

		_, err := db.NamedExecContext(ctx, `INSERT INTO accounts (name, cents) VALUES (:name, :cents)`, []row{a, b})
		f.must(err)
		_, err = db.NamedExecContext(ctx, `UPDATE accounts SET cents = cents + :cents WHERE name = :name`, a)
		f.must(err)
		f.wantsCents("a", 2)

		var got row
		f.must(db.GetContext(ctx, &got, `SELECT name, cents FROM accounts WHERE name = ?`, a.Name))
		if got != (row{a.Name, 2}) {
			t.Errorf("got %+v", got)
		}
		var all []row
		query, args, err := sqlx.In(`SELECT name, cents FROM accounts WHERE name IN (?) ORDER BY name`, []string{a.Name, b.Name})
		f.must(err)
		f.must(db.SelectContext(ctx, &all, db.Rebind(query), args...))
		if len(all) != 2 || all[1] != b {
			t.Errorf("got %+v", all)
		}

		bump, err := db.PreparexContext(ctx, `UPDATE accounts SET cents = cents + ? WHERE name = ?`)
		f.must(err)
		defer func() { f.must(bump.Close()) }()
		_, err = bump.ExecContext(ctx, 10, a.Name)
		f.must(err)
		f.wantsCents("a", 12)

		tx, err := db.BeginTxx(ctx, nil)
		f.must(err)
		_, err = tx.StmtxContext(ctx, bump).ExecContext(ctx, 10, a.Name)
		f.must(err)
		f.must(tx.GetContext(ctx, &got, `SELECT name, cents FROM accounts WHERE name = ? FOR UPDATE`, a.Name))
		f.wantsCents("a", 12)
		f.must(tx.Commit())
		if got.Cents != 22 {
			t.Errorf("got %+v", got)
		}
		f.wantsCents("a", 22)

		tx = db.MustBeginTx(ctx, nil)
		tx.MustExecContext(ctx, `DELETE FROM accounts WHERE name = ?`, a.Name)
		f.must(tx.Rollback())
		f.wantsCents("a", 22)

		_, err = db.ExecContext(ctx, `CREATE TABLE refused (a INT)`)
		f.wants(err, txlock.ErrUnfenced)
		f.wants(db.GetContext(ctx, &got, `SELECT name, cents FROM accounts WHERE name = ? FOR UPDATE`, a.Name), txlock.ErrUnfenced)

		f.takeOver()
		_, err = db.NamedExecContext(ctx, `UPDATE accounts SET cents = cents + :cents WHERE name = :name`, a)
		f.wants(err, txlock.ErrLost)
		_, err = bump.ExecContext(ctx, 10, a.Name)
		f.wants(err, txlock.ErrLost)
		_, err = db.BeginTxx(ctx, nil)
		f.wants(err, txlock.ErrLost)
		_, err = db.Beginx()
		f.wants(err, txlock.ErrLost)
		f.must(db.GetContext(ctx, &got, `SELECT name, cents FROM accounts WHERE name = ?`, a.Name))
		f.wantsCents("a", 22)
	})
}
