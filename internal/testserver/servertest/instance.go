package servertest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// Instance is a server with the databases of this test binary.
type Instance struct {
	*testserver.Server

	suite    *suite
	migrate  sync.Once
	pristine string // migrated, and what the others are copied from
	database string
	err      error
}

const (
	migratePatience  = 5 * time.Minute // goose may have to be built first
	databasePatience = time.Minute
)

// Database is the migrated database of this test binary, made on first use.
func (s *Instance) Database() (string, error) {
	s.migrate.Do(func() {
		ctx, err := s.suite.context()
		if err != nil {
			s.err = err
			return
		}
		ctx, cancel := context.WithTimeout(ctx, migratePatience)
		defer cancel()
		if s.pristine, s.err = s.createDatabase(ctx); s.err != nil {
			return
		}
		if _, s.err = s.Migrate(ctx, s.pristine); s.err == nil {
			s.database, s.err = s.copyDatabase(ctx)
		}
	})
	return s.database, s.err
}

// Open opens a pool on the migrated database, and closes it when the test
// ends. The opts change how it connects.
func (s *Instance) Open(tb testing.TB, opts ...func(*mysql.Config)) *sql.DB {
	tb.Helper()
	db, err := s.Pool(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("servertest: could not close the pool: %v", err)
		}
	})
	return db
}

// Pool is Open for example tests: the caller closes it.
func (s *Instance) Pool(opts ...func(*mysql.Config)) (*sql.DB, error) {
	database, err := s.Database()
	if err != nil {
		return nil, err
	}
	config := s.Config()
	config.DBName = database
	for _, opt := range opts {
		opt(config)
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("servertest: %s: %w", s.Engine, err)
	}
	return sql.OpenDB(connector), nil
}

// EmptyDatabase makes a database, and drops it when the test ends.
func (s *Instance) EmptyDatabase(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), databasePatience)
	defer cancel()
	name, err := s.createDatabase(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.dropDatabase(name); err != nil {
			tb.Error(err)
		}
	})
	return name
}

// MigratedDatabase is [Instance.EmptyDatabase] with what goose makes of it. It is copied
// from one that goose has migrated, which is ten times as fast as running it again.
func (s *Instance) MigratedDatabase(tb testing.TB) string {
	tb.Helper()
	if _, err := s.Database(); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), databasePatience)
	defer cancel()
	name, err := s.copyDatabase(ctx)
	tb.Cleanup(func() {
		if err := s.dropDatabase(name); err != nil {
			tb.Error(err)
		}
	})
	if err != nil {
		tb.Fatal(err)
	}
	return name
}

// Migrate runs goose on a database of this server and returns its output;
// without args it runs "up".
func (s *Instance) Migrate(ctx context.Context, database string, args ...string) ([]byte, error) {
	root, err := testserver.Root()
	if err != nil {
		return nil, err
	}
	return testserver.Goose(ctx, root, s.DSN(database), args...)
}

// Fresh starts another server of the same engine for this test alone, to kill
// or to configure with args, and stops it when the test ends. That is
// a private one also where TXLOCK_TEST_DSN names another for the other tests.
func (s *Instance) Fresh(tb testing.TB, args ...string) *Instance {
	tb.Helper()
	o := options()
	o.ServerArgs = append(o.ServerArgs, args...)
	server, err := s.suite.start(s.Engine, o)
	if err != nil {
		giveUp(tb, s.Engine, err)
	}
	tb.Cleanup(func() {
		if err := server.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return &Instance{Server: server, suite: s.suite}
}

// close leaves nothing of ours on the server.
func (s *Instance) close() error {
	var err error
	s.migrate.Do(func() { s.err = errEnding }) // or wait for it
	for _, name := range []string{s.pristine, s.database} {
		if !s.Ours() && name != "" {
			err = errors.Join(err, s.dropDatabase(name))
		}
	}
	return errors.Join(err, s.Stop())
}

// createDatabase makes a database of a name that no other test binary has.
func (s *Instance) createDatabase(ctx context.Context) (string, error) {
	name := fmt.Sprintf("helix_test_%d_%s", os.Getpid(), strings.ToLower(rand.Text()[:6]))
	if err := s.exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("servertest: %s: could not create a database: %w", s.Engine, err)
	}
	return name, nil
}

// copyDatabase makes a database with the tables and rows of the pristine one. It returns
// its name also with an error.
func (s *Instance) copyDatabase(ctx context.Context) (name string, err error) {
	if name, err = s.createDatabase(ctx); err != nil {
		return "", err
	}
	db, err := sql.Open("mysql", s.DSN(name))
	if err != nil {
		return name, err
	}
	defer func() {
		if err = errors.Join(err, db.Close()); err != nil {
			err = fmt.Errorf("servertest: %s: could not copy %s: %w", s.Engine, s.pristine, err)
		}
	}()
	var tables string
	if err := db.QueryRowContext(ctx, `SELECT GROUP_CONCAT(table_name) FROM information_schema.tables WHERE table_schema = ?`, s.pristine).Scan(&tables); err != nil {
		return name, err
	}
	for table := range strings.SplitSeq(tables, ",") {
		var create string
		if err := db.QueryRowContext(ctx, "SHOW CREATE TABLE "+s.pristine+"."+table).Scan(&table, &create); err != nil {
			return name, err
		}
		for _, query := range []string{create, "INSERT INTO " + table + " SELECT * FROM " + s.pristine + "." + table} {
			if _, err := db.ExecContext(ctx, query); err != nil {
				return name, err
			}
		}
	}
	return name, nil
}

func (s *Instance) dropDatabase(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), databasePatience)
	defer cancel()
	if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+name); err != nil {
		return fmt.Errorf("servertest: %s: could not drop the database %s: %w", s.Engine, name, err)
	}
	return nil
}

func (s *Instance) exec(ctx context.Context, query string) error {
	db, err := sql.Open("mysql", s.DSN(""))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, query)
	return errors.Join(err, db.Close())
}
