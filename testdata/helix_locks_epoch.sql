-- A helix_locks of an older program that counts epochs. Load it with time_zone = '+00:00'.
CREATE TABLE helix_locks (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    lock_key   VARCHAR(255)    NOT NULL,
    owner_id   VARCHAR(255)    NOT NULL,
    expires_at TIMESTAMP       NOT NULL,
    epoch      BIGINT          NOT NULL DEFAULT 0,
    status     TINYINT         NOT NULL DEFAULT 1,
    created_at DATETIME        NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME        NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    PRIMARY KEY (id),
    UNIQUE KEY lock_key_status_unique_key (lock_key, status),
    KEY lock_key_ids (lock_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

INSERT INTO helix_locks (lock_key, owner_id, expires_at, epoch, status, created_at, updated_at)
VALUES
    ('held', 'worker-1', '2037-06-01 12:00:00', 7, 1, '2025-01-01 00:00:00', '2025-06-01 00:00:00'),
    ('expired', 'worker-2', '2025-03-30 01:30:00', 3, 1, '2025-01-01 00:00:00', '2025-03-30 01:00:00'),
    ('free', 'worker-3', '2025-02-01 00:00:00', 12, 0, '2025-01-01 00:00:00', '2025-02-01 00:00:00'),
    ('retired', 'worker-4', '2025-02-02 00:00:00', 4, 2, '2025-01-01 00:00:00', '2025-02-02 00:00:00'),
    -- One key, three rows: the highest epoch is not the active holder's.
    ('thrice', 'gone-0', '2025-04-01 00:00:00', 20, 0, '2025-01-03 00:00:00', '2025-04-01 00:00:00'),
    ('thrice', 'active-1', '2037-07-01 00:00:00', 19, 1, '2025-01-02 00:00:00', '2025-05-01 00:00:00'),
    ('thrice', 'gone-2', '2025-03-01 00:00:00', 18, 2, '2025-01-01 00:00:00', '2025-03-01 00:00:00'),
    -- No holder: the row of the highest epoch counts.
    ('twice', 'late-2', '2025-03-02 00:00:00', 9, 2, '2025-01-01 00:00:00', '2025-03-01 00:00:00'),
    ('twice', 'early-0', '2025-03-01 00:00:00', 8, 0, '2025-01-01 00:00:00', '2025-03-02 00:00:00'),
    ('never counted', 'worker-5', '2037-08-01 00:00:00', 0, 1, '2025-01-01 00:00:00', '2025-06-02 00:00:00'),
    -- In Berlin this hour came twice, and the one of 'expired' never.
    ('autumn', 'worker-6', '2025-10-26 00:30:00', 1, 1, '2025-01-01 00:00:00', '2025-10-26 00:00:00'),
    ('größe 東京', 'arbeiter-ß', '2037-09-01 00:00:00', 5, 1, '2025-01-01 00:00:00', '2025-06-03 00:00:00'),
    -- One lock for the collation, two keys for bytes.
    ('Order:1', 'worker-7', '2037-10-01 00:00:00', 30, 1, '2025-01-01 00:00:00', '2025-06-04 00:00:00'),
    ('order:1', 'worker-8', '2025-02-01 00:00:00', 31, 0, '2025-01-01 00:00:00', '2025-02-01 00:00:00');
