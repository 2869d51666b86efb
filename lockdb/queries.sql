-- name: AcquireLock :execresult
-- Acquires a key that may be fresh. The floor is read under a shared lock: in
-- READ COMMITTED an unlocked read could be older than a purge.
INSERT INTO helix_locks (lock_key, owner_id, lease_id, epoch, status, expires_at, acquired_at, created_at, updated_at)
SELECT
    UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)),
    UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)),
    sqlc.arg(lease_id),
    LAST_INSERT_ID(f.floor_epoch + 1),
    CAST(sqlc.arg(status) AS SIGNED),
    TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
FROM helix_lock_floor AS f
WHERE f.shard = MOD(CRC32(UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1))), 256)
LOCK IN SHARE MODE
ON DUPLICATE KEY UPDATE
    epoch = IF(status <> 1 OR expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        LAST_INSERT_ID(epoch + 1),
        IF(LAST_INSERT_ID(-1 - CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), expires_at) AS SIGNED)), epoch, epoch)),
    acquired_at = IF(status <> 1 OR expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), acquired_at),
    updated_at = IF(status <> 1 OR expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), updated_at),
    lease_id = IF(status <> 1 OR expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        CAST(sqlc.arg(lease_id) AS SIGNED), lease_id),
    owner_id = IF(status <> 1 OR expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)), owner_id),
    expires_at = IF(status <> 1 OR expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()), expires_at),
    status = IF(status <> 1 OR expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        CAST(sqlc.arg(status) AS SIGNED), status);

-- name: AcquireKnownLock :execresult
-- AcquireLock for a key whose row is there: by the primary key alone, which
-- costs about as much as a locking read of the row. A row that is held fails the
-- last test, which leaves the answer in LAST_INSERT_ID() and is never true.
UPDATE helix_locks
SET
    owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)),
    lease_id = sqlc.arg(lease_id),
    epoch = LAST_INSERT_ID(epoch + 1),
    status = CAST(sqlc.arg(status) AS SIGNED),
    expires_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    acquired_at = TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    updated_at = TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1))
    AND (status <> 1
        OR expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
        OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1))
        OR LAST_INSERT_ID(-1 - CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), expires_at) AS SIGNED)) = 0);

-- name: RenewLock :execrows
-- Renews even after expiry: an unchanged epoch proves that nobody else held it.
UPDATE helix_locks
SET
    expires_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    updated_at = IF(updated_at < TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), TIMESTAMPADD(MICROSECOND, 1, updated_at))
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)) AND owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)) AND epoch = sqlc.arg(epoch) AND lease_id = sqlc.arg(lease_id) AND status = 1;

-- name: VerifyLock :one
-- The fence: a shared lock, so that many transactions of one holder run side by
-- side while every rival waits for the last of them to end. (The limit overrides
-- the session's sql_select_limit.)
SELECT epoch
FROM helix_locks
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)) AND owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)) AND epoch = sqlc.arg(epoch) AND lease_id = sqlc.arg(lease_id) AND status = 1
LIMIT 1
LOCK IN SHARE MODE;

-- name: FenceLock :execrows
-- The fence for multi-writer clusters, where shared locks are not replicated: a
-- write that every conflicting acquisition fails against at COMMIT.
UPDATE helix_locks
SET
    updated_at = IF(updated_at < TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), TIMESTAMPADD(MICROSECOND, 1, updated_at))
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)) AND owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)) AND epoch = sqlc.arg(epoch) AND lease_id = sqlc.arg(lease_id) AND status = 1;

-- name: ReleaseLock :execrows
-- Releases this lease only: a late release matches no row.
UPDATE helix_locks
SET
    status = 0,
    updated_at = IF(updated_at < TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), TIMESTAMPADD(MICROSECOND, 1, updated_at))
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)) AND owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)) AND epoch = sqlc.arg(epoch) AND lease_id = sqlc.arg(lease_id) AND status = 1;
