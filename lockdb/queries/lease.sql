-- Leases.
--
-- A lease is known by its key, epoch and lease_id. The lease_id is random and new for each
-- lease, since an epoch comes again when its transaction rolls back. It is 0 while nobody
-- has a lease. A key is free once expires_at has passed; whoever ends a lease sets it to a
-- date long gone, so that a clock that is set back does not close the key again.
--
-- The acquiring statements, and RetireKey, answer in LAST_INSERT_ID(), which comes with
-- the OK packet: above 0 the epoch won; below 0 the key is held, for so many microseconds;
-- 0 if there was no row to ask. The others, and a RetireKey that succeeds, answer by their
-- affected rows.
--
-- Keep: every statement that finds its row changes it, so that affected rows are matched
-- rows whatever clientFoundRows says, and a multi-writer cluster certifies the row. In ON
-- DUPLICATE KEY UPDATE, expires_at comes last, as the other columns ask for it. Times are
-- the server's, in UTC; no client sends one.

-- name: AcquireLease :execresult
-- For a key that may be fresh: see EnsureKey for the floor.
INSERT INTO helix_locks (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
SELECT want.lock_key, want.owner_id, LAST_INSERT_ID(f.floor_epoch + 1), want.lease_id, want.status, want.expires_at,
    want.moment, want.moment, want.moment
FROM (
    SELECT UNHEX(UPPER(sqlc.arg(owner_hex))) AS owner_id, CAST(sqlc.arg(lease_id) AS SIGNED) AS lease_id,
        CAST(sqlc.arg(status) AS SIGNED) AS status, UTC_TIMESTAMP() AS moment,
        UTC_TIMESTAMP() + INTERVAL CAST(sqlc.arg(ttl_micros) AS SIGNED) MICROSECOND AS expires_at,
        UNHEX(UPPER(sqlc.arg(key_hex))) AS lock_key
) AS want
STRAIGHT_JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(want.lock_key), 256)
LOCK IN SHARE MODE
ON DUPLICATE KEY UPDATE
    epoch = IF(helix_locks.expires_at > want.moment,
        helix_locks.epoch + 0 * LAST_INSERT_ID(-TIMESTAMPDIFF(MICROSECOND, want.moment, helix_locks.expires_at)),
        LAST_INSERT_ID(helix_locks.epoch + 1)),
    owner_id = IF(helix_locks.expires_at > want.moment, helix_locks.owner_id, want.owner_id),
    lease_id = IF(helix_locks.expires_at > want.moment, helix_locks.lease_id, want.lease_id),
    status = IF(helix_locks.expires_at > want.moment, helix_locks.status, want.status),
    acquired_at = IF(helix_locks.expires_at > want.moment, helix_locks.acquired_at, want.moment),
    updated_at = IF(helix_locks.expires_at > want.moment, helix_locks.updated_at, want.moment),
    expires_at = IF(helix_locks.expires_at > want.moment, helix_locks.expires_at, want.expires_at);

-- name: AcquireKnownLease :execresult
-- For a key whose row is there. The second term of OR only answers "held": it is never
-- true, and not evaluated for a free key.
UPDATE helix_locks
SET
    owner_id = UNHEX(UPPER(sqlc.arg(owner_hex))),
    epoch = LAST_INSERT_ID(epoch + 1),
    lease_id = sqlc.arg(lease_id),
    status = CAST(sqlc.arg(status) AS SIGNED),
    expires_at = UTC_TIMESTAMP() + INTERVAL CAST(sqlc.arg(ttl_micros) AS SIGNED) MICROSECOND,
    acquired_at = UTC_TIMESTAMP(),
    updated_at = UTC_TIMESTAMP()
WHERE lock_key = UNHEX(UPPER(sqlc.arg(key_hex))) AND (expires_at <= UTC_TIMESTAMP()
    OR LAST_INSERT_ID(-TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), expires_at)) = 0);

