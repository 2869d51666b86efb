-- A lease that its holder renews in the background while transactions that it
-- fences keep its row locked: until when it is extended nevertheless. A row goes
-- with its lease's release; those of leases that were taken over wait for a purge.

-- +goose Up
CREATE TABLE IF NOT EXISTS helix_lock_extensions (
    lease_id   BIGINT      NOT NULL,
    expires_at DATETIME(6) NOT NULL COMMENT 'UTC',
    PRIMARY KEY (lease_id)
) ENGINE = InnoDB;

-- +goose Down
DROP TABLE IF EXISTS helix_lock_extensions;
