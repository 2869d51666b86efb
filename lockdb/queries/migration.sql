-- What migrations need beside goose's own statements.

-- name: ListVersions :many
-- The migrations that goose has noted, and when in Unix seconds (0: not known).
SELECT version_id, CAST(COALESCE(MAX(UNIX_TIMESTAMP(tstamp)), 0) AS SIGNED) AS applied_at
FROM helix_goose_db_version
WHERE is_applied
GROUP BY version_id
ORDER BY version_id;

-- name: CurrentDatabase :one
-- Empty where none is selected. LOWER also tells sqlc that it is a string.
SELECT LOWER(COALESCE(DATABASE(), '')) AS name;

-- name: GetNamedLock :one
-- 1 granted, 0 somebody else's until the end of the wait, NULL refused by the server. Sent as
-- SELECT GET_LOCK(?, ?), and the next two alike: Vitess takes none of them within another.
SELECT get_lock FROM named_locks WHERE name = sqlc.arg(name) AND seconds = sqlc.arg(seconds);

-- name: ReleaseNamedLock :one
-- 1 released, 0 somebody else's, NULL nobody's.
SELECT release_lock FROM named_locks WHERE name = sqlc.arg(name);

-- name: NamedLockHolder :one
-- The id of the connection that holds it, NULL if none does.
SELECT is_used_lock FROM named_locks WHERE name = sqlc.arg(name);

-- name: LockWaitTimeout :one
-- In seconds, for how long a statement waits for a table that another transaction uses.
SELECT CAST(@@SESSION.lock_wait_timeout AS SIGNED) AS seconds;

-- name: CreateVersionTable :exec
-- goose's own, but that it may be there: processes may make it at once.
CREATE TABLE IF NOT EXISTS helix_goose_db_version (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    version_id BIGINT          NOT NULL,
    is_applied BOOLEAN         NOT NULL,
    tstamp     DATETIME        NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (id)
) ENGINE = InnoDB;

-- name: InsertVersionZero :exec
-- The row that goose begins a table of versions with, once: by its id.
INSERT IGNORE INTO helix_goose_db_version (id, version_id, is_applied)
VALUES (1, 0, TRUE);

-- name: HasVersions :one
SELECT version_id FROM helix_goose_db_version LIMIT 1;
