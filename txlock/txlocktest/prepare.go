package txlocktest

import (
	"regexp"
	"strings"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/lockdb"
)

// ExpectPrepare expects Locker.Prepare. The expectations that follow are the
// same as without it.
func ExpectPrepare(mock sqlmock.Sqlmock) {
	for range lockdb.HotStatements() {
		mock.ExpectPrepare(anyName)
	}
}

// anyName matches every statement of lockdb.
const anyName = `^-- name: \w+ :`

// QueryMatcher lets the expectations of this package stand beside a test's own
// that are matched in another way than by sqlmock's default:
//
//	sqlmock.New(sqlmock.QueryMatcherOption(txlocktest.QueryMatcher(sqlmock.QueryMatcherEqual)))
func QueryMatcher(own sqlmock.QueryMatcher) sqlmock.QueryMatcher {
	return sqlmock.QueryMatcherFunc(func(expected, actual string) error {
		if strings.HasPrefix(expected, "^"+regexp.QuoteMeta("-- name: ")) || expected == anyName {
			return sqlmock.QueryMatcherRegexp.Match(expected, actual)
		}
		return own.Match(expected, actual)
	})
}
