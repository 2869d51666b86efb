package doctor

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	// lockLooks is how often each connection is asked: a proxy that shares
	// connections need not do so at once.
	lockLooks = 5

	// secondPatience is how long to wait for a second connection.
	secondPatience = 3 * time.Second
)

// lockSeen is what became of one named lock.
type lockSeen struct {
	asked       bool  // there was a connection to ask
	granted     int64 // to the first connection: 1, or it was not
	first       []look
	firstServer string

	alone         error // why there is no second connection
	grantedBeside int64 // to the second one: 0, or it was not kept out
	second        []look
	secondServer  string
}

// look is one answer to who a connection is, and who holds the lock.
type look struct{ connection, holder int64 }

func (e *examination) namedLocks(ctx context.Context) []Finding {
	seen, err := e.tryNamedLock(ctx)
	var refusal *mysql.MySQLError
	switch {
	case err == nil:
		return []Finding{judgeNamedLocks(seen)}
	case seen.asked && errors.As(err, &refusal):
		return []Finding{{Warning, subjectNamedLocks, fmt.Sprintf("named locks do not work here, and migrating takes one unless told otherwise: %v", refusal), leaseLock}}
	}
	return []Finding{unseen(subjectNamedLocks, "whether named locks exclude", err)}
}

// tryNamedLock takes a lock of a random name on one connection, and then tries it on
// another. It gives back what it got.
func (e *examination) tryNamedLock(ctx context.Context) (seen lockSeen, err error) {
	name := "txlock-doctor:" + rand.Text()
	err = e.on(ctx, func(ctx context.Context, first *sql.Conn) (err error) {
		seen.asked = true
		defer func() {
			if releaseErr := releaseNamedLock(ctx, first, name); err == nil {
				err = releaseErr
			}
		}()
		if err := first.QueryRowContext(ctx, queryGetLock, name).Scan(&seen.granted); err != nil {
			return err
		}
		if seen.first, seen.firstServer, err = lookAtLock(ctx, first, name); err != nil {
			return err
		}
		if seen.alone, err = e.trySecond(ctx, name, &seen); err != nil {
			return err
		}
		// Again, as the second may have been given the first's connection.
		again, _, err := lookAtLock(ctx, first, name)
		seen.first = append(seen.first, again...)
		return err
	})
	return seen, err
}

// trySecond tries the lock on another connection of the pool; alone says why there
// is none.
func (e *examination) trySecond(ctx context.Context, name string, seen *lockSeen) (alone, err error) {
	if e.db.Stats().MaxOpenConnections == 1 {
		return errors.New("the pool has only one (SetMaxOpenConns)"), nil
	}
	wait, cancel := context.WithTimeout(ctx, secondPatience)
	defer cancel()
	second, err := e.db.Conn(wait)
	if err != nil {
		return err, ctx.Err()
	}
	return nil, e.with(ctx, second, func(ctx context.Context, second *sql.Conn) (err error) {
		defer func() {
			if err == nil && seen.grantedBeside == 0 {
				return // it has none
			}
			if releaseErr := releaseNamedLock(ctx, second, name); err == nil {
				err = releaseErr
			}
		}()
		if err := second.QueryRowContext(ctx, queryGetLock, name).Scan(&seen.grantedBeside); err != nil {
			return err
		}
		seen.second, seen.secondServer, err = lookAtLock(ctx, second, name)
		return err
	})
}

func lookAtLock(ctx context.Context, conn *sql.Conn, name string) (looks []look, server string, err error) {
	for range lockLooks {
		var l look
		if err := conn.QueryRowContext(ctx, queryLockHolder, name).Scan(&l.connection, &l.holder); err != nil {
			return nil, "", err
		}
		looks = append(looks, l)
	}
	about, err := readPairs(ctx, conn, queryServer)
	return looks, about["hostname"] + ":" + about["port"], err
}

// releaseNamedLock gives back what conn may have of the lock, whatever has become
// of ctx. A connection that may still have it is closed, which releases it, too. Where
// a proxy shares connections, the statement may reach another than the one that has
// it, hence more than one try; what is left then goes with the proxy's connection.
func releaseNamedLock(ctx context.Context, conn *sql.Conn, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyPatience)
	defer cancel()
	for range lockLooks {
		var answer int64
		err := conn.QueryRowContext(ctx, queryReleaseLock, name).Scan(&answer)
		switch {
		case isLost(err):
			return nil
		case err != nil:
			return errors.Join(err, discard(conn))
		case answer != 0: // released, or nobody's
			return nil
		}
	}
	return discard(conn)
}

// discard closes a connection for good, rather than giving it back to its pool.
func discard(conn *sql.Conn) error {
	err := conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}

func judgeNamedLocks(seen lockSeen) Finding {
	const means = ": named locks do not exclude here, and two processes can migrate at once"
	const cure = leaseLock + "; or migrate through a DSN that names one server, with nothing between"
	warning := func(format string, args ...any) Finding {
		return Finding{Warning, subjectNamedLocks, fmt.Sprintf(format, args...) + means, cure}
	}
	all := slices.Concat(seen.first, seen.second)
	switch {
	case seen.granted != 1 || len(seen.first) == 0:
		return Finding{Warning, subjectNamedLocks, fmt.Sprintf("a named lock that nobody has was refused (GET_LOCK answered %d), and migrating takes one unless told otherwise", seen.granted), leaseLock}
	case changes(seen.first), changes(seen.second):
		return warning("the statements of one connection reach the server through several: a proxy between shares its connections")
	case len(seen.second) > 0 && seen.firstServer != seen.secondServer:
		f := warning("two connections of one DSN reach different servers, %s and %s: a proxy or a name between spreads them", seen.firstServer, seen.secondServer)
		f.Text += "; and if only one of the servers is meant to take writes, locks may go to the other, too"
		return f
	case len(seen.second) > 0 && seen.second[0].connection == seen.first[0].connection:
		return warning("two connections of one DSN are one in the server: a proxy between shares its connections")
	case seen.grantedBeside != 0, slices.ContainsFunc(all, func(l look) bool { return l.holder != seen.first[0].connection }):
		return warning("a named lock that one connection had was another's, too, or nobody's: a proxy between shares its connections or spreads them over servers")
	case seen.alone != nil:
		return Finding{Note, subjectNamedLocks, fmt.Sprintf("one connection keeps its named lock, but whether it keeps out another could not be looked at, because there is no second connection: %v", seen.alone), "let there be two, then look again"}
	}
	return Finding{Level: OK, Subject: subjectNamedLocks, Text: "a named lock of one connection keeps another one out, and stays with it: no proxy between shares connections"}
}

// changes reports whether the connection has become another one.
func changes(looks []look) bool {
	return slices.ContainsFunc(looks, func(l look) bool { return l.connection != looks[0].connection })
}
