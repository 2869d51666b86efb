// Package txlocktest sets up sqlmock for code that uses package txlock: what is
// expected of the database is said by meaning (this key is acquired, and granted
// with epoch 7), never by SQL text, so that a new release of the library breaks
// no test.
//
//	db, mock, err := sqlmock.New()
//	...
//	txlocktest.ExpectDo(mock, "account:7", txlocktest.Granted(1), func() {
//		mock.ExpectExec("UPDATE accounts").WillReturnResult(sqlmock.NewResult(0, 1))
//	})
//
// The forms that run in the caller's transaction (…Tx) expect their one
// statement; Begin, Commit and Rollback are the caller's, and the test's, own.
// The other forms expect their whole transaction. A transaction that the server
// aborts is run again by the library: expect the further attempt with a further
// call.
//
// In sqlmock's messages keys stand in hex, as the library sends them. The library
// pauses some milliseconds before it runs an aborted transaction again, also in a
// test.
//
// It works with sqlmock's default matcher of queries, regular expressions; where
// a test uses another one, hand it to [QueryMatcher]. After Locker.Prepare, see
// [ExpectPrepare].
package txlocktest
