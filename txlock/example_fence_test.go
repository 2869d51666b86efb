package txlock_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
)

// mockConnector stands in for mysql.NewConnector.
type mockConnector struct {
	driver driver.Driver
	dsn    string
}

func (c mockConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c mockConnector) Driver() driver.Driver                        { return c.driver }

// A data layer that knows nothing of leases: its transactions are fenced as they
// begin, and so are its writes outside of transactions. Here the lease is taken
// over in between.
func ExampleFencedConnector() {
	leases, locker := exampleLocker(func(mock sqlmock.Sqlmock) {
		txlocktest.ExpectTryAcquire(mock, "report:daily", txlocktest.Granted(41))
	})
	defer func() { _ = leases.Close() }()
	lease, err := locker.TryAcquire(context.Background(), "report:daily")
	if err != nil {
		fmt.Println(err)
		return
	}
	base, mock, done := exampleConnector()
	defer done()

	db := sql.OpenDB(txlock.FencedConnector(base, lease))
	defer func() { _ = db.Close() }()

	// Code that takes any *sql.DB.
	save := func(chunk int) error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.Exec("INSERT INTO report_lines (chunk) VALUES (?)", chunk); err != nil {
			return err
		}
		return tx.Commit()
	}

	mock.ExpectBegin()
	txlocktest.ExpectVerifyTx(mock, "report:daily", txlocktest.OK())
	mock.ExpectExec("INSERT INTO report_lines").WithArgs(1).WillReturnResult(sqlmock.NewResult(1, 1))
	mock.ExpectCommit()
	fmt.Println("in time:", save(1))

	mock.ExpectBegin()
	txlocktest.ExpectVerifyTx(mock, "report:daily", txlocktest.Lost())
	mock.ExpectRollback()
	fmt.Println("too late:", errors.Is(save(2), txlock.ErrLost))

	_, err = db.Exec("TRUNCATE report_lines")
	fmt.Println("not to be fenced:", errors.Is(err, txlock.ErrUnfenced))
	// Output:
	// in time: <nil>
	// too late: true
	// not to be fenced: true
}

// exampleConnector connects to a mocked database.
func exampleConnector() (_ driver.Connector, _ sqlmock.Sqlmock, done func()) {
	const dsn = "example of FencedConnector"
	db, mock, err := sqlmock.NewWithDSN(dsn)
	if err != nil {
		panic(err)
	}
	return mockConnector{db.Driver(), dsn}, mock, func() { _ = db.Close() }
}
