package txlock

import (
	"strings"
	"testing"
)

// sqlSamples are texts and what they are for a fence.
var sqlSamples = map[sqlKind][]string{
	sqlReads: {
		"SELECT 1", "select 1;", " \t\r\n SELECT 1 ; -- done", "-- name: X :one\nSELECT 1", "# note\nSELECT 1", "/* a ; b */SELECT/**/1",
		"(SELECT 1) UNION (SELECT 2)", "((SELECT 1))", "SELECT 'a;b', \"a;b\", `a;b` FROM t", "SELECT 'it''s; fine'", `SELECT 'a\nb'`,
		"SELECT 5--3", "SELECT 'FOR UPDATE', `into` FROM t", "SELECT REPLACE(a, 'b', 'c') FROM t", "SELECT * FROM t FORCE INDEX FOR JOIN (i)",
		"SELECT SUBSTRING(a FROM 2 FOR 3) FROM t", "SELECT /*+ MAX_EXECUTION_TIME(5) */ 1", "SELECT 2*/* c */3", "SELECT 'é' FROM größe",
		"SHOW TABLES", "DESCRIBE t", "DESC t", "EXPLAIN UPDATE t SET a = 1", "EXPLAIN ANALYZE SELECT 1", "VALUES ROW(1)", "TABLE t",
		"WITH a AS (SELECT 1) SELECT * FROM a", "WITH RECURSIVE a (x) AS (SELECT 1 UNION ALL SELECT 2), b AS (SELECT 3) SELECT * FROM a",
		"WITH a AS (SELECT 1) (SELECT * FROM a)", "(WITH a AS (SELECT 1) SELECT * FROM a)", "SELECT @a, @`b`, @@autocommit",
	},
	sqlWrites: {
		"INSERT INTO t VALUES (1)", "insert into t values (';')", "REPLACE t VALUES (1)", "UPDATE t SET a = 1", "DELETE FROM t",
		"INSERT INTO t VALUES (1) RETURNING a", "SELECT 1 INTO @a", "SELECT * FROM t INTO OUTFILE 'x'", "SELECT * FROM t FOR UPDATE",
		"SELECT * FROM t FOR/**/SHARE", "SELECT * FROM t LOCK IN SHARE MODE", "SELECT * FROM (SELECT * FROM t FOR UPDATE) x",
		"(SELECT * FROM t FOR UPDATE)", "WITH a AS (SELECT 1) UPDATE t SET a = 1", "WITH a AS (SELECT 1) DELETE FROM t",
		"WITH a AS (SELECT 1) SELECT * FROM t FOR UPDATE", "(WITH a AS (SELECT 1) SELECT * FROM t FOR UPDATE)",
		"TABLE t INTO OUTFILE 'x'", "LOAD DATA INFILE 'x' INTO TABLE t", "LOAD XML INFILE 'x' INTO TABLE t", "DO 1",
		"CREATE TEMPORARY TABLE t (a INT)", "DROP TEMPORARY TABLE t", "DROP TEMPORARY TABLES t", "SET @a = (SELECT 1)", "SET time_zone = f()",
	},
	sqlSavepoint: {"SAVEPOINT a", "RELEASE SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK TO SAVEPOINT a", "rollback work to savepoint a"},
	sqlSets: {
		"SET NAMES utf8mb4", "SET NAMES utf8mb4 COLLATE utf8mb4_bin", "SET @a = 1", "SET @a := 1, @b = 2", "SET time_zone = '+00:00'",
		"SET SESSION time_zone = '+00:00', @a = 1", "SET @@time_zone := 'UTC'", "SET @@session.foreign_key_checks = 0", "SET LOCAL lock_wait_timeout=1",
	},
	sqlCalls: {"CALL p()", "call p"},
	sqlRefused: {
		"", " ", ";", "-- nothing", "?", "1", "()", "(UPDATE t SET a = 1)", "'SELECT'", "SELECTS 1",
		"SELECT 1; SELECT 2", "SELECT 1;;", "SELECT 1; /* a */ DROP TABLE t", "SELECT '\\'; DROP TABLE t; -- '", "SELECT \"\\\"; DROP TABLE t; -- \"",
		"SELECT '\xbf\\'; -- '", "SELECT '", "SELECT \"", "SELECT `a", "SELECT /* a", "SELECT /*! 1 */", "SELECT /*M! 1 */", "/*!50000 DROP TABLE t */",
		"SELECT /*+ QB_NAME(`*/`) */ 1", "SELECT $$ ' $$; DROP TABLE t; -- '", "SELECT 1 --\xa0; DROP TABLE t", "SELECT\x00 1", "SELECT 1 --\xa0'\n; DROP TABLE t; -- '", "SELECT /*+ QB_NAME(`*/`) */ 1; DROP TABLE t; -- `", "SELECT\xa01",
		"CREATE TABLE t (a INT)", "CREATE OR REPLACE TABLE t (a INT)", "ALTER TABLE t ADD b INT", "DROP TABLE t", "RENAME TABLE t TO u", "TRUNCATE t", "TRUNCATE TABLE t",
		"CREATE INDEX i ON t (a)", "CREATE TEMPORARY SEQUENCE s", "GRANT SELECT ON t TO u", "LOCK TABLES t WRITE", "UNLOCK TABLES", "ANALYZE TABLE t",
		"ANALYZE UPDATE t SET a = 1", "EXPLAIN ANALYZE UPDATE t SET a = 1", "EXPLAIN FORMAT=TREE ANALYZE DELETE t FROM t", "OPTIMIZE TABLE t", "FLUSH TABLES",
		"BEGIN", "begin not atomic COMMIT; end", "BEGIN NOT ATOMIC COMMIT", "START TRANSACTION", "COMMIT", "ROLLBACK", "ROLLBACK WORK", "ROLLBACK AND CHAIN", "XA START 'a'",
		"SET autocommit = 0", "SET @@autocommit=1", "SET SESSION autocommit = ON", "SET @a = 1, autocommit = 1", "SET `autocommit` = 1", "SET sql_mode = ''",
		"SET @@session.`autocommit` = 1", "SET LOCAL /* a */ autocommit = 1", "SET completion_type = 1", "SET TRANSACTION READ ONLY", "SET GLOBAL time_zone = 'UTC'",
		"SET PASSWORD = 'a'", "SET STATEMENT max_statement_time=1 FOR DROP TABLE t", "SET ROLE r", "SET NAMES gbk", "SET timestamp = 1", "SET",
		"SET @a = 1, GLOBAL time_zone = 'UTC'", "SET time_zone", "SET wsrep_on = OFF", "SET sql_log_bin = 0",
		"USE other", "PREPARE s FROM 'DROP TABLE t'", "EXECUTE s", "EXECUTE IMMEDIATE 'DROP TABLE t'", "HANDLER t OPEN", "KILL 1", "IF 1 THEN COMMIT",
		"RELEASE x", "LOAD INDEX INTO CACHE t", "HELP 'a'", "WITH a AS (SELECT 1)", "DELIMITER //", "RESET MASTER", "CHECK TABLE t", "SIGNAL SQLSTATE '40001'",
		strings.Repeat("SELECT", 10),
	},
}

