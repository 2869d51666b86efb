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
    epoch = IF(status <> 1 OR (expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND (lease_id >= 0 OR lease_id = CAST(sqlc.arg(lease_id) AS SIGNED))) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        LAST_INSERT_ID(epoch + 1),
        IF(LAST_INSERT_ID(-1 - GREATEST(0, CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), expires_at) AS SIGNED))), epoch, epoch)),
    acquired_at = IF(status <> 1 OR (expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND (lease_id >= 0 OR lease_id = CAST(sqlc.arg(lease_id) AS SIGNED))) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), acquired_at),
    updated_at = IF(status <> 1 OR (expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND (lease_id >= 0 OR lease_id = CAST(sqlc.arg(lease_id) AS SIGNED))) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), updated_at),
    lease_id = IF(status <> 1 OR (expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND (lease_id >= 0 OR lease_id = CAST(sqlc.arg(lease_id) AS SIGNED))) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        CAST(sqlc.arg(lease_id) AS SIGNED), lease_id),
    owner_id = IF(status <> 1 OR (expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND (lease_id >= 0 OR lease_id = CAST(sqlc.arg(lease_id) AS SIGNED))) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)), owner_id),
    expires_at = IF(status <> 1 OR (expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND (lease_id >= 0 OR lease_id = CAST(sqlc.arg(lease_id) AS SIGNED))) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()), expires_at),
    status = IF(status <> 1 OR (expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND (lease_id >= 0 OR lease_id = CAST(sqlc.arg(lease_id) AS SIGNED))) OR owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        CAST(sqlc.arg(status) AS SIGNED), status);

-- name: AcquireKnownLock :execresult
-- AcquireLock for a key whose row is there, by the primary key alone. An active row
-- leaves the answer "held" in LAST_INSERT_ID(), which SET replaces if the lease is
-- over: expired, with an id from over_from to over_to.
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
        OR (CAST(LAST_INSERT_ID(-1 - GREATEST(0, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), expires_at) - MICROSECOND(NOW(6)))) AS SIGNED) = -1
            AND lease_id BETWEEN CAST(sqlc.arg(over_from) AS SIGNED) AND CAST(sqlc.arg(over_to) AS SIGNED)));

-- name: LockKnownLock :execresult
-- AcquireKnownLock for a lock that ends with the transaction, and no more than that
-- takes: what parsing it costs is paid for by every transaction of Do. A row that is
-- or was leased is left to AcquireLock, as is one that is not there.
UPDATE helix_locks
SET
    owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)),
    epoch = LAST_INSERT_ID(epoch + 1),
    status = 0,
    acquired_at = TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    updated_at = TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)) AND status <> 1;

-- name: AcquireLockNoWait :execresult
-- AcquireKnownLock that never waits: a row that another transaction has locked is
-- skipped, and answers as one that is not there.
INSERT INTO helix_locks (lock_key, owner_id, lease_id, epoch, status, expires_at, acquired_at, created_at, updated_at)
SELECT l.lock_key, UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)), sqlc.arg(lease_id), LAST_INSERT_ID(l.epoch + 1), CAST(sqlc.arg(status) AS SIGNED),
    TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    l.created_at,
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
FROM helix_locks AS l
WHERE l.lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1))
    AND (l.status <> 1
        OR (l.expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND l.lease_id >= 0)
        OR l.owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1))
        OR LAST_INSERT_ID(-1 - GREATEST(0, CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), l.expires_at) AS SIGNED))) = 0)
FOR UPDATE SKIP LOCKED
ON DUPLICATE KEY UPDATE
    owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)),
    lease_id = CAST(sqlc.arg(lease_id) AS SIGNED),
    epoch = helix_locks.epoch + 1,
    status = CAST(sqlc.arg(status) AS SIGNED),
    expires_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    acquired_at = TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    updated_at = TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP());

