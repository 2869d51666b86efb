-- The business tables of the demo, in a database of their own.

-- The input file, as it is.
CREATE TABLE payouts (
    payout_id    VARCHAR(32)  NOT NULL,
    chunk_id     INT          NOT NULL,
    line         INT          NOT NULL,
    account      VARCHAR(32)  NOT NULL,
    amount_cents BIGINT       NOT NULL,
    memo         VARCHAR(200) NOT NULL,
    PRIMARY KEY (payout_id),
    KEY (chunk_id, line)
) ENGINE = InnoDB;

-- The work, in portions that one worker at a time should have. The last three
-- columns are how it is claimed where the library does not do it (-unprotected).
CREATE TABLE chunks (
    chunk_id      INT         NOT NULL,
    claimed_by    VARCHAR(32) NULL,
    claimed_until DATETIME(6) NULL,
    attempt       BIGINT      NOT NULL DEFAULT 0,
    PRIMARY KEY (chunk_id)
) ENGINE = InnoDB;

CREATE TABLE accounts (
    account       VARCHAR(32) NOT NULL,
    balance_cents BIGINT      NOT NULL DEFAULT 0,
    PRIMARY KEY (account)
) ENGINE = InnoDB;

-- What was posted, by which worker, under which epoch of the chunk. payout_id is
-- NOT unique, on purpose: a unique key would refuse a double posting and hide it
-- from the audit. (In a ledger of your own, have both: the lock and the key.)
CREATE TABLE entries (
    entry_id     BIGINT      NOT NULL AUTO_INCREMENT,
    payout_id    VARCHAR(32) NOT NULL,
    account      VARCHAR(32) NOT NULL,
    amount_cents BIGINT      NOT NULL,
    chunk_id     INT         NOT NULL,
    epoch        BIGINT      NOT NULL,
    worker       VARCHAR(32) NOT NULL,
    posted_at    DATETIME(6) NOT NULL,
    PRIMARY KEY (entry_id),
    KEY (payout_id)
) ENGINE = InnoDB;

-- Which chunks are finished. Not unique either, for the same reason.
CREATE TABLE chunks_done (
    id       BIGINT      NOT NULL AUTO_INCREMENT,
    chunk_id INT         NOT NULL,
    epoch    BIGINT      NOT NULL,
    worker   VARCHAR(32) NOT NULL,
    PRIMARY KEY (id),
    KEY (chunk_id)
) ENGINE = InnoDB;
