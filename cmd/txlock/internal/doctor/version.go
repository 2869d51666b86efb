package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// release is a version of an engine.
type release struct{ major, minor, patch int }

func (r release) before(other release) bool {
	return cmp.Or(cmp.Compare(r.major, other.major), cmp.Compare(r.minor, other.minor), cmp.Compare(r.patch, other.patch)) < 0
}

// parseRelease reads what a version begins with: 10.11.19-MariaDB-0+deb12u1.
func parseRelease(version string) (r release, ok bool) {
	// What MariaDB puts before, for older replicas.
	version = strings.TrimPrefix(version, "5.5.5-")
	n, err := fmt.Sscanf(version, "%d.%d.%d", &r.major, &r.minor, &r.patch)
	return r, err == nil && n == 3
}

const tested = "MySQL 9.7, MariaDB 10.11 and MariaDB 11.8"

const testIt = "run the project's tests on another server of this version first: in a clone of the repository, TXLOCK_TEST_DSN='user:password@tcp(host:3306)/' make test"

// lookalikes answer as MySQL does, and are something else, by a word in their
// version or its comment.
func lookalikes() []struct{ word, name, why string } {
	const nobody = "the locks rely on how InnoDB locks rows, which nobody has tried on it"
	return []struct{ word, name, why string }{
		{"tidb", "TiDB", nobody + "; and its shared locks, by which fences hold, are refused or do nothing unless it is set otherwise"},
		{"vitess", "Vitess", nobody + "; and it may spread one transaction over several servers, and knows no SKIP LOCKED in some versions"},
		{"planetscale", "PlanetScale", nobody + "; and it may spread one transaction over several servers, and knows no SKIP LOCKED in some versions"},
		{"oceanbase", "OceanBase", nobody},
		{"polardb", "PolarDB", nobody},
		{"singlestore", "SingleStore", nobody},
		{"memsql", "SingleStore", nobody},
		{"dolt", "Dolt", nobody},
		{"doris", "Doris", nobody},
		{"starrocks", "StarRocks", nobody},
	}
}

func (e *examination) version(context.Context) []Finding {
	return e.judged(subjectVersion, "the server's version", judgeVersion)
}

func judgeVersion(s settings) []Finding {
	finding := func(level Level, text, cure string) []Finding {
		return []Finding{{level, subjectVersion, text, cure}}
	}
	version, comment := s.global["version"], s.global["version_comment"]
	words := strings.ToLower(version + " " + comment)
	for _, l := range lookalikes() {
		if strings.Contains(words, l.word) {
			return finding(Warning, fmt.Sprintf("%s (%s), which only looks like MySQL: %s", l.name, version, l.why),
				"keep the locks, and the rows that they protect, in MySQL or MariaDB; or "+testIt)
		}
	}
	name, oldest := "MySQL", release{8, 0, 17}
	switch {
	case s.isMariaDB():
		name, oldest = "MariaDB", release{10, 6, 0}
	case strings.Contains(words, "percona"):
		name = "Percona Server"
	}
	r, ok := parseRelease(version)
	aurora := s.global["aurora_version"]
	switch {
	case !ok:
		return finding(Warning, fmt.Sprintf("the server's version, %q, is of no form known here: whether it has what the locks need cannot be said", version), testIt)
	case r.before(oldest):
		return finding(Problem, fmt.Sprintf("%s %s is too old: the locks need SKIP LOCKED, window functions and CHECK constraints that are enforced, which MySQL has from 8.0.17 and MariaDB from 10.6 on: migrations or operations fail", name, version),
			"upgrade the server; the project's tests run on "+tested)
	case aurora != "" || strings.Contains(words, "aurora"):
		return finding(Note, fmt.Sprintf("Aurora %s, made from MySQL %s: it has what the locks need, but the project's tests do not run on it", aurora, version), testIt)
	case name == "MySQL" && r.major == 9 && r.minor == 7,
		name == "MariaDB" && (r.major == 10 && r.minor == 11 || r.major == 11 && r.minor == 8):
		return finding(OK, fmt.Sprintf("%s %s: it has what the locks need, and the project's tests run on %d.%d", name, version, r.major, r.minor), "")
	}
	return finding(Note, fmt.Sprintf("%s %s: it has what the locks need, but the project's tests run on %s only", name, version, tested), testIt)
}