-- name: RenewLock :execrows
-- Renews even after expiry: an unchanged epoch proves that nobody else held it.
UPDATE helix_locks
SET
    lease_id = IF(CAST(sqlc.arg(keep) AS SIGNED) = 1, -ABS(lease_id), lease_id),
    expires_at = GREATEST(expires_at, TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP())),
    updated_at = IF(updated_at < TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), TIMESTAMPADD(MICROSECOND, 1, updated_at))
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)) AND owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)) AND epoch = sqlc.arg(epoch) AND ABS(lease_id) = CAST(sqlc.arg(lease_id) AS SIGNED) AND status = 1;

-- name: VerifyLock :one
-- The fence: a shared lock, so that many transactions of one holder run side by
-- side while every rival waits for the last of them to end. (The limit overrides
-- the session's sql_select_limit.)
SELECT epoch
FROM helix_locks
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)) AND owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)) AND epoch = sqlc.arg(epoch) AND ABS(lease_id) = CAST(sqlc.arg(lease_id) AS SIGNED) AND status = 1
LIMIT 1
LOCK IN SHARE MODE;

-- name: FenceLock :execrows
-- The fence for multi-writer clusters, where shared locks are not replicated: a
-- write that every conflicting acquisition fails against at COMMIT.
UPDATE helix_locks
SET
    updated_at = IF(updated_at < TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), TIMESTAMPADD(MICROSECOND, 1, updated_at))
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)) AND owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)) AND epoch = sqlc.arg(epoch) AND ABS(lease_id) = CAST(sqlc.arg(lease_id) AS SIGNED) AND status = 1;

-- name: ReleaseLock :execrows
-- Releases this lease only: a late release matches no row.
UPDATE helix_locks
SET
    status = 0,
    updated_at = TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)) AND owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)) AND epoch = sqlc.arg(epoch) AND ABS(lease_id) = CAST(sqlc.arg(lease_id) AS SIGNED) AND status = 1;

-- name: InspectLock :one
-- A plain read: it locks nothing, and waits for nobody.
SELECT
    l.lock_key,
    l.owner_id,
    l.epoch,
    l.status,
    CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), GREATEST(l.expires_at, COALESCE(x.expires_at, l.expires_at))) AS SIGNED) AS remaining_micros,
    CAST(TIMESTAMPDIFF(MICROSECOND, l.acquired_at, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())) AS SIGNED) AS acquired_micros_ago,
    CAST(TIMESTAMPDIFF(MICROSECOND, l.created_at, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())) AS SIGNED) AS created_micros_ago,
    CAST(TIMESTAMPDIFF(MICROSECOND, l.updated_at, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())) AS SIGNED) AS updated_micros_ago
FROM helix_locks AS l
LEFT JOIN helix_lock_extensions AS x ON x.lease_id = -l.lease_id
WHERE l.lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1))
LIMIT 1;

-- name: ListLocks :many
-- One page of keys, in their order: from from_hex on and below before_hex, of the
-- statuses whose bits are set, and if expired is 1 only leases that are over.
SELECT
    l.lock_key,
    l.owner_id,
    l.epoch,
    l.status,
    CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), GREATEST(l.expires_at, COALESCE(x.expires_at, l.expires_at))) AS SIGNED) AS remaining_micros,
    CAST(TIMESTAMPDIFF(MICROSECOND, l.acquired_at, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())) AS SIGNED) AS acquired_micros_ago,
    CAST(TIMESTAMPDIFF(MICROSECOND, l.created_at, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())) AS SIGNED) AS created_micros_ago,
    CAST(TIMESTAMPDIFF(MICROSECOND, l.updated_at, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())) AS SIGNED) AS updated_micros_ago
FROM helix_locks AS l FORCE INDEX (PRIMARY)
LEFT JOIN helix_lock_extensions AS x ON x.lease_id = -l.lease_id
WHERE l.lock_key >= UNHEX(CONVERT(UPPER(sqlc.arg(from_hex)) USING latin1))
    AND l.lock_key < UNHEX(CONVERT(UPPER(sqlc.arg(before_hex)) USING latin1))
    AND ((1 << l.status) & CAST(sqlc.arg(statuses) AS SIGNED)) <> 0
    AND (CAST(sqlc.arg(expired) AS SIGNED) = 0
        OR (l.status = 1 AND GREATEST(l.expires_at, COALESCE(x.expires_at, l.expires_at)) <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())))
