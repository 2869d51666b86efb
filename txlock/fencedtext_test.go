package txlock_test

import (
	"database/sql"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
)

// The server is the judge of what is one statement: of random texts made of what
// begins and ends quotes, comments and statements, those that pass never have more
// results than one, whatever the session's quoting rules are.
func TestFencedConnectorNeverPassesTwoStatements(t *testing.T) {
	fragments := []string{
		"SELECT 1", "SELECT 2", " ", "\n", ",", "'", "''", `"`, "`", `\`, ";", ";", ";SELECT 3", "--", "-- ", "#", "/*", "*/", "/*!", "/*+", "$$", "(", ")",
		"\xa0", "é", "\xbf", "--\xa0", "\r", "AS a", "N'", "x''", "@", "5",
	}
	onServers(t, func(l *live) {
		lease := l.try(l.Locker)
		for _, mode := range []string{"''", "'ANSI_QUOTES'", "'NO_BACKSLASH_ESCAPES'", "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"} {
			base := l.connector(func(c *mysql.Config) {
				c.MultiStatements = true
				c.Params = map[string]string{"sql_mode": mode}
			})
			db := l.fenced(lease, base)
			db.SetMaxOpenConns(1)
			random := rand.New(rand.NewPCG(1, 2)) // the same texts each time
			passed := 0
			for range 4000 {
				var b strings.Builder
				b.WriteString("SELECT 1 ")
				for range 1 + random.IntN(9) {
					b.WriteString(fragments[random.IntN(len(fragments))])
				}
				text := b.String()
				if results, err := l.results(db, text); errors.Is(err, txlock.ErrUnfenced) {
					continue
				} else if err != nil && !strings.HasPrefix(err.Error(), "Error ") {
					l.Fatalf("%q: %v", text, err)
				} else if results > 1 || results == 1 && err != nil && !strings.Contains(err.Error(), "Error 1065") { // 1065: nothing but a comment
					l.Errorf("sql_mode %s: %q passed, and has %d results, then %v", mode, text, results, err)
				} else if results == 1 {
					passed++
				}
			}
			if passed < 100 {
				l.Errorf("sql_mode %s: only %d texts passed", mode, passed)
			}
			l.must(db.Close())
		}
	})
}

// results counts the results of a text, up to the first error.
func (l *live) results(db *sql.DB, text string) (n int, err error) {
	rows, err := db.QueryContext(l.Context(), text)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for n = 1; rows.NextResultSet(); n++ {
	}
	return n, rows.Err()
}
