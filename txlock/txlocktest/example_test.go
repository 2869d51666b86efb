package txlocktest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

// transfer is the code under test: a business transaction wrapped by the library.
func transfer(ctx context.Context, locker *txlock.Locker, account string, cents int64) error {
	return locker.Do(ctx, "account:"+account, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents + ? WHERE id = ?", cents, account)
		return err
	})
}

// mocked is what a test begins with.
func mocked() (*sql.DB, sqlmock.Sqlmock, *txlock.Locker) {
	db, mock, err := sqlmock.New()
	if err != nil {
		panic(err)
	}
	locker, err := txlock.New(db, txlock.WithOwner("worker-1"), txlock.WithSingleWriter())
	if err != nil {
		panic(err)
	}
	return db, mock, locker
}

// A business transaction under Do, tested without a database and without a line
// of the library's SQL.
func ExampleExpectDo() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	txlocktest.ExpectDo(mock, "account:7", txlocktest.Granted(1), func() {
		mock.ExpectExec("UPDATE accounts").WithArgs(500, "7").WillReturnResult(sqlmock.NewResult(0, 1))
	})

	fmt.Println(transfer(context.Background(), locker, "7", 500))
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// <nil>
	// <nil>
}

// The server chooses the transaction as the victim of a deadlock, and the library
// runs it again.
func ExampleAborted() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	txlocktest.ExpectDo(mock, "account:7", txlocktest.Aborted(), nil)
	txlocktest.ExpectDo(mock, "account:7", txlocktest.Granted(1), func() {
		mock.ExpectExec("UPDATE accounts").WithArgs(500, "7").WillReturnResult(sqlmock.NewResult(0, 1))
	})

	fmt.Println(transfer(context.Background(), locker, "7", 500))
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// <nil>
	// <nil>
}

// The connection goes while COMMIT is under way: whether it took effect is not
// known, and the library does not guess.
func ExampleConnectionGone() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	mock.ExpectBegin()
	txlocktest.ExpectLockTx(mock, "account:7", txlocktest.Granted(1))
	mock.ExpectExec("UPDATE accounts").WillReturnResult(sqlmock.NewResult(0, 1))
	txlocktest.ExpectCommit(mock, txlocktest.ConnectionGone())

	err := transfer(context.Background(), locker, "7", 500)
	fmt.Println(errors.Is(err, txlock.ErrCommitUnknown))
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// true
	// <nil>
}

// A lock in a transaction that the code under test begins itself.
func ExampleExpectLockTx() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	mock.ExpectBegin()
	txlocktest.ExpectLockTx(mock, "report:daily", txlocktest.Held(3*time.Second))
	mock.ExpectRollback()

	ctx := context.Background()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = locker.LockTx(ctx, tx, "report:daily")
	var held *txlock.HeldError
	if errors.As(err, &held) {
		fmt.Println("come back in", held.RetryAfter)
	}
	fmt.Println(tx.Rollback())
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// come back in 3s
	// <nil>
	// <nil>
}

// A worker whose lease was taken over while it was paused: its late write does
// not happen.
func ExampleExpectInTx() {
	db, mock, locker := mocked()
	defer func() { _ = db.Close() }()

	txlocktest.ExpectTryAcquire(mock, "chunk:17", txlocktest.Granted(41))
	txlocktest.ExpectInTx(mock, "chunk:17", txlocktest.Lost(), nil)

	ctx := context.Background()
	lease, err := locker.TryAcquire(ctx, "chunk:17")
	if err != nil {
		fmt.Println(err)
		return
	}
	err = lease.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO ledger (account) VALUES (7)")
		return err
	})
	fmt.Println(err)
	fmt.Println(mock.ExpectationsWereMet())
	// Output:
	// txlock: lease 41 of key "chunk:17" by "worker-1" is lost (released, taken over, revoked, or its own transaction was rolled back): stop its work, roll back, acquire anew
	// <nil>
}
