-- What people see: plain reads, which lock nothing and wait for nobody.

-- name: ListKeys :many
-- One page of keys, in their order: from from_hex on and below before_hex, of the
-- statuses whose bits are set, and with max_remaining_micros left at most.
SELECT
    lock_key,
    owner_id,
    epoch,
    status,
    CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), expires_at) AS SIGNED) AS remaining_micros,
    CAST(TIMESTAMPDIFF(MICROSECOND, acquired_at, UTC_TIMESTAMP()) AS SIGNED) AS acquired_micros_ago,
    CAST(TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP()) AS SIGNED) AS created_micros_ago,
    CAST(TIMESTAMPDIFF(MICROSECOND, updated_at, UTC_TIMESTAMP()) AS SIGNED) AS updated_micros_ago
FROM helix_locks FORCE INDEX (PRIMARY)
WHERE lock_key >= UNHEX(UPPER(sqlc.arg(from_hex)))
    AND lock_key < UNHEX(UPPER(sqlc.arg(before_hex)))
    AND ((1 << status) & CAST(sqlc.arg(statuses) AS SIGNED)) <> 0
    AND TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(), expires_at) <= CAST(sqlc.arg(max_remaining_micros) AS SIGNED)
ORDER BY lock_key
LIMIT ?;
