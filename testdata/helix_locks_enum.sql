-- A helix_locks of the oldest programs, which know no epoch. Load it with time_zone = '+00:00'.
CREATE TABLE helix_locks (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    lock_key   VARCHAR(255)    NOT NULL,
    owner_id   VARCHAR(255)    NOT NULL,
    expires_at TIMESTAMP       NOT NULL,
    status     ENUM ('active', 'inactive', 'deletable') NOT NULL DEFAULT 'active',
    created_at DATETIME        NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME        NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    PRIMARY KEY (id),
    UNIQUE KEY lock_key_status_unique_key (lock_key, status),
    KEY lock_key_ids (lock_key)
) ENGINE = InnoDB DEFAULT CHARSET = latin1;

INSERT INTO helix_locks (lock_key, owner_id, expires_at, status, created_at, updated_at)
VALUES
    ('held', 'worker-1', '2037-06-01 12:00:00', 'active', '2025-01-01 00:00:00', '2025-06-01 00:00:00'),
    ('free', 'worker-3', '2025-02-01 00:00:00', 'inactive', '2025-01-01 00:00:00', '2025-02-01 00:00:00'),
    ('retired', 'worker-4', '2025-02-02 00:00:00', 'deletable', '2025-01-01 00:00:00', '2025-02-02 00:00:00'),
    ('thrice', 'gone-0', '2025-04-01 00:00:00', 'inactive', '2025-01-03 00:00:00', '2025-04-01 00:00:00'),
    ('thrice', 'active-1', '2037-07-01 00:00:00', 'active', '2025-01-02 00:00:00', '2025-03-01 00:00:00'),
    ('thrice', 'gone-2', '2025-03-01 00:00:00', 'deletable', '2025-01-01 00:00:00', '2025-05-01 00:00:00'),
    ('größe', 'arbeiter-ß', '2037-09-01 00:00:00', 'active', '2025-01-01 00:00:00', '2025-06-03 00:00:00'),
    ('GRÖSSE', 'arbeiter-2', '2037-09-02 00:00:00', 'active', '2025-01-01 00:00:00', '2025-06-03 00:00:00');
