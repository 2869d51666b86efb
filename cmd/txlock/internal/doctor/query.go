package doctor

// Everything that this package sends, but for BEGIN, ROLLBACK and what package
// migrations asks. MySQL is meant from 8.0 on, MariaDB from 10.6 on, unless it says
// otherwise; what is older, or only looks like them, may refuse any of it.
const (
	// Variables that a server does not have are left out of the answer, so that one
	// list does for all. SHOW needs no privilege, and a node that is cut off from its
	// cluster answers it, too.
	//
	//	version, version_comment, aurora_version            who it is (the last: Aurora alone)
	//	transaction_isolation, tx_isolation                 the second: MariaDB, before 11.1 alone
	//	transaction_read_only, tx_read_only                 likewise
	//	super_read_only, offline_mode, server_uuid          MySQL
	//	innodb_snapshot_isolation                           MariaDB, by now in every series
	//	idle_..., tcp_keepalive_time                        MariaDB
	//	wsrep_...                                           MariaDB, and MySQL with Galera
	//	group_replication_...                               MySQL, with its plugin loaded
	variableNames = `WHERE Variable_name IN (
		'version', 'version_comment', 'aurora_version', 'hostname', 'port', 'server_uuid',
		'transaction_isolation', 'tx_isolation', 'autocommit', 'innodb_snapshot_isolation',
		'innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin',
		'innodb_lock_wait_timeout', 'innodb_deadlock_detect', 'innodb_rollback_on_timeout',
		'wait_timeout', 'idle_transaction_timeout', 'idle_write_transaction_timeout', 'tcp_keepalive_time',
		'binlog_format', 'sql_safe_updates',
		'read_only', 'super_read_only', 'innodb_read_only', 'offline_mode', 'transaction_read_only', 'tx_read_only', 'innodb_force_recovery',
		'wsrep_on', 'wsrep_provider', 'group_replication_group_name', 'group_replication_single_primary_mode')`

	// As this connection has them.
	querySessionVariables = `SHOW SESSION VARIABLES ` + variableNames

	// As a new connection gets them.
	queryGlobalVariables = `SHOW GLOBAL VARIABLES ` + variableNames

	// What Galera says of this node; no rows elsewhere.
	queryClusterStatus = `SHOW GLOBAL STATUS WHERE Variable_name IN (
		'wsrep_ready', 'wsrep_cluster_size', 'wsrep_cluster_status', 'wsrep_local_state_comment')`

	// The database, empty if none is selected, and the account whose privileges count.
	queryIdentity = `SELECT COALESCE(DATABASE(), ''), CURRENT_USER()`

	// Which server a connection has reached. Without an @ in it, at which ProxySQL
	// would stop sharing the connection that is to be looked at.
	queryServer = `SHOW VARIABLES WHERE Variable_name IN ('hostname', 'port')`

	// Members of Group Replication, from MySQL 8.0.2 on; needs SELECT on that table. A
	// server that is in no group has one row without an id.
	queryGroupMembers = `SELECT member_id, member_host, COALESCE(member_port, 0), member_state, member_role
		FROM performance_schema.replication_group_members
		ORDER BY member_host, member_port`

	// The table that migrations keep when they have taken one over, if this user may
	// see it.
	queryOlderTable = `SELECT COUNT(*) FROM information_schema.tables
		WHERE table_schema = DATABASE() AND table_name = 'helix_locks_older'`

	// The server's clock as microseconds since 1970, whatever time_zone and the DSN's
	// parseTime and loc are.
	queryClock = `SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`

	// 1 granted, 0 somebody else's, -1 refused. It does not wait.
	queryGetLock = `SELECT COALESCE(GET_LOCK(?, 0), -1)`

	// Who this connection is, and who holds the lock (0: nobody). In one statement,
	// since proxies answer a bare SELECT CONNECTION_ID() themselves.
	queryLockHolder = `SELECT CONNECTION_ID(), COALESCE(IS_USED_LOCK(?), 0)`

	// 1 released, 0 somebody else's, -1 nobody's.
	queryReleaseLock = `SELECT COALESCE(RELEASE_LOCK(?), -1)`

	// The probes of privileges name the columns that lock traffic names, as privileges
	// may be given for some columns only, and read none where that would ask for
	// SELECT, too. WHERE FALSE is seen before any row is: neither engine locks
	// a row, a gap or the table (a test holds them against that); only ALTER TABLE and
	// its like wait until ROLLBACK. On MariaDB sql_safe_updates refuses the DELETEs
	// (1175), after the privileges have been checked.
	probeSelectLocks = `SELECT lock_key, owner_id, epoch, lease_id, status, expires_at, acquired_at, created_at, updated_at
		FROM helix_locks WHERE FALSE`
	probeInsertLocks = `INSERT INTO helix_locks (lock_key, owner_id, lease_id, epoch, status, expires_at, acquired_at, created_at, updated_at)
		SELECT '', '', 0, 0, 0, '2000-01-01', '2000-01-01', '2000-01-01', '2000-01-01' FROM (SELECT 1) AS x WHERE FALSE`
	probeUpdateLocks = `UPDATE helix_locks
		SET lock_key = '', owner_id = '', lease_id = 0, epoch = 0, status = 0, expires_at = '2000-01-01', acquired_at = '2000-01-01', updated_at = '2000-01-01'
		WHERE FALSE`
	probeDeleteLocks = `DELETE FROM helix_locks WHERE FALSE`
	probeSelectFloor = `SELECT shard, floor_epoch FROM helix_lock_floor WHERE FALSE LOCK IN SHARE MODE`
	probeInsertFloor = `INSERT INTO helix_lock_floor (shard, floor_epoch) SELECT 0, 0 FROM (SELECT 1) AS x WHERE FALSE`
	probeUpdateFloor = `UPDATE helix_lock_floor SET floor_epoch = 0 WHERE FALSE`

	// Ends what autocommit=0 has begun.
	queryRollback = `ROLLBACK`
)
