-- One row for each key ever locked. Binary keys: no collation, no padding and no
-- connection charset stands between two keys that differ by a byte. DATETIME
-- holds UTC (a TIMESTAMP would fail or shift in the hour that daylight saving
-- skips or repeats). The primary key is the only index: a second unique one
-- makes upserts deadlock, any other is work for every lock taken. The CHECK refuses
-- the inserts and upserts of older clients, which know no acquired_at, also where
-- sql_mode is not strict.
--
-- A helix_locks of an older shape (an id as primary key, one row for each key and
-- status, status an ENUM or a TINYINT, epoch or none) keeps its locks: it is set
-- aside as helix_locks_older, copied, and the copy takes its name. In between
-- there is no helix_locks, so that older clients and new ones are refused alike, and
-- nobody sees half of it. helix_locks_older stays, as the way back; drop it when
-- nobody wants to go back.
--
-- DDL commits at once, so a run can be interrupted between any two statements.
-- What it has left is told by the tables that are there, and every step asks for
-- them. A table of a name is always the truth or never:
--
--     helix_locks_import  Up's copy, never the truth
--     helix_locks_newer   what Down gives back, the truth while it is there beside
--                         helix_locks_older; beside helix_locks it is left over
--
--     helix_locks  _older  _newer  state             Up            Down
--     none         none    none    nothing yet       create        nothing
--     older        none    none    to be taken over  take over     nothing
--     none         there   none    Up set it aside   copy, rename  rename it back
--     new          there   none    taken over        nothing       give back
--     new          none    none    created           nothing       drop
--     none         there   there   Down gives back   refuse        give back
--     older        none    there   Down has ended    refuse        drop _newer
--     none         none    there   _older was        refuse        refuse
--                                  dropped by hand
--     older        there   any     an older client   refuse        refuse
--                                  made it again
--
-- It needs one session for all steps, hence a transaction. A value that sql_mode
-- cannot take is how plain SQL stops with a message, of up to 200 bytes and without
-- a comma. On MySQL a statement that waits for a table goes on when its client
-- is gone, and all others queue behind it: hence the short lock_wait_timeout.

-- +goose Up
SET @helix_lock_wait = CAST(COALESCE(@helix_lock_wait, @@SESSION.lock_wait_timeout) AS SIGNED);
SET SESSION lock_wait_timeout = 5;
PREPARE helix_look FROM
    'SELECT
        COALESCE(SUM(table_name = ''helix_locks''), 0) > 0, COALESCE(SUM(table_name = ''helix_locks'' AND column_name = ''lease_id''), 0) > 0,
        COALESCE(SUM(table_name = ''helix_locks_older''), 0) > 0, COALESCE(SUM(table_name = ''helix_locks_newer''), 0) > 0
    INTO @helix_there, @helix_new, @helix_aside, @helix_back
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name IN (''helix_locks'', ''helix_locks_older'', ''helix_locks_newer'')';
EXECUTE helix_look;
SET @helix_again = 'an older client has made helix_locks again beside helix_locks_older: stop it and DROP TABLE helix_locks and run this again';
SET SESSION sql_mode = IF(@helix_back, 'going down was interrupted: finish it with goose down (migrations.DownTo) and then go up', @@SESSION.sql_mode);
SET SESSION sql_mode = IF(@helix_there AND NOT @helix_new AND @helix_aside, @helix_again, @@SESSION.sql_mode);

-- Refuse, before anything is changed, what is no table of ours, and what does not
-- fit.
SET @helix_older = @helix_there AND NOT @helix_new;
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
SET SESSION sql_mode = IF(@helix_unfit > 0,
    CONCAT('helix_locks has ', @helix_unfit, ' rows whose lock_key or owner_id is empty or longer than 255 bytes and nothing was changed. Delete or shorten them'),
    @@SESSION.sql_mode);

-- As helix_locks below.
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
    CHECK (YEAR(acquired_at) > 0)
) ENGINE = InnoDB;

