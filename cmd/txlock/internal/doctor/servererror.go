package doctor

import (
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/go-sql-driver/mysql"
)

// outcome is what came of a probing statement.
type outcome int

const (
	done    outcome = iota
	denied          // for want of a privilege
	missing         // there is no such table or column, or no database is selected
	refused         // the server takes no writes here
	failed          // otherwise
)

// Numbers of the servers' errors, the same in MySQL and MariaDB unless said.
const (
	erCantLock            = 1015 // MySQL, innodb_read_only
	erTableReadOnly       = 1036 // MariaDB, innodb_read_only
	erNotReady            = 1047 // Galera: the node is not in a primary component
	erNoDatabase          = 1046
	erDatabaseDenied      = 1044
	erBadDatabase         = 1049
	erBadField            = 1054
	erTableDenied         = 1142
	erColumnDenied        = 1143
	erNoSuchTable         = 1146
	erSafeUpdates         = 1175 // MariaDB
	erOptionPrevents      = 1290 // read_only, super_read_only
	erReadOnlyTransaction = 1792
	erReadOnlyMode        = 1836
	erInnoDBReadOnly      = 1874
	erInnoDBForced        = 1881 // innodb_force_recovery
	erRunHook             = 3100 // Group Replication
)

// outcomeOf tells what a probing statement came to.
func outcomeOf(err error) outcome {
	if err == nil {
		return done
	}
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return failed
	}
	switch e.Number {
	case erSafeUpdates: // comes after the privileges are checked
		return done
	case erTableDenied, erColumnDenied, erDatabaseDenied:
		return denied
	case erNoSuchTable, erBadField, erNoDatabase, erBadDatabase:
		return missing
	case erCantLock, erTableReadOnly, erOptionPrevents, erReadOnlyTransaction, erReadOnlyMode, erInnoDBReadOnly, erInnoDBForced, erRunHook, erNotReady:
		return refused
	}
	return failed
}

// isLost reports that the connection has ended, so that there is no point in asking
// on.
func isLost(err error) bool {
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone)
}