func TestClassifySQL(t *testing.T) {
	for want, texts := range sqlSamples {
		for _, text := range texts {
			got := classifySQL(text)
			if got.kind != want {
				t.Errorf("%q: got kind %d (%s), want %d", text, got.kind, got.reason, want)
			}
			if (got.kind == sqlRefused) != (got.reason != "") {
				t.Errorf("%q: kind %d with reason %q", text, got.kind, got.reason)
			}
		}
	}
}

// A SET that is too long to be looked at is refused, whatever is at its end.
func TestClassifySQLLongSet(t *testing.T) {
	for n := 40; n < 60; n++ {
		text := "SET " + strings.Repeat("@a = 1, ", n) + "autocommit = 1"
		if got := classifySQL(text); got.kind != sqlRefused {
			t.Fatalf("with %d others before it: got kind %d", n, got.kind)
		}
	}
}

// What is allowed stays allowed, or is refused, in front of another statement,
// behind one, and behind comments.
func FuzzClassifySQL(f *testing.F) {
	for _, texts := range sqlSamples {
		for _, text := range texts {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := classifySQL(text)
		if s.kind == sqlRefused {
			if s.reason == "" {
				t.Errorf("%q is refused without a reason", text)
			}
			return
		}
		for _, several := range []string{text + "\n;DROP TABLE t", "DROP TABLE t;" + text, "SELECT 1;\n" + text, "SELECT ';';" + text, text + "\n/**/;\nSELECT 1"} {
			if got := classifySQL(several); got.kind != sqlRefused {
				t.Errorf("%q is allowed as kind %d, but %q is a statement by itself", several, got.kind, text)
			}
		}
		if got := classifySQL("/* a */ -- '\n#\"\n" + text); got != s {
			t.Errorf("%q: got %+v behind comments, want %+v", text, got, s)
		}
		if s.kind == sqlReads && (s.verb == "SELECT" || s.verb == "WITH") {
			if got := classifySQL(text + "\nFOR UPDATE"); got.kind == sqlReads {
				t.Errorf("%q only reads, it seems, and so does a locking one", text)
			}
		}
	})
}