ORDER BY l.lock_key
LIMIT ?;

-- name: RevokeLock :execrows
-- Ends whatever lease there is: its epoch is over, whoever fences with it is lost.
UPDATE helix_locks
SET
    epoch = epoch + 1,
    lease_id = 0,
    status = 0,
    updated_at = TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1));

-- name: RetireLock :execresult
-- Marks a free key as deletable; one that is held answers as in AcquireKnownLock.
UPDATE helix_locks
SET
    status = 2,
    lease_id = 0,
    updated_at = IF(updated_at < TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), TIMESTAMPADD(MICROSECOND, 1, updated_at))
WHERE lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1))
    AND (status <> 1
        OR (expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND (lease_id >= 0 OR lease_id = CAST(sqlc.arg(dead_lease_id) AS SIGNED)))
        OR LAST_INSERT_ID(-1 - GREATEST(0, CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), expires_at) AS SIGNED))) = 0);

-- name: EnsureLock :exec
-- Makes the row of a fresh key, free, for those who must not wait for one.
INSERT INTO helix_locks (lock_key, owner_id, lease_id, epoch, status, expires_at, acquired_at, created_at, updated_at)
SELECT
    UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1)),
    '',
    0,
    f.floor_epoch,
    0,
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
FROM helix_lock_floor AS f
WHERE f.shard = MOD(CRC32(UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1))), 256)
LOCK IN SHARE MODE
ON DUPLICATE KEY UPDATE lock_key = helix_locks.lock_key;

-- name: ClaimExtension :execresult
-- For an expired lease that may have been extended while its row was locked: if
-- it was, answers as AcquireLock does for a held key; if not, answers the lease's
-- id, and until the end of the transaction nobody can extend it.
INSERT INTO helix_lock_extensions (lease_id, expires_at)
SELECT LAST_INSERT_ID(-l.lease_id), TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
FROM helix_locks AS l
WHERE l.lock_key = UNHEX(CONVERT(UPPER(sqlc.arg(key_hex)) USING latin1))
    AND l.status = 1
    AND l.lease_id < 0
    AND l.expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
FOR UPDATE SKIP LOCKED
ON DUPLICATE KEY UPDATE
    expires_at = IF(helix_lock_extensions.expires_at > TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
        IF(LAST_INSERT_ID(-1 - CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), helix_lock_extensions.expires_at) AS SIGNED)), helix_lock_extensions.expires_at, helix_lock_extensions.expires_at),
        helix_lock_extensions.expires_at);

-- name: DeleteExtension :exec
DELETE FROM helix_lock_extensions WHERE lease_id = sqlc.arg(lease_id);

-- name: LockOldExtensions :many
-- Locks up to as many extensions as are asked for, above after_id, that have been
-- over for over_micros, but for those that another transaction has locked.
SELECT lease_id
FROM helix_lock_extensions FORCE INDEX (PRIMARY)
WHERE lease_id > sqlc.arg(after_id)
    AND CAST(TIMESTAMPDIFF(MICROSECOND, expires_at, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())) AS SIGNED) >= CAST(sqlc.arg(over_micros) AS SIGNED)
ORDER BY lease_id
LIMIT ?
FOR UPDATE SKIP LOCKED;

