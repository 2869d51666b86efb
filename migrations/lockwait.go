package migrations

import (
	"context"
	"database/sql"
	"fmt"
)

// restoreLockWait ends the short lock_wait_timeout of a migration that failed: it
// keeps the session's own in a variable. Without that it does nothing. It is not
// in lockdb, as sqlc generates nothing for a SET.
const restoreLockWait = `SET SESSION lock_wait_timeout = CAST(COALESCE(@helix_lock_wait, @@SESSION.lock_wait_timeout) AS SIGNED), @helix_lock_wait = NULL`

// restoreSession leaves nothing changed on a connection of the caller's pool,
// whatever has become of ctx.
func restoreSession(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockPatience)
	defer cancel()
	_, err := conn.ExecContext(ctx, restoreLockWait)
	if err == nil || isConnectionLost(err) { // then there is nothing to restore
		return nil
	}
	return fmt.Errorf("migrations: restore lock_wait_timeout of the connection: close it, or the pool: %w", err)
}