-- name: AcquireLeaseNoWait :execresult
-- AcquireKnownLease that skips a row which another transaction has locked.
INSERT INTO helix_locks (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
SELECT want.lock_key, want.owner_id, LAST_INSERT_ID(l.epoch + 1), want.lease_id, want.status, want.expires_at,
    want.moment, want.moment, want.moment
FROM (
    SELECT UNHEX(UPPER(sqlc.arg(owner_hex))) AS owner_id, CAST(sqlc.arg(lease_id) AS SIGNED) AS lease_id,
        CAST(sqlc.arg(status) AS SIGNED) AS status, UTC_TIMESTAMP() AS moment,
        UTC_TIMESTAMP() + INTERVAL CAST(sqlc.arg(ttl_micros) AS SIGNED) MICROSECOND AS expires_at,
        UNHEX(UPPER(sqlc.arg(key_hex))) AS lock_key
) AS want
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = want.lock_key
WHERE l.expires_at <= want.moment OR LAST_INSERT_ID(-TIMESTAMPDIFF(MICROSECOND, want.moment, l.expires_at)) = 0
FOR UPDATE SKIP LOCKED
ON DUPLICATE KEY UPDATE
    owner_id = want.owner_id,
    epoch = helix_locks.epoch + 1,
    lease_id = want.lease_id,
    status = want.status,
    expires_at = want.expires_at,
    acquired_at = want.moment,
    updated_at = want.moment;

-- name: EndOwnLease :execrows
-- The first half of Reclaim: lets whatever lease this owner has expire.
UPDATE helix_locks
SET expires_at = '1970-01-01'
WHERE lock_key = UNHEX(UPPER(sqlc.arg(key_hex))) AND owner_id = UNHEX(UPPER(sqlc.arg(owner_hex))) AND status = 1;

-- name: RenewLease :execrows
-- Also after the expiry: nobody else has held the key since.
UPDATE helix_locks
SET
    expires_at = GREATEST(expires_at, UTC_TIMESTAMP() + INTERVAL CAST(sqlc.arg(ttl_micros) AS SIGNED) MICROSECOND),
    updated_at = GREATEST(updated_at + INTERVAL 1 MICROSECOND, UTC_TIMESTAMP())
WHERE lock_key = UNHEX(UPPER(sqlc.arg(key_hex))) AND epoch = sqlc.arg(epoch) AND lease_id = sqlc.arg(lease_id);

-- name: VerifyLease :one
-- The fence: a shared lock, under which many transactions of one holder run side by side
-- while every rival waits for the last of them.
SELECT epoch FROM helix_locks
WHERE lock_key = UNHEX(UPPER(sqlc.arg(key_hex))) AND epoch = sqlc.arg(epoch) AND lease_id = sqlc.arg(lease_id)
LIMIT 1
LOCK IN SHARE MODE;

-- name: ReleaseLease :execrows
UPDATE helix_locks
SET lease_id = 0, status = 0, expires_at = '1970-01-01', updated_at = UTC_TIMESTAMP()
WHERE lock_key = UNHEX(UPPER(sqlc.arg(key_hex))) AND epoch = sqlc.arg(epoch) AND lease_id = sqlc.arg(lease_id);

-- name: RevokeKey :execrows
-- Ends whatever lease there is.
UPDATE helix_locks
SET epoch = epoch + 1, lease_id = 0, status = 0, expires_at = '1970-01-01', updated_at = UTC_TIMESTAMP()
WHERE lock_key = UNHEX(UPPER(sqlc.arg(key_hex)));

-- name: RetireKey :execresult
-- Marks a free key as deletable.
UPDATE helix_locks
SET lease_id = 0, status = 2, expires_at = '1970-01-01',
    updated_at = GREATEST(updated_at + INTERVAL 1 MICROSECOND, UTC_TIMESTAMP())
WHERE lock_key = UNHEX(UPPER(sqlc.arg(key_hex))) AND (expires_at <= UTC_TIMESTAMP()
    OR LAST_INSERT_ID(-TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), expires_at)) = 0);
