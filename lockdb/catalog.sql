-- What sqlc has to know beside the migrations. It creates nothing.

-- A batch of keys: tools/finish writes JSON_TABLE in its place.
CREATE TABLE helix_batch (
    i        BIGINT         NOT NULL,
    lock_key VARBINARY(255) NOT NULL,
    epoch    BIGINT         NOT NULL,
    lease_id BIGINT         NOT NULL,
    list     LONGTEXT       NOT NULL
);

-- SHOW GLOBAL VARIABLES: likewise.
CREATE TABLE global_variables (
    variable_name VARCHAR(64) NOT NULL,
    value         TEXT        NOT NULL
);

-- The functions of named locks, which sqlc takes for BOOLEAN: likewise.
CREATE TABLE named_locks (
    name         VARCHAR(64) NOT NULL,
    seconds      INT         NOT NULL,
    get_lock     BIGINT,
    release_lock BIGINT,
    is_used_lock BIGINT
);

CREATE SCHEMA information_schema;

CREATE TABLE information_schema.tables (
    table_schema    VARCHAR(64) NOT NULL,
    table_name      VARCHAR(64) NOT NULL,
    engine          VARCHAR(64)
);

CREATE TABLE information_schema.columns (
    table_schema       VARCHAR(64) NOT NULL,
    table_name         VARCHAR(64) NOT NULL,
    column_name        VARCHAR(64) NOT NULL,
    ordinal_position   BIGINT      NOT NULL,
    column_default     LONGTEXT,
    is_nullable        VARCHAR(3)  NOT NULL,
    column_type        LONGTEXT    NOT NULL,
    extra              VARCHAR(256) NOT NULL
);

CREATE TABLE information_schema.statistics (
    table_schema VARCHAR(64) NOT NULL,
    table_name   VARCHAR(64) NOT NULL,
    index_name   VARCHAR(64) NOT NULL,
    non_unique   BIGINT      NOT NULL,
    seq_in_index BIGINT      NOT NULL,
    column_name  VARCHAR(64),
    sub_part     BIGINT
);

-- goose's own table, which it makes and writes itself.
CREATE TABLE helix_goose_db_version (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    version_id BIGINT          NOT NULL,
    is_applied BOOLEAN         NOT NULL,
    tstamp     TIMESTAMP       NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (id)
);

-- The table of an older version, set aside, and what it becomes: see adopt.sql.
CREATE TABLE helix_locks_older (
    id         BIGINT UNSIGNED NOT NULL,
    lock_key   VARCHAR(255),
    owner_id   VARCHAR(255),
    expires_at TIMESTAMP       NULL,
    epoch      BIGINT,
    status     TINYINT,
    created_at DATETIME,
    updated_at DATETIME
);

CREATE TABLE helix_locks_import LIKE helix_locks;

CREATE TABLE helix_locks_closed (
    being_adopted BOOLEAN NOT NULL
);

CREATE TABLE information_schema.table_constraints (
    constraint_schema VARCHAR(64) NOT NULL,
    table_name        VARCHAR(64) NOT NULL,
    constraint_name   VARCHAR(64) NOT NULL,
    constraint_type   VARCHAR(64) NOT NULL,
    enforced          VARCHAR(3)  NOT NULL
);

CREATE TABLE information_schema.check_constraints (
    constraint_schema VARCHAR(64) NOT NULL,
    constraint_name   VARCHAR(64) NOT NULL,
    table_name        VARCHAR(64) NOT NULL,
    check_clause      LONGTEXT    NOT NULL
);

CREATE TABLE information_schema.triggers (
    event_object_schema VARCHAR(64) NOT NULL,
    event_object_table  VARCHAR(64) NOT NULL,
    trigger_name        VARCHAR(64) NOT NULL
);
