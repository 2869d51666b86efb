package load

// Schema is the business tables: counters that are read, incremented and written
// back, and a row for each transaction that did so, with the epoch it ran under. One
// under a shared lock reads the counter twice.
var Schema = []string{
	`CREATE TABLE proof_counters (
		k VARBINARY(255) PRIMARY KEY,
		leased BIGINT NOT NULL DEFAULT 0 COMMENT 'incremented under a lease, without a fence',
		n BIGINT NOT NULL DEFAULT 0 COMMENT 'incremented in fenced transactions')`,
	`CREATE TABLE proof_writes (
		op BIGINT PRIMARY KEY,
		k VARBINARY(255) NOT NULL,
		n BIGINT NOT NULL COMMENT 'what the counter became: not unique, so that it shows when it came twice',
		epoch BIGINT NOT NULL,
		lease BIGINT NOT NULL COMMENT 'the operation that got the epoch; 0 for a lock that found it')`,
	`CREATE TABLE proof_acquired (
		op BIGINT PRIMARY KEY,
		k VARBINARY(255) NOT NULL,
		epoch BIGINT NOT NULL)`,
	`CREATE TABLE proof_shared (
		op BIGINT PRIMARY KEY,
		k VARBINARY(255) NOT NULL,
		n BIGINT NOT NULL COMMENT 'the counter',
		again BIGINT NOT NULL COMMENT 'the counter, a moment later',
		epoch BIGINT NOT NULL)`,
}