-- One row for each key, of bytes: the active holder's if there is one, else the
-- latest, with the highest epoch. Keys that the older collation took for one lock
-- all get its holder and its epoch, as nobody knows who goes by which spelling. No
-- epoch is below its shard's floor, so that those purged before a way down and up
-- do not come again. A key is free once its expiry has passed, whatever its status:
-- so a row that is not active gets one long gone. UNIX_TIMESTAMP gives the instant
-- of a TIMESTAMP whatever time_zone is. created_at and updated_at were written in the
-- zone of their writers, taken to be this session's: they are for people.
SET @helix_epoch = IF(EXISTS (
    SELECT 1
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = IF(@helix_older, 'helix_locks', 'helix_locks_older') AND column_name = 'epoch'
), 'epoch', '0');
SET @helix_copy = CONCAT(
    '/*M! SET STATEMENT sql_mode = ''STRICT_ALL_TABLES'' FOR */
    INSERT /*+ SET_VAR(sql_mode = ''STRICT_ALL_TABLES'') */ INTO helix_locks_import
        (lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at)
    SELECT
        spelling.new_key, spelling.new_owner, GREATEST(spelling.new_epoch, COALESCE(f.floor_epoch, 0)), 0, spelling.new_status,
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
                IF(CAST(status AS CHAR) IN (''active'', ''1''), CAST(COALESCE(UNIX_TIMESTAMP(expires_at), 0) * 1000000 AS SIGNED), 0) AS expires,
                CAST(COALESCE(UNIX_TIMESTAMP(created_at), 0) * 1000000 AS SIGNED) AS created,
                CAST(COALESCE(UNIX_TIMESTAMP(updated_at), 0) * 1000000 AS SIGNED) AS updated
            FROM helix_locks_older
        ) AS older
        WINDOW holder AS (PARTITION BY older.lock_key ORDER BY older.state = 1 DESC, older.epoch DESC, older.updated DESC, older.id DESC)
    ) AS spelling
    LEFT JOIN helix_lock_floor AS f ON f.shard = MOD(CRC32(spelling.new_key), 256)
    WHERE spelling.nth = 1
    ON DUPLICATE KEY UPDATE epoch = GREATEST(helix_locks_import.epoch, spelling.new_epoch)');

-- A purge of an older client deletes rows and knows no floor: with the floor at
-- the highest epoch that was taken over, it cannot take an epoch back.
SET @helix_raise =
    'UPDATE helix_lock_floor AS f
    INNER JOIN (
        SELECT MOD(CRC32(lock_key), 256) AS shard, MAX(epoch) AS highest FROM helix_locks_import GROUP BY MOD(CRC32(lock_key), 256)
    ) AS taken ON taken.shard = f.shard
    SET f.floor_epoch = GREATEST(f.floor_epoch, taken.highest)';

