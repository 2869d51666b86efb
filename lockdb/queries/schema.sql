-- The tables as the server's catalog describes them, for Verify. Names of the catalog are
-- spelt in either case.

-- name: ListTables :many
SELECT LOWER(t.table_name) AS name, LOWER(COALESCE(t.engine, _utf8mb4'')) AS engine
FROM information_schema.tables AS t
WHERE t.table_schema = DATABASE()
    AND t.table_name IN ('helix_locks', 'helix_lock_floor', 'helix_locks_older')
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
WHERE c.table_schema = DATABASE()
    AND c.table_name IN ('helix_locks', 'helix_lock_floor', 'helix_locks_older', 'helix_locks_closed')
ORDER BY c.table_name, c.ordinal_position;

-- name: ListIndexes :many
SELECT
    LOWER(s.table_name) AS table_name,
    s.index_name,
    CAST(s.non_unique = 0 AS SIGNED) AS is_unique,
    LOWER(COALESCE(s.column_name, _utf8mb4'')) AS column_name,
    CAST(COALESCE(s.sub_part, 0) AS SIGNED) AS prefix_length
FROM information_schema.statistics AS s
WHERE s.table_schema = DATABASE() AND s.table_name IN ('helix_locks', 'helix_lock_floor')
ORDER BY s.table_name, s.index_name, s.seq_in_index;

-- name: ListConstraints :many
-- The primary key, and each CHECK that is enforced, with its text. MySQL alone knows if one is:
-- where table_constraints lacks that column, it is the outer one. (Vitess takes what depends on
-- an outer table only within EXISTS.)
SELECT
    LOWER(t.table_name) AS table_name,
    LOWER(t.constraint_type) AS constraint_type,
    LOWER(COALESCE(c.check_clause, _utf8mb4'')) AS clause
FROM information_schema.table_constraints AS t
CROSS JOIN (SELECT _utf8mb4'YES' AS enforced) AS otherwise
LEFT JOIN information_schema.check_constraints AS c
    ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name
WHERE t.constraint_schema = DATABASE() AND t.table_name = 'helix_locks'
    AND t.constraint_type IN ('PRIMARY KEY', 'CHECK')
    AND EXISTS (
        SELECT 1
        FROM information_schema.table_constraints AS i
        WHERE i.constraint_schema = t.constraint_schema AND i.constraint_name = t.constraint_name
            AND i.table_name = t.table_name AND enforced = _utf8mb4'YES'
    )
ORDER BY t.constraint_name;

-- name: ListTriggers :many
-- Those that this user may see, with the privilege TRIGGER on the table.
SELECT LOWER(t.event_object_table) AS table_name, t.trigger_name
FROM information_schema.triggers AS t
WHERE t.event_object_schema = DATABASE() AND t.event_object_table IN ('helix_locks', 'helix_lock_floor')
ORDER BY t.event_object_table, t.trigger_name;

-- name: ListFloorShards :many
SELECT shard FROM helix_lock_floor ORDER BY shard;
