-- Locks that end with their transaction.
--
-- A lock is the server's lock on the key's row; the statements here take it and answer
-- the row's status. Status 1 means that a lease is, or was, active: the caller then
-- acquires with status 0 (lease.sql), which fences a late holder, or is refused.
--
-- Keep: a lookup by the primary key alone, which locks no gap and no other row, and no
-- write to a row that is there. SKIP LOCKED, never NOWAIT: its refusal is no error, which
-- MariaDB with innodb_rollback_on_timeout would answer by rolling back.
--
-- Keys and owners travel as hex, since the server would convert text between the session's
-- character sets. UPPER within UNHEX is sent as CONVERT(... USING latin1), for sessions that
-- compare in UTF-16 or UTF-32, where UNHEX finds no digits. LockKey does without, as an
-- upsert follows where it finds no row.

-- name: LockKey :one
SELECT status FROM helix_locks WHERE lock_key = UNHEX(sqlc.arg(key_hex)) FOR UPDATE;

-- name: LockKeyNoWait :one
-- No row: it is locked by another transaction, or was purged. (LIMIT overrides a session's
-- sql_select_limit.)
SELECT status FROM helix_locks WHERE lock_key = UNHEX(UPPER(sqlc.arg(key_hex))) LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: ShareKey :one
-- The shared lock. A read-only transaction and a read-only server grant shared locks that
-- protect nothing: the subquery, which reads no row, lets them refuse as for a write. A
-- read-only server does not refuse an administrator, hence read_only.
SELECT
    status,
    CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), expires_at) AS SIGNED) AS remaining_micros,
    CAST(@@global.read_only NOT IN ('OFF', '0') AS SIGNED) AS read_only
FROM helix_locks
WHERE lock_key = UNHEX(UPPER(sqlc.arg(key_hex)))
    AND NOT EXISTS (SELECT 1 FROM helix_locks AS writable WHERE 1 = 0 FOR UPDATE)
LIMIT 1
LOCK IN SHARE MODE;

-- name: EnsureKey :execresult
-- Locks the key's row, after making it where it is missing. LAST_INSERT_ID() answers 4
-- for a new row, else status + 1, and 0 if the key's shard has no floor. A new row starts
-- at the floor, which is read under a lock: in READ COMMITTED an unlocked read could be
-- older than a purge.
INSERT INTO helix_locks (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
SELECT want.lock_key, '', f.floor_epoch, 0, 0 * LAST_INSERT_ID(4), '1970-01-01', want.moment, want.moment, want.moment
FROM (SELECT UNHEX(UPPER(sqlc.arg(key_hex))) AS lock_key, UTC_TIMESTAMP() AS moment) AS want
STRAIGHT_JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(want.lock_key), 256)
LOCK IN SHARE MODE
ON DUPLICATE KEY UPDATE status = LAST_INSERT_ID(helix_locks.status + 1) - 1;

-- name: MakeKey :execrows
-- Makes a key's row, to be locked later. Unlike EnsureKey it fails where there
-- is one, and then waits for nobody who only shares it. 0 rows: the shard has no floor.
INSERT INTO helix_locks (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
SELECT want.lock_key, '', f.floor_epoch, 0, 0, '1970-01-01', want.moment, want.moment, want.moment
FROM (SELECT UNHEX(UPPER(sqlc.arg(key_hex))) AS lock_key, UTC_TIMESTAMP() AS moment) AS want
STRAIGHT_JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(want.lock_key), 256)
LOCK IN SHARE MODE;

-- name: ClusterVariables :many
-- Whether several servers take writes. It takes no snapshot in the caller's transaction.
SELECT variable_name, value FROM global_variables
WHERE variable_name IN (
    'wsrep_on', 'wsrep_provider', 'group_replication_group_name', 'group_replication_single_primary_mode'
);
