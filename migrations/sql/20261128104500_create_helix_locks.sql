-- The two tables of gox-helix, for MySQL 8.0.17 and MariaDB 10.6 or later. Every statement can run
-- again, also after it was interrupted. Other tools want what stands between "Up" and "Down" alone:
-- what follows drops the tables.

-- +goose Up

-- One row for each key that was ever locked. Keys are bytes: no collation takes two for one.
-- The primary key is the only index: a second unique one makes upserts deadlock. Programs of older
-- versions, which know no acquired_at, cannot insert: the CHECK is for those whose sql_mode is lax.
CREATE TABLE IF NOT EXISTS helix_locks (
    lock_key    VARBINARY(255) NOT NULL,
    owner_id    VARBINARY(255) NOT NULL COMMENT 'who acquired it last',
    epoch       BIGINT         NOT NULL COMMENT 'fencing token, greater at every acquisition',
    lease_id    BIGINT         NOT NULL DEFAULT 0 COMMENT 'random for each lease, 0 without one',
    status      TINYINT        NOT NULL COMMENT '1 active, 0 inactive, 2 deletable',
    expires_at  DATETIME(6)    NOT NULL COMMENT 'UTC, long past where the key is free',
    acquired_at DATETIME(6)    NOT NULL COMMENT 'UTC',
    created_at  DATETIME(6)    NOT NULL COMMENT 'UTC',
    updated_at  DATETIME(6)    NOT NULL COMMENT 'UTC',
    PRIMARY KEY (lock_key),
    CONSTRAINT older_programs_are_refused CHECK (YEAR(acquired_at) > 0)
) ENGINE = InnoDB;

-- Fails where there was a helix_locks of an older version, before anything has changed.
SELECT `helix_locks is an older table, take it over by txlock migrate adopt`.lease_id
FROM helix_locks AS `helix_locks is an older table, take it over by txlock migrate adopt`
LIMIT 0;

-- The highest epoch that was purged, for each shard of keys (CRC32(lock_key) % 256): a new row
-- starts above it.
CREATE TABLE IF NOT EXISTS helix_lock_floor (
    shard       SMALLINT NOT NULL,
    floor_epoch BIGINT   NOT NULL,
    PRIMARY KEY (shard),
    CONSTRAINT tables_must_be_of_engine_innodb CHECK (shard >= 0)
) ENGINE = InnoDB;

-- Fails where the server has made tables of another engine than it was asked for: without
-- transactions nothing is locked. (Vitess would lock the catalog, were it not a subquery.)
INSERT INTO helix_lock_floor (shard, floor_epoch)
SELECT -1, 0
FROM (
    SELECT table_name
    FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name IN ('helix_locks', 'helix_lock_floor') AND engine <> 'InnoDB'
) AS not_of_innodb;

-- One row for each shard. A row that was lost comes back as the time in microseconds, which no
-- epoch has reached; in new tables all are 0.
INSERT IGNORE INTO helix_lock_floor (shard, floor_epoch)
WITH RECURSIVE shards (shard) AS (
    SELECT 0
    UNION ALL
    SELECT shard + 1 FROM shards WHERE shard < 255
), start (epoch) AS (
    SELECT IF(EXISTS (SELECT 1 FROM helix_lock_floor) OR EXISTS (SELECT 1 FROM helix_locks), UNIX_TIMESTAMP() * 1000000, 0)
)
SELECT shards.shard, start.epoch
FROM shards
CROSS JOIN start;

-- +goose Down
-- Forgets every lease and every epoch: fencing tokens start again from 1.
DROP TABLE IF EXISTS helix_locks, helix_lock_floor;
