package txlock_test

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

// exampleLocker is a Locker on a mocked database, so that the examples run
// anywhere; script says what the database answers.
func exampleLocker(script func(mock sqlmock.Sqlmock)) (*sql.DB, *txlock.Locker) {
	db, mock, err := sqlmock.New()
	if err != nil {
		panic(err)
	}
	script(mock)
	locker, err := txlock.New(db, txlock.WithOwner("worker-1"), txlock.WithSingleWriter())
	if err != nil {
		panic(err)
	}
	return db, locker
}

// A business transaction under a lock that lasts as long as it does.
func ExampleLocker_Do() {
	db, locker := exampleLocker(func(mock sqlmock.Sqlmock) {
		txlocktest.ExpectDo(mock, "account:7", txlocktest.Granted(1), func() {
			mock.ExpectExec("UPDATE accounts").WillReturnResult(sqlmock.NewResult(0, 1))
		})
	})
	defer func() { _ = db.Close() }()

	err := locker.Do(context.Background(), "account:7", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents - 500 WHERE id = 7")
		return err
	})
	fmt.Println(err)
	// Output: <nil>
}

// The same in a transaction that the caller begins and ends.
func ExampleLocker_LockTx() {
	db, locker := exampleLocker(func(mock sqlmock.Sqlmock) {
		mock.ExpectBegin()
		txlocktest.ExpectLockTx(mock, "account:7", txlocktest.Granted(1))
		mock.ExpectExec("UPDATE accounts").WillReturnResult(sqlmock.NewResult(0, 1))
		mock.ExpectCommit()
	})
	defer func() { _ = db.Close() }()

	withdraw := func(ctx context.Context) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // after Commit it does nothing
		if err := locker.LockTx(ctx, tx, "account:7"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents - 500 WHERE id = 7"); err != nil {
			return err
		}
		return tx.Commit()
	}
	fmt.Println(withdraw(context.Background()))
	// Output: <nil>
}

// A lease for a job of several transactions, while another worker has it.
func ExampleLocker_TryAcquire() {
	db, locker := exampleLocker(func(mock sqlmock.Sqlmock) {
		txlocktest.ExpectTryAcquire(mock, "report:daily", txlocktest.Held(12*time.Second))
	})
	defer func() { _ = db.Close() }()

	_, err := locker.TryAcquire(context.Background(), "report:daily", txlock.TTL(time.Minute))
	var held *txlock.HeldError
	if errors.As(err, &held) {
		fmt.Println("try again in", held.RetryAfter)
	}
	// Output: try again in 12s
}

// A job takes a key together with the row that says what it is for: both are
// there once the transaction has committed, or neither.
func ExampleLocker_AcquireTx() {
	db, locker := exampleLocker(func(mock sqlmock.Sqlmock) {
		mock.ExpectBegin()
		txlocktest.ExpectAcquireTx(mock, "shard:3", txlocktest.Granted(42))
		mock.ExpectExec("UPDATE shards").WithArgs(42).WillReturnResult(sqlmock.NewResult(0, 1))
		mock.ExpectCommit()
	})
	defer func() { _ = db.Close() }()

	take := func(ctx context.Context) (*txlock.Lease, error) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return nil, err
		}
		defer func() { _ = tx.Rollback() }()
		lease, err := locker.AcquireTx(ctx, tx, "shard:3")
		if err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE shards SET range_id = ? WHERE id = 3", lease.Epoch()); err != nil {
			return nil, err
		}
		return lease, tx.Commit() // the lease is held only if this is nil
	}
	lease, err := take(context.Background())
	fmt.Println(lease.Epoch(), err)
	// Output: 42 <nil>
}

// Each transaction of a job is fenced by its lease. Here the lease was taken over
// while the job was paused.
func ExampleLease_InTx() {
	db, locker := exampleLocker(func(mock sqlmock.Sqlmock) {
		txlocktest.ExpectTryAcquire(mock, "report:daily", txlocktest.Granted(41))
		txlocktest.ExpectInTx(mock, "report:daily", txlocktest.Lost(), nil)
	})
	defer func() { _ = db.Close() }()

	ctx := context.Background()
	lease, err := locker.TryAcquire(ctx, "report:daily")
	if err != nil {
		fmt.Println(err)
		return
	}
	err = lease.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO report_lines (chunk) VALUES (1)")
		return err
	})
	fmt.Println(errors.Is(err, txlock.ErrLost))
	// Output: true
}

// The last transaction of a job does some work and gives the lease up: it begins
// with ReleaseTx, which fences it as well.
func ExampleLease_ReleaseTx() {
	db, locker := exampleLocker(func(mock sqlmock.Sqlmock) {
		txlocktest.ExpectTryAcquire(mock, "report:daily", txlocktest.Granted(41))
		mock.ExpectBegin()
		txlocktest.ExpectReleaseTx(mock, "report:daily", txlocktest.OK())
		mock.ExpectExec("UPDATE reports").WillReturnResult(sqlmock.NewResult(0, 1))
		mock.ExpectCommit()
	})
	defer func() { _ = db.Close() }()

	ctx := context.Background()
	lease, err := locker.TryAcquire(ctx, "report:daily")
	if err != nil {
		fmt.Println(err)
		return
	}
	finish := func() error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if err := lease.ReleaseTx(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE reports SET done = 1 WHERE id = 1"); err != nil {
			return err
		}
		return tx.Commit()
	}
	fmt.Println(finish())
	// Output: <nil>
}

// A job that goes on for a while, by one process at a time: the lease is renewed in
// the background, and the job's context ends should it be lost.
func ExampleLocker_Run() {
	db, locker := exampleLocker(func(mock sqlmock.Sqlmock) {
		txlocktest.ExpectRun(mock, "report:daily", txlocktest.Granted(8), func() {
			txlocktest.ExpectInTx(mock, "report:daily", txlocktest.OK(), func() {
				mock.ExpectExec("INSERT INTO report_lines").WillReturnResult(sqlmock.NewResult(1, 1))
			})
		})
	})
	defer func() { _ = db.Close() }()

	err := locker.Run(context.Background(), "report:daily", func(ctx context.Context, lease *txlock.Lease) error {
		return lease.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO report_lines (epoch, line) VALUES (?, ?)", lease.Epoch(), "all is well")
			return err
		})
	})
	fmt.Println(err)
	// Output: <nil>
}

// Several keys at once, all or none, in one business transaction.
func ExampleLocker_AcquireManyTx() {
	db, locker := exampleLocker(func(mock sqlmock.Sqlmock) {
		mock.ExpectBegin()
		txlocktest.ExpectAcquireManyTx(mock, []string{"account:7", "account:9"}, txlocktest.Granted(3))
		mock.ExpectCommit()
	})
	defer func() { _ = db.Close() }()

	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	leases, err := locker.AcquireManyTx(context.Background(), tx, []string{"account:7", "account:9"}, txlock.TTL(time.Minute))
	if err != nil {
		fmt.Println(err, tx.Rollback())
		return
	}
	fmt.Println(len(leases), leases[0].Key(), tx.Commit())
	// Output: 2 account:7 <nil>
}