-- name: RenewLeases :execrows
-- Renews up to a thousand leases of one TTL, but for those whose row another
-- transaction has locked. It counts each of them twice.
INSERT INTO helix_locks (lock_key, owner_id, lease_id, epoch, status, expires_at, acquired_at, created_at, updated_at)
SELECT l.lock_key, l.owner_id, l.lease_id, l.epoch, l.status, l.expires_at, l.acquired_at, l.created_at, l.updated_at
FROM (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key,
        CAST(SUBSTRING(list.digits, 28 * n.i + 14, 19) AS SIGNED) AS lease_id
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
WHERE ABS(l.lease_id) = item.lease_id AND l.status = 1
FOR UPDATE SKIP LOCKED
ON DUPLICATE KEY UPDATE
    lease_id = IF(CAST(sqlc.arg(keep) AS SIGNED) = 1, -ABS(helix_locks.lease_id), helix_locks.lease_id),
    expires_at = GREATEST(helix_locks.expires_at, TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP())),
    updated_at = IF(helix_locks.updated_at < TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), TIMESTAMPADD(MICROSECOND, 1, helix_locks.updated_at));

-- name: StandingLeases :many
-- Which of up to a thousand leases stand, by their place in the list, and for how
-- long they do: a plain read.
SELECT
    CAST(item.i AS SIGNED) AS i,
    CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), GREATEST(l.expires_at, COALESCE(x.expires_at, l.expires_at))) AS SIGNED) AS remaining_micros
FROM (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key,
        CAST(SUBSTRING(list.digits, 28 * n.i + 14, 19) AS SIGNED) AS lease_id
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
LEFT JOIN helix_lock_extensions AS x ON x.lease_id = -l.lease_id
WHERE ABS(l.lease_id) = item.lease_id AND l.status = 1
LIMIT 1000;

-- name: ExtendLease :exec
-- Extends a marked lease whose row is locked. Whoever extends must see after it, by
-- a plain read that is the first of its transaction, that the lease stands.
INSERT INTO helix_lock_extensions (lease_id, expires_at)
VALUES (sqlc.arg(lease_id), TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()))
ON DUPLICATE KEY UPDATE
    expires_at = GREATEST(expires_at, TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()));

-- name: MissingLocks :many
-- Which of up to a thousand keys have no row, by their place in the list.
SELECT CAST(item.i AS SIGNED) AS i
FROM (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
LEFT JOIN helix_locks AS l ON l.lock_key = item.lock_key
WHERE l.lock_key IS NULL
LIMIT 1000;

-- name: EnsureLocks :exec
-- EnsureLock for up to a thousand keys. It locks their rows, in the list's order.
INSERT INTO helix_locks (lock_key, owner_id, lease_id, epoch, status, expires_at, acquired_at, created_at, updated_at)
SELECT
    item.lock_key,
    '',
    0,
    f.floor_epoch,
    0,
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
FROM (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
STRAIGHT_JOIN helix_lock_floor AS f FORCE INDEX (PRIMARY) ON f.shard = MOD(CRC32(item.lock_key), 256)
ORDER BY item.i
LOCK IN SHARE MODE
ON DUPLICATE KEY UPDATE lock_key = helix_locks.lock_key;

-- name: LockRows :many
-- Locks the rows of up to a thousand keys that have one, and says which are free:
-- held_micros is zero, or one more than the microseconds their lease still has
-- (one: it has expired, and may have been extended).
SELECT
    CAST(item.i AS SIGNED) AS i,
    l.epoch,
    CAST(IF(l.status <> 1 OR (l.expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND l.lease_id >= 0) OR l.owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        0, 1 + GREATEST(0, CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), l.expires_at) AS SIGNED))) AS SIGNED) AS held_micros
FROM (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
LIMIT 1000
FOR UPDATE;

-- name: LockRowsNoWait :many
-- LockRows but for the rows that another transaction has locked.
SELECT
    CAST(item.i AS SIGNED) AS i,
    l.epoch,
    CAST(IF(l.status <> 1 OR (l.expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()) AND l.lease_id >= 0) OR l.owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(reclaim_hex)) USING latin1)),
        0, 1 + GREATEST(0, CAST(TIMESTAMPDIFF(MICROSECOND, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), l.expires_at) AS SIGNED))) AS SIGNED) AS held_micros
