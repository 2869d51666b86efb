// Package round is one round of the proof: a load, a fault in its middle, and what is
// then made of the history and the database.
package round

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Servers are where a round runs: one server, or the nodes of a cluster.
type Servers interface {
	Name() string
	Version() string
	// MultiWriter reports whether more than one node takes writes.
	MultiWriter() bool
	Nodes() int
	// Config is how to connect to a node.
	Config(node int) *mysql.Config
	// Writers are the nodes that take writes now.
	Writers(ctx context.Context) ([]int, error)
	// Kill ends a node with SIGKILL, Restart brings it back.
	Kill(ctx context.Context, node int) error
	Restart(ctx context.Context, node int) error
	// Pause stops a node's process, Resume lets it go on.
	Pause(node int) error
	Resume(node int) error
	// Isolate cuts a node off from the others, but not from its clients; Heal ends that.
	Isolate(ctx context.Context, node int) error
	Heal(ctx context.Context, node int) error
	// SetClock moves a node's clock by so much from where it should be.
	SetClock(ctx context.Context, node int, offset time.Duration) error
	// Wait waits until all nodes are there and work together.
	Wait(ctx context.Context) error
}

// admin is a pool for our own statements, on a node that takes writes.
func admin(ctx context.Context, servers Servers, database string) (*sql.DB, error) {
	writers, err := servers.Writers(ctx)
	if err != nil {
		return nil, err
	}
	if len(writers) == 0 {
		return nil, fmt.Errorf("%s: no node takes writes", servers.Name())
	}
	return pool(servers.Config(writers[0]), database)
}

func pool(config *mysql.Config, database string) (*sql.DB, error) {
	config = config.Clone()
	config.DBName = database
	config.Logger = &mysql.NopLogger{} // faults are the point
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// withAdmin lets f use a pool for our own statements.
func withAdmin(ctx context.Context, servers Servers, database string, f func(db *sql.DB) error) error {
	db, err := admin(ctx, servers, database)
	if err != nil {
		return err
	}
	return errors.Join(f(db), db.Close())
}

// isolationVariable is the session variable of the isolation level.
func isolationVariable(version string) string {
	if strings.Contains(version, "MariaDB") {
		return "tx_isolation"
	}
	return "transaction_isolation"
}
