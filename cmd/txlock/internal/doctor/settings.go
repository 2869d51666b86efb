package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// settings are what a server says of itself. A variable that it does not have is
// empty.
type settings struct {
	session map[string]string // variables of this connection
	global  map[string]string // variables of the server
	status  map[string]string // of Galera

	database string // that is selected
	account  string // CURRENT_USER()
}

func readSettings(ctx context.Context, conn *sql.Conn) (s settings, err error) {
	if s.session, err = readPairs(ctx, conn, querySessionVariables); err != nil {
		return s, err
	}
	if s.global, err = readPairs(ctx, conn, queryGlobalVariables); err != nil {
		return s, err
	}
	if s.status, err = readPairs(ctx, conn, queryClusterStatus); err != nil {
		return s, err
	}
	return s, conn.QueryRowContext(ctx, queryIdentity).Scan(&s.database, &s.account)
}

// readPairs reads names, in lower case, and their values.
func readPairs(ctx context.Context, conn *sql.Conn, query string) (pairs map[string]string, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	pairs = map[string]string{}
	for rows.Next() {
		var name string
		var value sql.NullString
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		pairs[strings.ToLower(name)] = value.String
	}
	return pairs, rows.Err()
}

// isOn is for variables of more than two values, too: read_only of MariaDB 12 has
// some that are other words for on.
func isOn(value string) bool {
	switch strings.ToUpper(value) {
	case "", "OFF", "0", "NO":
		return false
	}
	return true
}

func (s settings) isMariaDB() bool {
	return strings.Contains(strings.ToLower(s.global["version"]), "mariadb")
}

// number is a variable of this connection as a number.
func (s settings) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(s.session[name], 10, 64)
	return n, err == nil
}

// either is the first of two names that the server has a variable of: MariaDB has
// called some otherwise than MySQL.
func (s settings) either(name, other string) string {
	if _, ok := s.session[name]; !ok {
		if _, ok := s.session[other]; ok {
			return other
		}
	}
	return name
}

// cure says how to give a variable another value: where this connection's is not
// the server's, not to set it.
func (s settings) cure(name, value string) string {
	if own, ok := s.global[name]; ok && own != s.session[name] {
		return fmt.Sprintf("leave %s out of the DSN (or of init_connect, if that sets it): the server's own is %s", name, own)
	}
	return s.setGlobal(name, value)
}

// setGlobal is SQL that sets a variable of the server for good, as far as SQL can.
func (s settings) setGlobal(name, value string) string {
	if s.isMariaDB() {
		option := strings.ReplaceAll(strings.Replace(name, "tx_", "transaction_", 1), "_", "-")
		return fmt.Sprintf("SET GLOBAL %s = %s; -- and %s = %s below [mariadbd] in its option file, as a restart forgets it", name, value, option, strings.Trim(value, "'"))
	}
	return fmt.Sprintf("SET PERSIST %s = %s;", name, value)
}

// seconds spells a number of them as a person does.
func seconds(n int64) string {
	switch {
	case n >= 3600 && n%3600 == 0:
		return plural(n/3600, "hour")
	case n >= 120 && n%60 == 0:
		return plural(n/60, "minute")
	}
	return plural(n, "second")
}

func plural(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// enumerate joins words as a sentence does.
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
