package txlock_test

import (
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
				rows, err := db.QueryContext(l.Context(), text)
				if errors.Is(err, txlock.ErrUnfenced) {
					continue
				}
				if err != nil {
					if !strings.HasPrefix(err.Error(), "Error ") {
						l.Fatalf("%q: %v", text, err)
					}
					continue
				}
				passed++
				if rows.NextResultSet() {
					l.Errorf("sql_mode %s: %q passed, and has two results", mode, text)
				}
				if err := rows.Err(); err != nil && !strings.Contains(err.Error(), "Error 1065") {
					l.Errorf("sql_mode %s: %q passed, and then: %v", mode, text, err)
				}
				l.must(rows.Close())
			}
			if passed < 100 {
				l.Errorf("sql_mode %s: only %d texts passed", mode, passed)
			}
			l.must(db.Close())
		}
	})
}
