package fuzz_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/go-sql-driver/mysql"
)

// fault is a way to fail.
type fault struct {
	name  string
	err   error
	class class
}

// class is what a fault means for a transaction.
type class int

const (
	lost       class = iota // the connection, and with it the transaction
	conflict                // the server has rolled back
	busy                    // a lock wait has timed out
	unmigrated              // a table is missing
	gaveUp                  // a context ended
	other                   // nobody knows
	short                   // rows end before they should, without an error
	gone                    // the caller, who ended the context
)

func faults() []fault {
	server := func(number uint16, message string) error {
		return &mysql.MySQLError{Number: number, Message: message}
	}
	return []fault{
		{"bad connection", driver.ErrBadConn, lost},
		{"unexpected EOF", io.ErrUnexpectedEOF, lost},
		{"invalid connection", mysql.ErrInvalidConn, lost},
		{"2013", server(2013, "Lost connection to MySQL server during query"), lost},
		{"1213", server(1213, "Deadlock found when trying to get lock; try restarting transaction"), conflict},
		{"1020", server(1020, "Record has changed since last read in table 'helix_locks'"), conflict},
		{"3100", server(3100, "Error on observer while running replication hook 'before_commit'."), conflict},
		{"1205", server(1205, "Lock wait timeout exceeded; try restarting transaction"), busy},
		{"1146", server(1146, "Table 'test.helix_locks' doesn't exist"), unmigrated},
		{"1290", server(1290, "The MySQL server is running with the --read-only option so it cannot execute this statement"), other},
		{"1047", server(1047, "WSREP has not yet prepared node for application use"), other},
		{"canceled", context.Canceled, gaveUp},
		{"deadline exceeded", context.DeadlineExceeded, gaveUp},
		{"unknown", errors.New("nobody knows"), other},
		{"short rows", nil, short},
		{"canceled by the caller", context.Canceled, gone},
	}
}

// happens reports whether a call can fail so.
func (f fault) happens(at place) bool {
	switch at {
	case atInsertID, atAffected, atStmtClose:
		return f.name == "unknown"
	case atNext:
		return true
	case atCommit: // which has no context
		return f.class != short && f.class != gone
	default:
		return f.class != short
	}
}

// failure is what it does to a connection. One that was bad takes nothing any more:
// package sql tries, and would not send.
func (f fault) failure() failure {
	return failure{
		err:     f.err,
		ends:    f.class == lost || f.class == gaveUp || f.class == gone,
		aborts:  f.class == lost && f.err != driver.ErrBadConn || f.class == conflict,
		cutsOff: f.class == short,
	}
}
