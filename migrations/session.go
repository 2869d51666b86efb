package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3/lock"

	"github.com/gox-helix/gox-helix/lockdb"
)

// tableWait is for how long a statement that drops or renames a table waits for others to
// be done with it, in seconds. Everybody else queues behind it; on MySQL also when the
// client has gone meanwhile.
const tableWait = 5

// setTableWait is not in lockdb, as sqlc generates nothing for a SET.
func setTableWait(ctx context.Context, conn *sql.Conn, seconds int64) error {
	_, err := conn.ExecContext(ctx, fmt.Sprintf("SET SESSION lock_wait_timeout = %d", seconds))
	return err
}

// impatient is a locker that has the session wait no longer than [tableWait] for a table.
type impatient struct {
	lock.SessionLocker

	before int64 // the session's own
}

func (l *impatient) SessionLock(ctx context.Context, conn *sql.Conn) (err error) {
	if err := l.SessionLocker.SessionLock(ctx, conn); err != nil {
		return err
	}
	if l.before, err = lockdb.New(conn).LockWaitTimeout(ctx); err == nil {
		err = setTableWait(ctx, conn, tableWait)
	}
	if err != nil {
		return errors.Join(err, l.SessionLocker.SessionUnlock(context.WithoutCancel(ctx), conn))
	}
	return nil
}

// SessionUnlock leaves nothing changed on a connection of the caller's pool, whatever has
// become of ctx.
func (l *impatient) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockPatience)
	defer cancel()
	err := setTableWait(ctx, conn, l.before)
	if isConnectionLost(err) { // then there is nothing to restore
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("migrations: restore lock_wait_timeout of the connection: close it, or the pool: %w", err)
	}
	return errors.Join(err, l.SessionLocker.SessionUnlock(ctx, conn))
}

// noLocker is for those who want none.
type noLocker struct{}

func (noLocker) SessionLock(context.Context, *sql.Conn) error   { return nil }
func (noLocker) SessionUnlock(context.Context, *sql.Conn) error { return nil }

// onPool makes a locker of a pool one of a session: goose allows one of either
// kind.
type onPool struct {
	lock.Locker

	db *sql.DB
}

func (l onPool) SessionLock(ctx context.Context, _ *sql.Conn) error   { return l.Lock(ctx, l.db) }
func (l onPool) SessionUnlock(ctx context.Context, _ *sql.Conn) error { return l.Unlock(ctx, l.db) }
