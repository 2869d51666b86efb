package engine

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/go-sql-driver/mysql"
)

// askPatience is how long a node may take to answer what it can answer at once.
const askPatience = 5 * time.Second

// connect opens a pool for one question: the connections of an earlier one may
// be to a server that has been killed.
func connect(config *mysql.Config) (*sql.DB, error) {
	config = config.Clone()
	config.Logger = &mysql.NopLogger{} // it is no news that a killed server does not answer
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1) // so that a session's variables hold
	return db, nil
}

// execute executes statements one after the other, for as long as ctx lets it.
func execute(ctx context.Context, config *mysql.Config, statements ...string) error {
	db, err := connect(config)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err = db.ExecContext(ctx, s); err != nil {
			break
		}
	}
	return errors.Join(err, db.Close())
}

// row is a question's only row.
type row struct {
	ctx    context.Context
	config *mysql.Config
	query  string
}

func queryRow(ctx context.Context, config *mysql.Config, query string) row {
	return row{ctx, config, query}
}

// Scan asks, and has the answer.
func (r row) Scan(dest ...any) error {
	ctx, cancel := context.WithTimeout(r.ctx, askPatience)
	defer cancel()
	db, err := connect(r.config)
	if err != nil {
		return err
	}
	err = db.QueryRowContext(ctx, r.query).Scan(dest...)
	return errors.Join(err, db.Close())
}

// settings are rows of a name and a value, as SHOW gives them.
func settings(ctx context.Context, config *mysql.Config, query string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	db, err := connect(config)
	if err != nil {
		return nil, err
	}
	found, err := scanSettings(ctx, db, query)
	return found, errors.Join(err, db.Close())
}

func scanSettings(ctx context.Context, db *sql.DB, query string) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found := make(map[string]string)
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		found[name] = value
	}
	return found, rows.Err()
}
