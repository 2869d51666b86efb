-- A lease that its holder renews in the background while transactions that it
-- fences keep its row locked: until when it is extended nevertheless. A row goes
-- with its lease's release; those of leases that were taken over wait for a purge.

-- +goose Up
-- Where going down was interrupted in the migration before this, that is still
-- noted as done, but there is no helix_locks for new clients.
SET @helix_new = EXISTS (
    SELECT 1
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'helix_locks' AND column_name = 'lease_id'
);
SET SESSION sql_mode = IF(@helix_new, @@SESSION.sql_mode,
    'there is no helix_locks of the new shape as going down was interrupted: finish it with goose down (migrations.DownTo) and then go up');

CREATE TABLE IF NOT EXISTS helix_lock_extensions (
    lease_id   BIGINT      NOT NULL,
    expires_at DATETIME(6) NOT NULL COMMENT 'UTC',
    PRIMARY KEY (lease_id)
) ENGINE = InnoDB;

-- +goose Down
-- The wait is short for the reason that the migration before this gives.
SET @helix_lock_wait = CAST(COALESCE(@helix_lock_wait, @@SESSION.lock_wait_timeout) AS SIGNED);
SET SESSION lock_wait_timeout = 5;
DROP TABLE IF EXISTS helix_lock_extensions;
SET SESSION lock_wait_timeout = @helix_lock_wait;
SET @helix_lock_wait = NULL;
