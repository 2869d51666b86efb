-- The highest epoch ever purged, by shard (CRC32(lock_key) % 256): a fresh row
-- starts above it, so that a purged key's epochs never go back.

-- +goose Up
CREATE TABLE IF NOT EXISTS helix_lock_floor (
    shard       SMALLINT NOT NULL,
    floor_epoch BIGINT   NOT NULL,
    PRIMARY KEY (shard)
) ENGINE = InnoDB;

-- +goose Down
-- Drops the memory of every epoch: fencing tokens start again from 1.
-- On MySQL a statement that waits for a table goes on when its client is gone, and
-- all others queue behind it: hence the short wait.
SET @helix_lock_wait = CAST(COALESCE(@helix_lock_wait, @@SESSION.lock_wait_timeout) AS SIGNED);
SET SESSION lock_wait_timeout = 5;
DROP TABLE IF EXISTS helix_lock_floor;
SET SESSION lock_wait_timeout = @helix_lock_wait;
SET @helix_lock_wait = NULL;
