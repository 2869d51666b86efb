// Package contender is what is measured side by side: ways to let one business
// transaction at a time run under a key.
package contender

import (
	"context"
	"database/sql"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Env is what there is to run on.
type Env struct {
	MySQL *mysql.Config // with the database of the run; to be cloned before it is changed
	// Redis and DurableRedis are addresses of servers, the latter with appendfsync always.
	Redis, DurableRedis string
	Etcd                string // the address of a server's clients
	TTL                 time.Duration
	// Dial connects, and counts what goes over the wire: all clients must use it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Contender is one way.
type Contender struct {
	Name string
	// About says how it is done, in a line.
	About    string
	Promises Promises
	// OwnKeys says that it is only for keys that one worker each uses.
	OwnKeys bool
	// Ours says that it is this library.
	Ours bool
	// Unlocked says that it locks nothing.
	Unlocked bool
	Open     func(ctx context.Context, e Env) (Lock, error)
	// Hold takes many keys that nobody has, and keeps them; nil: it holds no longer
	// than a transaction.
	Hold func(ctx context.Context, e Env, keys int) (Held, error)
}

// Promises are what a way holds when things go wrong.
type Promises struct {
	// SurvivesCrash: a holder that dies does not keep the key for ever.
	SurvivesCrash bool
	// Fences: a holder that was paused for longer than its TTL cannot write afterwards.
	Fences bool
	// Atomic: lock and business rows are committed together.
	Atomic bool
	// OtherServer is what it needs beside the database; empty: nothing.
	OtherServer string
}

// Business is what is done in the transaction.
type Business func(ctx context.Context, tx *sql.Tx) error

// Lock is an open contender, for many workers at once.
type Lock interface {
	// Do runs business in one transaction, alone under the key.
	Do(ctx context.Context, worker int, key string, business Business) error
	Close() error
}
