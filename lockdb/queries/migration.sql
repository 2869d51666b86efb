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
-- 1 granted, 0 somebody else's until the end of the wait, -1 refused by the server.
SELECT CAST(COALESCE(GET_LOCK(sqlc.arg(name), sqlc.arg(seconds)), -1) AS SIGNED) AS answer;

-- name: ReleaseNamedLock :one
-- 1 released, 0 somebody else's, -1 nobody's.
SELECT CAST(COALESCE(RELEASE_LOCK(sqlc.arg(name)), -1) AS SIGNED) AS answer;

-- name: NamedLockHolder :one
-- The id of the connection that holds it, 0 if none does.
SELECT CAST(COALESCE(IS_USED_LOCK(sqlc.arg(name)), 0) AS SIGNED) AS connection;

-- name: OlderCollisions :many
-- Keys of the table that a migration has set aside that its collation takes for one
-- and bytes take for two: those of one nth.
SELECT o.nth, LOWER(HEX(o.new_key)) AS key_hex
FROM (
    SELECT
        CAST(DENSE_RANK() OVER (ORDER BY k.lock_key) AS SIGNED) AS nth,
        k.bytes AS new_key,
        MIN(k.bytes) OVER (PARTITION BY k.lock_key) AS lowest,
        MAX(k.bytes) OVER (PARTITION BY k.lock_key) AS highest
    FROM (
        SELECT lock_key, CAST(CONVERT(lock_key USING utf8mb4) AS BINARY) AS bytes
        FROM helix_locks_older
    ) AS k
) AS o
WHERE o.lowest <> o.highest
GROUP BY o.nth, o.new_key
ORDER BY o.nth, o.new_key;

-- name: Collisions :many
-- The same in a table of an older shape before its migration.
SELECT o.nth, LOWER(HEX(o.new_key)) AS key_hex
FROM (
    SELECT
        CAST(DENSE_RANK() OVER (ORDER BY k.lock_key) AS SIGNED) AS nth,
        k.bytes AS new_key,
        MIN(k.bytes) OVER (PARTITION BY k.lock_key) AS lowest,
        MAX(k.bytes) OVER (PARTITION BY k.lock_key) AS highest
    FROM (
        SELECT lock_key, CAST(CONVERT(lock_key USING utf8mb4) AS BINARY) AS bytes
        FROM helix_locks
    ) AS k
) AS o
WHERE o.lowest <> o.highest
GROUP BY o.nth, o.new_key
ORDER BY o.nth, o.new_key;

-- name: CreateVersionTable :exec
-- goose's own, but that it may be there. goose makes it before it locks; what several
-- nodes of a cluster do at once must be nothing to whoever is second.
CREATE TABLE IF NOT EXISTS helix_goose_db_version (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    version_id BIGINT          NOT NULL,
    is_applied BOOLEAN         NOT NULL,
    tstamp     DATETIME        NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (id)
);
