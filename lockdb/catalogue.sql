-- What sqlc has to know of the servers' own catalogue. It creates nothing.

CREATE SCHEMA information_schema;

CREATE TABLE information_schema.tables (
    table_schema    VARCHAR(64) NOT NULL,
    table_name      VARCHAR(64) NOT NULL,
    engine          VARCHAR(64),
    table_collation VARCHAR(64)
);

CREATE TABLE information_schema.columns (
    table_schema       VARCHAR(64) NOT NULL,
    table_name         VARCHAR(64) NOT NULL,
    column_name        VARCHAR(64) NOT NULL,
    ordinal_position   BIGINT      NOT NULL,
    column_default     LONGTEXT,
    is_nullable        VARCHAR(3)  NOT NULL,
    column_type        LONGTEXT    NOT NULL,
    collation_name     VARCHAR(64),
    extra              VARCHAR(256)
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