-- What the server may refuse of it (privileges, syntax, safe updates), it refuses
-- now, before anything is changed: what an earlier try has left in the copy is
-- deleted, and the statements run without rows. The DELETE names helix_locks, and
-- so does nothing where another session has set that aside meanwhile.
SET @helix_statement = IF(@helix_older, 'DELETE FROM helix_locks_import WHERE (SELECT COUNT(*) FROM helix_locks WHERE FALSE) = 0', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
SET @helix_statement = IF(@helix_older, REPLACE(@helix_copy, 'FROM helix_locks_older', 'FROM helix_locks WHERE FALSE'), 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
SET @helix_statement = IF(@helix_older, REPLACE(@helix_raise, 'FROM helix_locks_import', 'FROM helix_locks_import WHERE FALSE'), 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;

-- Waits for transactions that have used it, read or written. From here on older
-- clients are refused: the table is not there (1146).
SET @helix_statement = IF(@helix_older, 'RENAME TABLE helix_locks TO helix_locks_older', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;

EXECUTE helix_look;
SET SESSION sql_mode = IF(@helix_there AND NOT @helix_new AND @helix_aside, @helix_again, @@SESSION.sql_mode);
SET @helix_pending = @helix_aside AND NOT @helix_there;
SET @helix_statement = IF(@helix_pending, @helix_copy, 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
SET @helix_statement = IF(@helix_pending, @helix_raise, 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;

EXECUTE helix_look;
SET SESSION sql_mode = IF(@helix_there AND NOT @helix_new AND @helix_aside, @helix_again, @@SESSION.sql_mode);
SET @helix_statement = IF(@helix_pending, 'RENAME TABLE helix_locks_import TO helix_locks', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;

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
    CHECK (YEAR(acquired_at) > 0)
) ENGINE = InnoDB;

DROP TABLE IF EXISTS helix_locks_import;

-- A version is noted only for a table that is right.
EXECUTE helix_look;
SET SESSION sql_mode = IF(@helix_new, @@SESSION.sql_mode, IF(@helix_aside, @helix_again, 'an older client has made helix_locks meanwhile: stop it and run this again'));
DEALLOCATE PREPARE helix_look;
DEALLOCATE PREPARE helix_step;
SET SESSION lock_wait_timeout = @helix_lock_wait;
SET @helix_lock_wait = NULL;

-- +goose Down
-- Every lease is forgotten, and so is every epoch: drain the lock's users first.
-- But where an older table was taken over, all is written back to it, after
-- helix_locks is closed to everybody by another name.
SET @helix_lock_wait = CAST(COALESCE(@helix_lock_wait, @@SESSION.lock_wait_timeout) AS SIGNED);
SET SESSION lock_wait_timeout = 5;
PREPARE helix_look FROM
    'SELECT
        COALESCE(SUM(table_name = ''helix_locks''), 0) > 0, COALESCE(SUM(table_name = ''helix_locks'' AND column_name = ''lease_id''), 0) > 0,
        COALESCE(SUM(table_name = ''helix_locks_older''), 0) > 0, COALESCE(SUM(table_name = ''helix_locks_newer''), 0) > 0
    INTO @helix_there, @helix_new, @helix_aside, @helix_back
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name IN (''helix_locks'', ''helix_locks_older'', ''helix_locks_newer'')';
EXECUTE helix_look;
SET @helix_again = 'an older client has made helix_locks again beside helix_locks_older: stop it and DROP TABLE helix_locks and run this again';
SET SESSION sql_mode = IF(@helix_there AND NOT @helix_new AND @helix_aside, @helix_again, @@SESSION.sql_mode);
SET SESSION sql_mode = IF(@helix_back AND NOT @helix_there AND NOT @helix_aside,
    'helix_locks_older is gone and helix_locks_newer has the locks: RENAME TABLE helix_locks_newer TO helix_locks and run this again', @@SESSION.sql_mode);

-- From where to give back: NULL where there is nothing to be given.
SET @helix_from = CASE
    WHEN @helix_aside AND @helix_new THEN 'helix_locks'
    WHEN @helix_aside AND @helix_back AND NOT @helix_there THEN 'helix_locks_newer'
END;

-- Refuse, before anything is changed, what helix_locks_older cannot hold.
SET @helix_key = (
    SELECT CONCAT_WS(' ', COALESCE(character_set_name, 'binary'), COALESCE(collation_name, 'binary'), character_maximum_length)
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks_older' AND column_name = 'lock_key'
);
SET @helix_owner = (
    SELECT CONCAT_WS(' ', COALESCE(character_set_name, 'binary'), COALESCE(collation_name, 'binary'), character_maximum_length)
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks_older' AND column_name = 'owner_id'
);
SET @helix_key_charset = SUBSTRING_INDEX(@helix_key, ' ', 1), @helix_owner_charset = SUBSTRING_INDEX(@helix_owner, ' ', 1);
SET @helix_unfit = 0;
SET @helix_statement = COALESCE(CONCAT(
    'SELECT COUNT(*) INTO @helix_unfit FROM ', @helix_from, '
    WHERE NOT (lock_key <=> CAST(CONVERT(CONVERT(CONVERT(lock_key USING utf8mb4) USING ', @helix_key_charset, ') USING utf8mb4) AS BINARY))
        OR NOT (owner_id <=> CAST(CONVERT(CONVERT(CONVERT(owner_id USING utf8mb4) USING ', @helix_owner_charset, ') USING utf8mb4) AS BINARY))
        OR CHAR_LENGTH(CONVERT(CONVERT(lock_key USING utf8mb4) USING ', @helix_key_charset, ')) > ', SUBSTRING_INDEX(@helix_key, ' ', -1), '
        OR CHAR_LENGTH(CONVERT(CONVERT(owner_id USING utf8mb4) USING ', @helix_owner_charset, ')) > ', SUBSTRING_INDEX(@helix_owner, ' ', -1)), 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
SET SESSION sql_mode = IF(@helix_unfit > 0,
    CONCAT(@helix_from, ' has ', @helix_unfit, ' rows whose lock_key or owner_id helix_locks_older cannot hold (', @helix_key_charset, ' ', @helix_owner_charset,
        ') and nothing was changed. Delete them or else drop helix_locks_older'),
    @@SESSION.sql_mode);

-- The spellings of one lock that was taken over have one holder.
SET @helix_unfit = 0;
SET @helix_statement = COALESCE(CONCAT(
    'SELECT COUNT(*) INTO @helix_unfit
    FROM (
        SELECT 1 AS one
        FROM ', @helix_from, '
        WHERE status = 1 AND expires_at > TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())
        GROUP BY CONVERT(CONVERT(lock_key USING utf8mb4) USING ', @helix_key_charset, ') COLLATE ', SUBSTRING_INDEX(SUBSTRING_INDEX(@helix_key, ' ', 2), ' ', -1), '
        HAVING COUNT(DISTINCT owner_id, lease_id) > 1
    ) AS rivals'), 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
SET SESSION sql_mode = IF(@helix_unfit > 0,
    CONCAT(@helix_from, ' has ', @helix_unfit, ' locks with several active holders whose keys helix_locks_older takes for one and nothing was changed. Release all but one of each'),
    @@SESSION.sql_mode);

SET @helix_reference = (
    SELECT MIN(CONCAT(constraint_name, ' of ', table_schema, '.', table_name))
    FROM information_schema.key_column_usage
    WHERE referenced_table_schema = DATABASE() AND referenced_table_name = 'helix_locks_older'
);
SET SESSION sql_mode = IF(@helix_from IS NOT NULL AND @helix_reference IS NOT NULL,
    CONCAT('a foreign key refers to helix_locks_older and nothing was changed. Drop it: ', @helix_reference), @@SESSION.sql_mode);

SET @helix_statement = IF(@helix_from IS NOT NULL AND NOT EXISTS (
    SELECT 1
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks_older' AND column_name = 'epoch'
), 'ALTER TABLE helix_locks_older ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;

-- Keys that the older collation takes for one are merged: the later expiry stays,
-- with the highest epoch.
SET @helix_enum = EXISTS (
    SELECT 1
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks_older' AND column_name = 'status' AND data_type = 'enum'
);
SET @helix_give = CONCAT(
    '/*M! SET STATEMENT time_zone = ''+00:00'', sql_mode = ''STRICT_ALL_TABLES'' FOR */
    INSERT /*+ SET_VAR(time_zone = ''+00:00'') SET_VAR(sql_mode = ''STRICT_ALL_TABLES'') */ INTO helix_locks_older
        (lock_key, owner_id, expires_at, epoch, status, created_at, updated_at)
    SELECT
        CONVERT(newer.lock_key USING utf8mb4), CONVERT(newer.owner_id USING utf8mb4),
        LEAST(GREATEST(newer.expires_at, CAST(''1970-01-01 00:00:01'' AS DATETIME)), CAST(''2038-01-19 03:14:07'' AS DATETIME)),
        newer.epoch, ', IF(@helix_enum, 'CASE newer.status WHEN 1 THEN ''active'' WHEN 2 THEN ''deletable'' ELSE ''inactive'' END', 'newer.status'), ',
        newer.created_at, newer.updated_at
    FROM helix_locks_newer AS newer
    WHERE TRUE
    ORDER BY newer.expires_at DESC
    ON DUPLICATE KEY UPDATE helix_locks_older.epoch = GREATEST(helix_locks_older.epoch, newer.epoch)');

-- As in Up: what the server may refuse, it refuses now. (It would not see a WHERE
-- FALSE as an unsafe update.)
SET @helix_statement = IF(@helix_from IS NOT NULL, 'DELETE FROM helix_locks_older WHERE RAND() < 0', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
SET @helix_statement = COALESCE(REPLACE(REPLACE(@helix_give, 'FROM helix_locks_newer', CONCAT('FROM ', @helix_from)), 'WHERE TRUE', 'WHERE FALSE'), 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;

SET @helix_statement = IF(@helix_from = 'helix_locks', 'RENAME TABLE helix_locks TO helix_locks_newer', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;

-- Both or none: nobody can give an empty table its name back meanwhile.
START TRANSACTION;
SET @helix_statement = IF(@helix_from IS NOT NULL, 'DELETE FROM helix_locks_older', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
SET @helix_statement = IF(@helix_from IS NOT NULL, @helix_give, 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
COMMIT;

EXECUTE helix_look;
SET SESSION sql_mode = IF(@helix_there AND NOT @helix_new AND @helix_aside, @helix_again, @@SESSION.sql_mode);
SET @helix_statement = IF(@helix_aside AND NOT @helix_there, 'RENAME TABLE helix_locks_older TO helix_locks', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;

EXECUTE helix_look;
SET @helix_statement = IF(@helix_back AND @helix_there AND NOT @helix_new AND NOT @helix_aside, 'DROP TABLE helix_locks_newer', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
SET @helix_statement = IF(@helix_new AND NOT @helix_aside AND NOT @helix_back, 'DROP TABLE helix_locks', 'DO 0');
PREPARE helix_step FROM @helix_statement;
EXECUTE helix_step;
DROP TABLE IF EXISTS helix_locks_import;
DEALLOCATE PREPARE helix_look;
DEALLOCATE PREPARE helix_step;
SET SESSION lock_wait_timeout = @helix_lock_wait;
SET @helix_lock_wait = NULL;
