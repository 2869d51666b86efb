-- A purge deletes rows and raises their shards' floors, above which fresh keys start, in
-- one transaction that has both locked. The floors come first: whoever acquires a fresh
-- key locks its floor before its row.
--
-- A key is purgeable if it is retired, or inactive and unchanged for idle_micros.

-- name: PurgeCandidates :many
-- One page of keys: a plain read. The last row, which need not be purgeable, is where the
-- next page begins. A shard has no floor where somebody has deleted it.
SELECT
    l.lock_key,
    CAST(MOD(CRC32(l.lock_key), 256) AS SIGNED) AS shard,
    CAST(l.status = 2 OR (l.status = 0 AND TIMESTAMPDIFF(MICROSECOND, l.updated_at, UTC_TIMESTAMP())
        >= CAST(sqlc.arg(idle_micros) AS SIGNED)) AS SIGNED) AS purgeable,
    CAST(f.shard IS NOT NULL AS SIGNED) AS has_floor
FROM helix_locks AS l FORCE INDEX (PRIMARY)
LEFT JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(l.lock_key), 256)
WHERE l.lock_key > UNHEX(UPPER(sqlc.arg(after_hex)))
ORDER BY l.lock_key
LIMIT ?;

-- name: LockFloors :many
-- Locks floors, except those that a transaction with a fresh key has locked.
SELECT f.shard
FROM helix_lock_floor AS f FORCE INDEX (PRIMARY)
WHERE f.shard IN (sqlc.slice('shards'))
LIMIT 256
FOR UPDATE SKIP LOCKED;

-- name: LockPurgeable :many
-- Locks the keys that are still purgeable and that nobody has locked.
SELECT CAST(item.i AS SIGNED) AS i
FROM (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
WHERE l.status = 2 OR (l.status = 0
    AND TIMESTAMPDIFF(MICROSECOND, l.updated_at, UTC_TIMESTAMP()) >= CAST(sqlc.arg(idle_micros) AS SIGNED))
LIMIT 1000
FOR UPDATE SKIP LOCKED;

-- name: RaiseFloors :exec
INSERT INTO helix_lock_floor (shard, floor_epoch)
SELECT MOD(CRC32(l.lock_key), 256), l.epoch
FROM (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
FOR UPDATE
ON DUPLICATE KEY UPDATE floor_epoch = GREATEST(helix_lock_floor.floor_epoch, l.epoch);

-- name: DeleteKeys :execrows
DELETE l
FROM (SELECT * FROM helix_batch WHERE list = sqlc.arg(batch)) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key;
