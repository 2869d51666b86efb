-- Databases that have a helix_locks of an older shape (an id as primary key, one
-- row for each key and status, status an ENUM or a TINYINT, epoch or none) keep
-- their locks: the table is set aside as helix_locks_older, copied, and the copy
-- takes its name. In between helix_locks does not exist, so that older clients and
-- new ones are refused alike, and nobody sees half of it. Elsewhere this does nothing.
--
-- Every step asks for the state that it finds: after an interruption between any
-- two of them, running this again finishes it. It needs one session for all
-- steps, hence a transaction, though DDL commits at once. helix_locks_older stays, as
-- the way back; drop it when nobody wants to go back.

-- +goose Up

-- Refuse, before anything is changed, what is no table of ours, and what does not
-- fit. A value that sql_mode cannot take is how plain SQL stops with a message.
SET @helix_older = (
    SELECT COUNT(*) > 0 AND SUM(column_name = 'lease_id') = 0
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks'
);
SET @helix_unknown = (
    SELECT GROUP_CONCAT(column_name ORDER BY ordinal_position SEPARATOR ' ')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks'
        AND column_name NOT IN ('id', 'lock_key', 'owner_id', 'expires_at', 'epoch', 'status', 'created_at', 'updated_at')
);
SET @helix_known = (
    SELECT COUNT(*)
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks'
        AND column_name IN ('id', 'lock_key', 'owner_id', 'expires_at', 'status', 'created_at', 'updated_at')
);
SET SESSION sql_mode = IF(@helix_older AND (@helix_unknown IS NOT NULL OR @helix_known < 7),
    CONCAT('helix_locks is not of a shape known here and nothing was changed. Rename it. Columns not known: ', COALESCE(@helix_unknown, 'none but some are missing')),
    @@SESSION.sql_mode);

SET @helix_unfit = 0;
SET @helix_statement = IF(@helix_older,
    'SELECT COUNT(*) INTO @helix_unfit FROM helix_locks
    WHERE COALESCE(LENGTH(CONVERT(lock_key USING utf8mb4)), 0) NOT BETWEEN 1 AND 255 OR LENGTH(CONVERT(owner_id USING utf8mb4)) > 255
        OR (COALESCE(LENGTH(owner_id), 0) = 0 AND CAST(status AS CHAR) IN (''active'', ''1''))',
    'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;
SET SESSION sql_mode = IF(@helix_unfit > 0,
    CONCAT('helix_locks has ', @helix_unfit, ' rows whose lock_key or owner_id is empty or longer than 255 bytes and nothing was changed. Delete or shorten them'),
    @@SESSION.sql_mode);

-- Waits for transactions that have written to it. From here on older clients are
-- refused: the table is not there (1146).
SET @helix_statement = IF(@helix_older, 'RENAME TABLE helix_locks TO helix_locks_older', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;

-- As in the next migration.
CREATE TABLE IF NOT EXISTS helix_locks_import (
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

SET @helix_pending = (
    SELECT SUM(table_name = 'helix_locks_older') = 1 AND SUM(table_name = 'helix_locks') = 0
    FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name IN ('helix_locks_older', 'helix_locks')
);
SET @helix_epoch = IF(EXISTS (
    SELECT 1
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks_older' AND column_name = 'epoch'
), 'epoch', '0');

-- One row for each key, of bytes: the active holder's if there is one, else the
-- latest, with the highest epoch. Keys that the older collation took for one lock
-- all get its holder and its epoch, as nobody knows who goes by which spelling.
-- UNIX_TIMESTAMP gives the instant of a TIMESTAMP whatever time_zone is. created_at
-- and updated_at were written in the zone of their writers, taken to be this
-- session's: they are for people.
SET @helix_statement = IF(@helix_pending, CONCAT(
    '/*M! SET STATEMENT sql_mode = ''STRICT_ALL_TABLES'' FOR */
    INSERT /*+ SET_VAR(sql_mode = ''STRICT_ALL_TABLES'') */ INTO helix_locks_import
        (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
    SELECT
        spelling.new_key, spelling.new_owner, spelling.new_epoch, 0, spelling.new_status,
        TIMESTAMPADD(MICROSECOND, spelling.expires, CAST(''1970-01-01'' AS DATETIME(6))),
        TIMESTAMPADD(MICROSECOND, spelling.updated, CAST(''1970-01-01'' AS DATETIME(6))),
        TIMESTAMPADD(MICROSECOND, spelling.created, CAST(''1970-01-01'' AS DATETIME(6))),
        TIMESTAMPADD(MICROSECOND, spelling.updated, CAST(''1970-01-01'' AS DATETIME(6)))
    FROM (
        SELECT
            older.bytes AS new_key,
            FIRST_VALUE(older.owner) OVER holder AS new_owner,
            MAX(older.epoch) OVER (PARTITION BY older.lock_key) AS new_epoch,
            FIRST_VALUE(older.state) OVER holder AS new_status,
            FIRST_VALUE(older.expires) OVER holder AS expires,
            FIRST_VALUE(older.updated) OVER holder AS updated,
            MIN(older.created) OVER (PARTITION BY older.lock_key) AS created,
            ROW_NUMBER() OVER (PARTITION BY older.bytes ORDER BY older.id) AS nth
        FROM (
            SELECT
                id, lock_key,
                CAST(CONVERT(lock_key USING utf8mb4) AS BINARY) AS bytes,
                COALESCE(CAST(CONVERT(owner_id USING utf8mb4) AS BINARY), '''') AS owner,
                COALESCE(', @helix_epoch, ', 0) AS epoch,
                CASE WHEN CAST(status AS CHAR) IN (''active'', ''1'') THEN 1 WHEN CAST(status AS CHAR) IN (''deletable'', ''2'') THEN 2 ELSE 0 END AS state,
                CAST(COALESCE(UNIX_TIMESTAMP(expires_at), 0) * 1000000 AS SIGNED) AS expires,
                CAST(COALESCE(UNIX_TIMESTAMP(created_at), 0) * 1000000 AS SIGNED) AS created,
                CAST(COALESCE(UNIX_TIMESTAMP(updated_at), 0) * 1000000 AS SIGNED) AS updated
            FROM helix_locks_older
        ) AS older
        WINDOW holder AS (PARTITION BY older.lock_key ORDER BY older.state = 1 DESC, older.epoch DESC, older.updated DESC, older.id DESC)
    ) AS spelling
    WHERE spelling.nth = 1
    ON DUPLICATE KEY UPDATE lease_id = 0'), 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;

SET @helix_statement = IF(@helix_pending, 'RENAME TABLE helix_locks_import TO helix_locks', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;

DROP TABLE IF EXISTS helix_locks_import;

-- +goose Down
-- The older table comes back, with what the migration before this wrote back to it.
SET @helix_pending = (
    SELECT SUM(table_name = 'helix_locks_older') = 1 AND SUM(table_name = 'helix_locks') = 0
    FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name IN ('helix_locks_older', 'helix_locks')
);
SET @helix_statement = IF(@helix_pending, 'RENAME TABLE helix_locks_older TO helix_locks', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DEALLOCATE PREPARE helix_step;
