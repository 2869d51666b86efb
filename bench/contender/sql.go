package contender

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Pool opens a pool on the database, whose connections are counted.
func (e Env) Pool() (*sql.DB, error) {
	config := e.MySQL.Clone()
	config.DialFunc = e.Dial
	config.InterpolateParams = true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(manyConnections)
	return db, nil
}

// plain is a lock that is taken in the business transaction, or none.
type plain struct {
	db   *sql.DB
	lock func(ctx context.Context, tx *sql.Tx, key string) error // nil: none
}

func (p *plain) Close() error { return p.db.Close() }

func (p *plain) Do(ctx context.Context, _ int, key string, business Business) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if p.lock != nil {
		if err := p.lock(ctx, tx, key); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return finish(ctx, tx, business)
}

// finish does the business, and ends the transaction.
func finish(ctx context.Context, tx *sql.Tx, business Business) error {
	if err := business(ctx, tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func unprotected(_ context.Context, e Env) (Lock, error) {
	db, err := e.Pool()
	return &plain{db: db}, err
}

const lockByHand = "SELECT 1 FROM mutexes WHERE name = ? FOR UPDATE"

func forUpdate(_ context.Context, e Env) (Lock, error) {
	db, err := e.Pool()
	return &plain{db: db, lock: func(ctx context.Context, tx *sql.Tx, key string) error {
		var one int
		return tx.QueryRowContext(ctx, lockByHand, key).Scan(&one)
	}}, err
}

func forUpdatePrepared(ctx context.Context, e Env) (Lock, error) {
	db, err := e.Pool()
	if err != nil {
		return nil, err
	}
	statement, err := db.PrepareContext(ctx, lockByHand)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &plain{db: db, lock: func(ctx context.Context, tx *sql.Tx, key string) error {
		var one int
		return tx.StmtContext(ctx, statement).QueryRowContext(ctx, key).Scan(&one) //nolint:sqlclosecheck // tx closes it
	}}, nil
}

// namedLock is GET_LOCK on the connection of the transaction.
type namedLock struct{ db *sql.DB }

func getLock(_ context.Context, e Env) (Lock, error) {
	db, err := e.Pool()
	return &namedLock{db}, err
}

func (n *namedLock) Close() error { return n.db.Close() }

const namedLockPatience = 60 // seconds

func (n *namedLock) Do(ctx context.Context, _ int, key string, business Business) (err error) {
	conn, err := n.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", key, namedLockPatience).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return fmt.Errorf("GET_LOCK of %q: not in %d s", key, namedLockPatience)
	}
	defer func() {
		_, releaseErr := conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", key)
		err = errors.Join(err, releaseErr)
	}()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	return finish(ctx, tx, business)
}

// leaseTable is what is mostly written by hand: an upsert that takes the row if it
// has expired, and a read of who has it, each in autocommit.
type leaseTable struct {
	db  *sql.DB
	ttl time.Duration
}

func handWrittenLease(_ context.Context, e Env) (Lock, error) {
	db, err := e.Pool()
	return &leaseTable{db, e.TTL}, err
}

func (l *leaseTable) Close() error { return l.db.Close() }

// leaseRetry is how long it waits before it asks again.
const leaseRetry = 5 * time.Millisecond

// take waits until the key is me's.
func (l *leaseTable) take(ctx context.Context, key, me string) error {
	for {
		if _, err := l.db.ExecContext(ctx, `INSERT INTO leases (name, owner, expires_at) VALUES (?, ?, NOW(6) + INTERVAL ? MICROSECOND)
			ON DUPLICATE KEY UPDATE owner = IF(expires_at < NOW(6), VALUES(owner), owner), expires_at = IF(owner = VALUES(owner), VALUES(expires_at), expires_at)`,
			key, me, l.ttl.Microseconds()); err != nil {
			return err
		}
		var owner string
		if err := l.db.QueryRowContext(ctx, "SELECT owner FROM leases WHERE name = ?", key).Scan(&owner); err != nil {
			return err
		}
		if owner == me {
			return nil
		}
		if err := sleep(ctx, leaseRetry); err != nil {
			return err
		}
	}
}

func (l *leaseTable) Do(ctx context.Context, _ int, key string, business Business) (err error) {
	me := rand.Text()
	if err := l.take(ctx, key, me); err != nil {
		return err
	}
	defer func() {
		_, releaseErr := l.db.ExecContext(ctx, "UPDATE leases SET expires_at = '2000-01-01' WHERE name = ? AND owner = ?", key, me)
		err = errors.Join(err, releaseErr)
	}()
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	return finish(ctx, tx, business)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
