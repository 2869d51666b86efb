-- Up to a thousand keys in one statement.
--
-- The keys come as one argument, see Batch, so that the text is always the same. sqlc
-- parses no JSON_TABLE: helix_batch stands for it (catalog.sql, and tools/finish writes
-- it in). Rows are numbered by their place in the list, from 0.
--
-- Keep: STRAIGHT_JOIN and FORCE INDEX look each key up by the primary key in the list's
-- order, so that no other row is locked.

-- name: RenewLeases :execrows
-- Renews leases of one TTL, except those whose row another transaction has locked. It
-- counts each of them twice.
INSERT INTO helix_locks (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
SELECT l.lock_key, l.owner_id, l.epoch, l.lease_id, l.status, l.expires_at, l.acquired_at, l.created_at, l.updated_at
FROM (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
WHERE l.epoch = item.epoch AND l.lease_id = item.lease_id
FOR UPDATE SKIP LOCKED
ON DUPLICATE KEY UPDATE
    expires_at = GREATEST(helix_locks.expires_at,
        UTC_TIMESTAMP() + INTERVAL CAST(sqlc.arg(ttl_micros) AS SIGNED) MICROSECOND),
    updated_at = GREATEST(helix_locks.updated_at + INTERVAL 1 MICROSECOND, UTC_TIMESTAMP());

-- name: StandingLeases :many
-- Which leases stand, and for how long: a plain read.
SELECT CAST(item.i AS SIGNED) AS i,
    CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), l.expires_at) AS SIGNED) AS remaining_micros
FROM (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
WHERE l.epoch = item.epoch AND l.lease_id = item.lease_id
LIMIT 1000;

-- name: MissingKeys :many
-- Which keys have no row: a plain read.
SELECT CAST(item.i AS SIGNED) AS i
FROM (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
LEFT JOIN helix_locks AS l ON l.lock_key = item.lock_key
WHERE l.lock_key IS NULL
LIMIT 1000;

-- name: EnsureKeys :exec
-- Locks the keys' rows in the list's order, after making those that are missing: see
-- EnsureKey.
INSERT INTO helix_locks (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
SELECT item.lock_key, '', f.floor_epoch, 0, 0, '1970-01-01', UTC_TIMESTAMP(), UTC_TIMESTAMP(), UTC_TIMESTAMP()
FROM (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
STRAIGHT_JOIN helix_lock_floor AS f FORCE INDEX (PRIMARY) ON f.shard = MOD(CRC32(item.lock_key), 256)
ORDER BY item.i
LOCK IN SHARE MODE
ON DUPLICATE KEY UPDATE lock_key = helix_locks.lock_key;

-- name: LockKeys :many
-- Locks the rows that are there. A key is free if remaining_micros is not above 0.
SELECT CAST(item.i AS SIGNED) AS i, l.owner_id, l.epoch, l.status,
    CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), l.expires_at) AS SIGNED) AS remaining_micros
FROM (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
LIMIT 1000
FOR UPDATE;

-- name: LockKeysNoWait :many
-- LockKeys that skips rows which other transactions have locked.
SELECT CAST(item.i AS SIGNED) AS i, l.owner_id, l.epoch, l.status,
    CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), l.expires_at) AS SIGNED) AS remaining_micros
FROM (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
LIMIT 1000
FOR UPDATE SKIP LOCKED;

-- name: AcquireLeases :execrows
-- Acquires keys whose rows this transaction has locked, and found free.
UPDATE (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
SET
    l.owner_id = UNHEX(UPPER(sqlc.arg(owner_hex))),
    l.epoch = l.epoch + 1,
    l.lease_id = item.lease_id,
    l.status = 1,
    l.expires_at = UTC_TIMESTAMP() + INTERVAL CAST(sqlc.arg(ttl_micros) AS SIGNED) MICROSECOND,
    l.acquired_at = UTC_TIMESTAMP(),
    l.updated_at = UTC_TIMESTAMP();
