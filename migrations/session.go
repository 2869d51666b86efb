package migrations

import (
	"context"
	"database/sql"
	"errors"

	"github.com/pressly/goose/v3/lock"
)

// session is the locker that goose is given, around any other or none: it also
// looks at the connection before goose migrates on it, and clears it up afterwards.
type session struct {
	lock.SessionLocker

	begun func(ctx context.Context, conn *sql.Conn) error // called under the lock
}

func (s *session) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if err := s.SessionLocker.SessionLock(ctx, conn); err != nil {
		return err
	}
	if err := s.begun(ctx, conn); err != nil {
		return errors.Join(err, s.SessionLocker.SessionUnlock(context.WithoutCancel(ctx), conn))
	}
	return nil
}

func (s *session) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	return errors.Join(restoreSession(ctx, conn), s.SessionLocker.SessionUnlock(ctx, conn))
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
