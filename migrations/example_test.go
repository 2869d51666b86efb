package migrations_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/migrations"
)

// At the start of every process.
func ExampleUp() {
	migrate := func(ctx context.Context, db *sql.DB) error {
		results, err := migrations.Up(ctx, db)
		for _, r := range results {
			log.Print(r)
		}
		return err
	}
	fmt.Println(migrate(context.Background(), nil))
	// Output: migrations: up: no *sql.DB: give the pool of the database to migrate
}

// Into the application's own migrations, in a program that go generate runs.
func ExampleExport() {
	dir, err := os.MkdirTemp("", "migrations")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	files, err := migrations.Export(dir, migrations.ExportAt(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)))
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range files {
		fmt.Println(file)
	}
	// Output:
	// 20261124120000_helix_20261128104500_create_helix_locks.sql
}

// What differs is a value, for those who want to act on it.
func ExampleVerify() {
	report := func(ctx context.Context, db *sql.DB) error {
		err := migrations.Verify(ctx, db)
		var drift *migrations.DriftError
		if errors.As(err, &drift) {
			for _, d := range drift.Differences {
				fmt.Println(d.Table, d.Column, "cure:", d.Cure)
			}
		}
		return err
	}
	fmt.Println(report(context.Background(), nil))
	// Output: migrations: verify: no *sql.DB: give the pool of the database to look at
}

// The lockers are for anyone's migrations on MySQL and MariaDB.
func ExampleNewSessionLocker() {
	provider := func(db *sql.DB, own fs.FS) (*goose.Provider, error) {
		locker, err := migrations.NewSessionLocker(migrations.LockWait(time.Minute))
		if err != nil {
			return nil, err
		}
		return goose.NewProvider(goose.DialectMySQL, db, own, goose.WithSessionLocker(locker))
	}
	_, err := provider(nil, nil)
	fmt.Println(err)
	// Output: db must not be nil
}
