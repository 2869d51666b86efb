-- A helix_locks of an older version is taken over by package migrations: it becomes
-- helix_locks_older, its locks are copied to helix_locks_import, and that becomes helix_locks.
-- Meanwhile helix_locks is a table without columns that any program knows.

-- name: CheckOlder :one
-- How many rows there are, and how many do not fit. Is the time zone one that the server knows?
SELECT
    COUNT(*) AS all_rows,
    CAST(COALESCE(SUM(
        COALESCE(LENGTH(CONVERT(older.lock_key USING utf8mb4)), 0) NOT BETWEEN 1 AND 255
        OR LENGTH(CONVERT(older.owner_id USING utf8mb4)) > 255
        OR COALESCE(LENGTH(older.owner_id), 0) = 0 AND CAST(older.status AS CHAR) IN ('active', '1')
    ), 0) AS SIGNED) AS unfit_rows,
    CAST(CONVERT_TZ('2000-01-01', '+00:00', sqlc.arg(time_zone)) IS NOT NULL AS SIGNED) AS zone_known
FROM helix_locks_older AS older;

-- name: OlderHolders :many
-- Active leases, and the time that each has left, or is over: negative.
SELECT
    LOWER(HEX(CAST(CONVERT(older.lock_key USING utf8mb4) AS BINARY))) AS key_hex,
    LOWER(HEX(CAST(CONVERT(older.owner_id USING utf8mb4) AS BINARY))) AS owner_hex,
    CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), CONVERT_TZ(
        CAST('1970-01-01' AS DATETIME(6)) + INTERVAL COALESCE(UNIX_TIMESTAMP(older.expires_at), 0) SECOND,
        '+00:00', sqlc.arg(time_zone)
    )) AS SIGNED) AS remaining_micros
FROM helix_locks_older AS older
WHERE CAST(older.status AS CHAR) IN ('active', '1')
ORDER BY older.lock_key;

-- name: OlderCollisions :many
-- Keys that the older collation takes for one and bytes for two: those of one nth.
SELECT o.nth, LOWER(HEX(o.new_key)) AS key_hex
FROM (
    SELECT
        CAST(DENSE_RANK() OVER (ORDER BY k.lock_key) AS SIGNED) AS nth,
        k.bytes AS new_key,
        MIN(k.bytes) OVER (PARTITION BY k.lock_key) AS lowest,
        MAX(k.bytes) OVER (PARTITION BY k.lock_key) AS highest
    FROM (
        SELECT older.lock_key, CAST(CONVERT(older.lock_key USING utf8mb4) AS BINARY) AS bytes
        FROM helix_locks_older AS older
    ) AS k
) AS o
WHERE o.lowest <> o.highest
GROUP BY o.nth, o.new_key
ORDER BY o.nth, o.new_key;

-- name: CreateClosed :exec
CREATE TABLE IF NOT EXISTS helix_locks_closed (
    being_adopted BOOLEAN NOT NULL,
    PRIMARY KEY (being_adopted)
) ENGINE = InnoDB;

-- name: SetOlderAside :exec
RENAME TABLE helix_locks TO helix_locks_older, helix_locks_closed TO helix_locks;

-- name: ClearImport :exec
-- What an adoption that was interrupted has copied.
DELETE FROM helix_locks_import;

-- name: CopyOlder :execrows
-- One row for each key of bytes: the active holder's, else that of the highest epoch, of the keys
-- that the older collation takes for one; with the highest epoch of all. Expiries are instants of
-- a TIMESTAMP, corrected by the zone of whoever wrote them; the other times are texts.
INSERT INTO helix_locks_import (
    lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at
)
SELECT
    spelling.new_key,
    spelling.new_owner,
    GREATEST(spelling.new_epoch, COALESCE(f.floor_epoch, 0)),
    IF(spelling.new_status = 1, spelling.lease_id, 0),
    spelling.new_status,
    IF(spelling.new_status = 1, spelling.expires, '1970-01-01'),
    spelling.updated,
    spelling.created,
    spelling.updated
FROM (
    SELECT
        one.bytes AS new_key,
        FIRST_VALUE(one.owner) OVER holder AS new_owner,
        MAX(one.epoch) OVER (PARTITION BY one.lock_key) AS new_epoch,
        FIRST_VALUE(one.lease_id) OVER holder AS lease_id,
        FIRST_VALUE(one.state) OVER holder AS new_status,
        FIRST_VALUE(one.expires) OVER holder AS expires,
        FIRST_VALUE(one.updated) OVER holder AS updated,
        MIN(one.created) OVER (PARTITION BY one.lock_key) AS created,
        ROW_NUMBER() OVER (PARTITION BY one.bytes ORDER BY one.id) AS nth
    FROM (
        SELECT
            older.id,
            older.lock_key,
            CAST(CONVERT(older.lock_key USING utf8mb4) AS BINARY) AS bytes,
            COALESCE(CAST(CONVERT(older.owner_id USING utf8mb4) AS BINARY), '') AS owner,
            COALESCE(older.epoch, 0) AS epoch,
            adoption.lease_id,
            CASE
                WHEN CAST(older.status AS CHAR) IN ('active', '1') THEN 1
                WHEN CAST(older.status AS CHAR) IN ('deletable', '2') THEN 2
                ELSE 0
            END AS state,
            CONVERT_TZ(
                CAST('1970-01-01' AS DATETIME(6)) + INTERVAL COALESCE(UNIX_TIMESTAMP(older.expires_at), 0) SECOND,
                '+00:00', adoption.time_zone
            ) AS expires,
            COALESCE(CONVERT_TZ(older.created_at, adoption.time_zone, '+00:00'), '1970-01-01') AS created,
            COALESCE(CONVERT_TZ(older.updated_at, adoption.time_zone, '+00:00'), '1970-01-01') AS updated
        FROM helix_locks_older AS older
        CROSS JOIN (
            SELECT UPPER(sqlc.arg(time_zone)) AS time_zone, CAST(sqlc.arg(lease_id) AS SIGNED) AS lease_id
        ) AS adoption
    ) AS one
    WINDOW holder AS (
        PARTITION BY one.lock_key ORDER BY one.state = 1 DESC, one.epoch DESC, one.updated DESC, one.id DESC
    )
) AS spelling
LEFT JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(spelling.new_key), 256)
WHERE spelling.nth = 1;

-- name: RaiseAdoptedFloors :exec
-- So that no epoch comes again where a program of an older version purges, which knows no floors.
UPDATE helix_lock_floor AS f
INNER JOIN (
    SELECT MOD(CRC32(lock_key), 256) AS shard, MAX(epoch) AS highest
    FROM helix_locks_import
    GROUP BY MOD(CRC32(lock_key), 256)
) AS adopted ON adopted.shard = f.shard
SET f.floor_epoch = GREATEST(f.floor_epoch, adopted.highest);

-- name: ImportBecomesLocks :exec
-- Fails for whoever comes second: helix_locks_closed stays, with the older table.
RENAME TABLE helix_locks TO helix_locks_closed, helix_locks_import TO helix_locks;