FROM (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
LIMIT 1000
FOR UPDATE SKIP LOCKED;

-- name: TakeLocks :execrows
-- Acquires up to a thousand keys whose rows this transaction has locked, and found
-- to be free.
UPDATE (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key,
        CAST(SUBSTRING(list.digits, 28 * n.i + 14, 19) AS SIGNED) AS lease_id
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
SET
    l.owner_id = UNHEX(CONVERT(UPPER(sqlc.arg(owner_hex)) USING latin1)),
    l.lease_id = IF(CAST(sqlc.arg(keep) AS SIGNED) = 1, -item.lease_id, item.lease_id),
    l.epoch = l.epoch + 1,
    l.status = 1,
    l.expires_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg(ttl_micros) AS SIGNED) + MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    l.acquired_at = TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
    l.updated_at = IF(l.updated_at < TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()),
        TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP()), TIMESTAMPADD(MICROSECOND, 1, l.updated_at));

-- name: PurgeCandidates :many
-- One page of keys that may be purged: retired ones, and free ones untouched for
-- idle_micros unless that is negative. A plain read; the last row, which need not
-- be purgeable, is where the next page begins. A shard may have no floor where the
-- tables are not as the migrations made them.
SELECT
    l.lock_key,
    CAST(MOD(CRC32(l.lock_key), 256) AS SIGNED) AS shard,
    CAST((l.status = 2 OR (l.status = 0 AND CAST(sqlc.arg(idle_micros) AS SIGNED) >= 0 AND TIMESTAMPDIFF(MICROSECOND, l.updated_at, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())) >= CAST(sqlc.arg(idle_micros) AS SIGNED))) AS SIGNED) AS purgeable,
    CAST(f.shard IS NOT NULL AS SIGNED) AS has_floor
FROM helix_locks AS l FORCE INDEX (PRIMARY)
LEFT JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(l.lock_key), 256)
WHERE l.lock_key > UNHEX(CONVERT(UPPER(sqlc.arg(after_hex)) USING latin1))
ORDER BY l.lock_key
LIMIT ?;

-- name: LockFloors :many
-- Locks the floors of these shards, but for those that a transaction with a fresh
-- key of theirs has locked.
SELECT f.shard
FROM helix_lock_floor AS f FORCE INDEX (PRIMARY)
WHERE f.shard IN (sqlc.slice('shards'))
LIMIT 256
FOR UPDATE SKIP LOCKED;

-- name: LockPurgeable :many
-- Locks those of up to a thousand keys that may still be purged, and that nobody
-- has locked.
SELECT CAST(item.i AS SIGNED) AS i
FROM (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
WHERE (l.status = 2 OR (l.status = 0 AND CAST(sqlc.arg(idle_micros) AS SIGNED) >= 0 AND TIMESTAMPDIFF(MICROSECOND, l.updated_at, TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())) >= CAST(sqlc.arg(idle_micros) AS SIGNED)))
LIMIT 1000
FOR UPDATE SKIP LOCKED;

