// Package testserver starts private MySQL and MariaDB servers on a port and a
// directory of their own, for the integration tests and the demo, and leaves
// nothing of them behind. It takes the server program that it finds on the
// machine, else one it installed before, else (only where [Options] allow it)
// Docker, else a private copy of Debian's packages.
package testserver

import "strings"

// DSNVariable is the environment variable that names a server to use instead
// of starting one.
const DSNVariable = "TXLOCK_TEST_DSN"

// Engine is a database engine.
type Engine string

// The engines that are known.
const (
	MySQL   Engine = "mysql"
	MariaDB Engine = "mariadb"
)

// Engines returns every engine that can be started.
func Engines() []Engine { return []Engine{MySQL, MariaDB} }

// engineOf tells the engine from what VERSION() or --version says. It cannot
// be told from a program's name: on Debian mysqld is MariaDB.
func engineOf(version string) Engine {
	if strings.Contains(strings.ToLower(version), "mariadb") {
		return MariaDB
	}
	return MySQL
}

// FastArgs are server arguments for tests: what was committed survives the
// death of the server, but not that of the machine. The doublewrite buffer
// stays on, as a SIGKILL can tear a page.
func FastArgs() []string {
	return []string{
		"--innodb-flush-log-at-trx-commit=2",
		"--sync-binlog=0",
		"--loose-innodb-flush-method=nosync",
		"--loose-debug-no-sync", // MariaDB's own files
	}
}

// baseArgs are what every server gets beyond its compiled-in defaults.
func (e Engine) baseArgs() []string {
	args := []string{"--max-connections=500", "--skip-name-resolve"}
	if e == MariaDB {
		// As the configuration file of Debian's 10.11 has it.
		return append(args, "--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci")
	}
	return append(args, "--loose-mysqlx=OFF")
}
