-- +goose NO TRANSACTION
-- One row for each key ever locked. Binary keys: no collation, no padding and no
-- connection charset stands between two keys that differ by a byte. DATETIME
-- holds UTC (a TIMESTAMP would fail or shift in the hour that daylight saving
-- skips or repeats). The primary key is the only index: a second unique one
-- makes upserts deadlock, any other is work for every lock taken.

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
    PRIMARY KEY (lock_key)
) ENGINE = InnoDB;

-- +goose Down
-- Every lease is forgotten, and so is every epoch: drain the lock's users first.
DROP TABLE IF EXISTS helix_locks;