-- name: RaiseFloors :exec
-- Raises the floors to the epochs of up to a thousand keys that are about to go.
INSERT INTO helix_lock_floor (shard, floor_epoch)
SELECT MOD(CRC32(l.lock_key), 256), l.epoch
FROM (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key
FOR UPDATE
ON DUPLICATE KEY UPDATE floor_epoch = GREATEST(helix_lock_floor.floor_epoch, l.epoch);

-- name: DeleteLocks :execrows
-- Deletes up to a thousand rows that this transaction has locked, and whose floors
-- it has raised.
DELETE l
FROM (
    SELECT
        n.i AS i,
        CAST(UNHEX(SUBSTRING(list.digits, CAST(SUBSTRING(list.digits, 28 * n.i + 5, 6) AS SIGNED), 2 * CAST(SUBSTRING(list.digits, 28 * n.i + 11, 3) AS SIGNED))) AS BINARY) AS lock_key
    FROM (SELECT COALESCE(CONVERT(UPPER(sqlc.arg(batch)) USING latin1), CAST('' AS CHAR(1000000) CHARACTER SET latin1)) AS digits LIMIT 1) AS list
    STRAIGHT_JOIN (
        SELECT 100 * h.d + 10 * t.d + o.d AS i
        FROM (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS h
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS t
        JOIN (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS o
    ) AS n
    WHERE n.i < CAST(SUBSTRING(list.digits, 1, 4) AS SIGNED)
    ORDER BY n.i
    LIMIT 1000
) AS item
STRAIGHT_JOIN helix_locks AS l FORCE INDEX (PRIMARY) ON l.lock_key = item.lock_key;

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

-- name: ListTables :many
-- The tables of this library in the current database, and what a migration has
-- left. Names of the catalog are spelt in either case.
SELECT LOWER(t.table_name) AS name, LOWER(COALESCE(t.engine, _utf8mb4'')) AS engine
FROM information_schema.tables AS t
WHERE t.table_schema = DATABASE()
    AND t.table_name IN ('helix_locks', 'helix_lock_floor', 'helix_lock_extensions', 'helix_locks_older', 'helix_locks_newer')
ORDER BY t.table_name;

-- name: ListColumns :many
SELECT
    LOWER(c.table_name) AS table_name,
    LOWER(c.column_name) AS column_name,
    LOWER(c.column_type) AS column_type,
    LOWER(c.is_nullable) AS nullable,
    CAST(c.column_default IS NOT NULL AS SIGNED) AS has_default,
    LOWER(c.extra) AS extra
FROM information_schema.columns AS c
WHERE c.table_schema = DATABASE() AND c.table_name IN ('helix_locks', 'helix_lock_floor', 'helix_lock_extensions')
ORDER BY c.table_name, c.ordinal_position;

-- name: ListIndexes :many
SELECT
    LOWER(s.table_name) AS table_name,
    s.index_name,
    CAST(s.non_unique = 0 AS SIGNED) AS is_unique,
    LOWER(COALESCE(s.column_name, _utf8mb4'')) AS column_name,
    CAST(COALESCE(s.sub_part, 0) AS SIGNED) AS prefix_length
FROM information_schema.statistics AS s
WHERE s.table_schema = DATABASE() AND s.table_name IN ('helix_locks', 'helix_lock_floor', 'helix_lock_extensions')
ORDER BY s.table_name, s.index_name, s.seq_in_index;

-- name: ListConstraints :many
-- Primary keys, and CHECKs with their text. MySQL alone knows if one is enforced, and
-- MariaDB alone has constraints of one name in several tables: where the inner table
-- lacks the column of that name, it is that of the outer one.
SELECT
    LOWER(t.table_name) AS table_name,
    LOWER(t.constraint_type) AS constraint_type,
    LOWER(COALESCE((
        SELECT enforced
        FROM information_schema.table_constraints AS i
        WHERE i.constraint_schema = t.constraint_schema AND i.table_name = t.table_name AND i.constraint_name = t.constraint_name
        LIMIT 1
    ), _utf8mb4'')) AS enforced,
    LOWER(COALESCE((
        SELECT c.check_clause
        FROM information_schema.check_constraints AS c
        WHERE c.constraint_schema = t.constraint_schema AND table_name = t.table_name AND c.constraint_name = t.constraint_name
        LIMIT 1
    ), _utf8mb4'')) AS clause
FROM (
    SELECT constraint_schema, table_name, constraint_name, constraint_type, _utf8mb4'yes' AS enforced
    FROM information_schema.table_constraints
    WHERE constraint_schema = DATABASE()
) AS t
WHERE t.table_name = 'helix_locks' AND t.constraint_type IN ('PRIMARY KEY', 'CHECK')
ORDER BY t.constraint_name;

-- name: ListTriggers :many
-- Those that this user may see, with the privilege TRIGGER on the table.
SELECT LOWER(t.event_object_table) AS table_name, t.trigger_name
FROM information_schema.triggers AS t
WHERE t.event_object_schema = DATABASE() AND t.event_object_table IN ('helix_locks', 'helix_lock_floor', 'helix_lock_extensions')
ORDER BY t.event_object_table, t.trigger_name;

-- name: ListFloorShards :many
SELECT shard FROM helix_lock_floor ORDER BY shard;

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
