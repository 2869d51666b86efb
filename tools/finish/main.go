// Command finish writes into what sqlc has generated the MySQL that sqlc cannot read.
// lockdb/queries says the same in SQL that it can.
package main

import (
	"log"
	"os"
	"strings"
)

var finish = strings.NewReplacer(
	// sqlc knows UTC_TIMESTAMP without its precision only.
	"UTC_TIMESTAMP()", "UTC_TIMESTAMP(6)",
	// Without UPPER, sqlc does not know that this is a string.
	"UNHEX(UPPER(?))", "UNHEX(CONVERT(? USING latin1))",
	// sqlc parses no JSON_TABLE: catalog.sql has a table in its place. See lockdb.Batch.
	"(SELECT i, lock_key, epoch, lease_id, list FROM helix_batch WHERE list = ?) AS item",
	`(SELECT place - 1 AS i, UNHEX(key_hex) AS lock_key, epoch, lease_id `+
		`FROM JSON_TABLE(CONVERT(? USING utf8mb4), '$[*]' COLUMNS (place FOR ORDINALITY, `+
		`key_hex VARCHAR(510) CHARACTER SET latin1 PATH '$[0]', `+
		`epoch BIGINT PATH '$[1]', lease_id BIGINT PATH '$[2]')) AS list) AS item`,
	// Nor SHOW.
	"SELECT variable_name, value FROM global_variables", "SHOW GLOBAL VARIABLES",
	// It takes these for BOOLEAN, never NULL.
	"SELECT get_lock FROM named_locks WHERE name = ? AND seconds = ?", "SELECT GET_LOCK(?, ?)",
	"SELECT release_lock FROM named_locks WHERE name = ?", "SELECT RELEASE_LOCK(?)",
	"SELECT is_used_lock FROM named_locks WHERE name = ?", "SELECT IS_USED_LOCK(?)",
)

func main() {
	for _, name := range os.Args[1:] {
		text, err := os.ReadFile(name)
		if err != nil {
			log.Fatal(err)
		}
		finished := finish.Replace(string(text))
		for _, left := range []string{"UTC_TIMESTAMP()", "UNHEX(UPPER(", "helix_batch WHERE", "FROM global_variables", "FROM named_locks"} {
			if strings.Contains(finished, left) {
				log.Fatalf("%s: %s is not written as was expected: look at what sqlc generated", name, left)
			}
		}
		if err := os.WriteFile(name, []byte(finished), 0o644); err != nil { //nolint:gosec // source code
			log.Fatal(err)
		}
	}
}
