-- One row for each key ever locked. Binary keys: no collation, no padding and no
-- connection charset stands between two keys that differ by a byte. DATETIME
-- holds UTC (a TIMESTAMP would fail or shift in the hour that daylight saving
-- skips or repeats). The primary key is the only index: a second unique one
-- makes upserts deadlock, any other is work for every lock taken. The CHECK refuses
-- the inserts and upserts of older clients, which know no acquired_at, also where
-- sql_mode is not strict.

-- +goose Up
CREATE TABLE IF NOT EXISTS helix_locks (
    lock_key    VARBINARY(255) NOT NULL,
    owner_id    VARBINARY(255) NOT NULL,
    epoch       BIGINT         NOT NULL COMMENT 'fencing token, strictly greater at every acquisition',
    lease_id    BIGINT         NOT NULL DEFAULT 0 COMMENT 'random, tells two leases of one epoch apart, one of them rolled back',
    status      TINYINT        NOT NULL COMMENT '1 active, 0 inactive, 2 deletable',
    expires_at  DATETIME(6)    NOT NULL COMMENT 'UTC',
    acquired_at DATETIME(6)    NOT NULL COMMENT 'UTC',
    created_at  DATETIME(6)    NOT NULL COMMENT 'UTC',
    updated_at  DATETIME(6)    NOT NULL COMMENT 'UTC',
    PRIMARY KEY (lock_key),
    CHECK (acquired_at >= '1000-01-01')
) ENGINE = InnoDB;

-- +goose Down
-- Every lease is forgotten, and so is every epoch: drain the lock's users first.
-- But where an older table was taken over, all is written back to it: helix_locks
-- is first closed to everybody, by another name. An interrupted run is finished by
-- running this again.

-- Refuse, before anything is changed, keys that the older table cannot hold.
SET @helix_back = (
    SELECT SUM(table_name = 'helix_locks_older') = 1 AND SUM(table_name = 'helix_locks') = 1
    FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name IN ('helix_locks_older', 'helix_locks')
);
SET @helix_unfit = 0;
SET @helix_statement = IF(@helix_back,
    'SELECT COUNT(*) INTO @helix_unfit FROM helix_locks
    WHERE NOT (lock_key <=> CAST(CONVERT(lock_key USING utf8mb4) AS BINARY)) OR NOT (owner_id <=> CAST(CONVERT(owner_id USING utf8mb4) AS BINARY))',
    'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;
SET SESSION sql_mode = IF(@helix_unfit > 0,
    CONCAT('helix_locks has ', @helix_unfit, ' rows whose lock_key or owner_id is not UTF-8 and nothing was changed. Delete them or drop helix_locks_older to give up its way back'),
    @@SESSION.sql_mode);

SET @helix_statement = IF(@helix_back, 'RENAME TABLE helix_locks TO helix_locks_import', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;

SET @helix_back = (
    SELECT COUNT(*) = 2
    FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name IN ('helix_locks_older', 'helix_locks_import')
);
SET @helix_statement = IF(@helix_back AND NOT EXISTS (
    SELECT 1
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks_older' AND column_name = 'epoch'
), 'ALTER TABLE helix_locks_older ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;

SET @helix_statement = IF(@helix_back, 'DELETE FROM helix_locks_older', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;

-- Two keys that the older collation takes for one are merged: the later expiry
-- stays, with the higher epoch.
SET @helix_enum = EXISTS (
    SELECT 1
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks_older' AND column_name = 'status' AND data_type = 'enum'
);
SET @helix_statement = IF(@helix_back, CONCAT(
    '/*M! SET STATEMENT time_zone = ''+00:00'', sql_mode = ''STRICT_ALL_TABLES'' FOR */
    INSERT /*+ SET_VAR(time_zone = ''+00:00'') SET_VAR(sql_mode = ''STRICT_ALL_TABLES'') */ INTO helix_locks_older
        (lock_key, owner_id, expires_at, epoch, status, created_at, updated_at)
    SELECT
        CONVERT(newer.lock_key USING utf8mb4), CONVERT(newer.owner_id USING utf8mb4),
        LEAST(GREATEST(newer.expires_at, CAST(''1970-01-01 00:00:01'' AS DATETIME)), CAST(''2038-01-19 03:14:07'' AS DATETIME)),
        newer.epoch, ', IF(@helix_enum, 'CASE newer.status WHEN 1 THEN ''active'' WHEN 2 THEN ''deletable'' ELSE ''inactive'' END', 'newer.status'), ',
        newer.created_at, newer.updated_at
    FROM helix_locks_import AS newer
    ORDER BY newer.expires_at DESC
    ON DUPLICATE KEY UPDATE helix_locks_older.epoch = GREATEST(helix_locks_older.epoch, newer.epoch)'), 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;

DROP TABLE IF EXISTS helix_locks_import;
DROP TABLE IF EXISTS helix_locks;
