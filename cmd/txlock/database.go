package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/spf13/pflag"

	"github.com/gox-helix/gox-helix/cmd/txlock/internal/optionfile"
	"github.com/gox-helix/gox-helix/txlock"
)

const databaseHelp = `DATABASE
  --dsn DSN, else --defaults-file FILE, else the environment variable TXLOCK_DSN, else MySQL's option files
  (/etc/my.cnf, /etc/mysql/my.cnf, ~/.my.cnf; groups [client] and [txlock]) say which. A DSN is as the Go driver has
  it: user:password@tcp(host:3306)/database. Option files mostly name no database: --database does, or a line
  "database = app" below [txlock]. A password in --dsn can be seen in the list of processes: prefer the others.`

const dsnVariable = "TXLOCK_DSN"

// dialTimeout is for those who set none.
const dialTimeout = 10 * time.Second

type databaseFlags struct {
	dsn, defaultsFile, database string
}

func (f *databaseFlags) add(set *pflag.FlagSet) {
	set.StringVar(&f.dsn, "dsn", "", "the database, as user:password@tcp(host:3306)/database; rather use $"+dsnVariable)
	set.StringVar(&f.defaultsFile, "defaults-file", "", "read only this MySQL option `file`")
	set.StringVar(&f.database, "database", "", "the `name` of the database, instead of the DSN's or the option file's")
}

// config says how to connect.
func (a *app) config() (*mysql.Config, error) {
	f := a.flags.database
	dsn, source := f.dsn, "--dsn"
	if dsn != "" && f.defaultsFile != "" {
		return nil, usageErrorf("--dsn and --defaults-file both name a database: give one")
	}
	if dsn == "" && f.defaultsFile == "" {
		dsn, source = a.getenv(dsnVariable), dsnVariable
	}
	var c *mysql.Config
	var err error
	if dsn != "" {
		c, err = parseDSN(dsn, source)
	} else {
		c, err = a.configFromFiles()
	}
	if err != nil {
		return nil, err
	}
	if source == "--dsn" && c.Passwd != "" {
		a.say("warning: everybody on this machine can see the password in --dsn (ps shows it): put the DSN into $%s, or use an option file", dsnVariable)
	}
	if f.database != "" {
		c.DBName = f.database
	}
	if c.DBName == "" {
		return nil, usageErrorf("no database is named: set $%s to user:password@tcp(host:3306)/NAME, or give --database NAME, in addition to the DSN or the option files", dsnVariable)
	}
	if c.Timeout <= 0 {
		c.Timeout = dialTimeout
	}
	c.Logger = &mysql.NopLogger{} // what it says is in the errors, too
	return c, nil
}

// parseDSN says nothing of what is in the DSN: the driver's own words may quote the
// password, if something else is where it expects it.
func parseDSN(dsn, source string) (*mysql.Config, error) {
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		reason := "it is not of the form user:password@tcp(host:3306)/database?name=value"
		if strings.HasPrefix(err.Error(), "invalid DSN: ") {
			reason = strings.TrimPrefix(err.Error(), "invalid DSN: ") + ": " + reason
		}
		return nil, usageErrorf("%s cannot be understood: %s", source, reason)
	}
	return c, nil
}

func (a *app) configFromFiles() (*mysql.Config, error) {
	options, err := optionfile.Load(optionfile.Sources{
		DefaultsFile: a.flags.database.defaultsFile,
		Home:         a.getenv("HOME"),
		System:       optionfile.SystemFiles(),
		Sockets:      optionfile.SocketFiles(),
		GroupSuffix:  a.getenv("MYSQL_GROUP_SUFFIX"),
		User:         a.getenv("USER"),
	})
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	for _, warning := range options.Warnings() {
		a.say("warning: %s", warning)
	}
	c, err := options.Config()
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	c.InterpolateParams = true // one round trip a statement
	return c, nil
}

// open connects to the database.
func (a *app) open(ctx context.Context) (*sql.DB, *mysql.Config, error) {
	c, err := a.config()
	if err != nil {
		return nil, nil, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, nil, usageErrorf("the connection is not set up right: %w", err)
	}
	db := sql.OpenDB(connector)
	if err := ping(ctx, db, c.Timeout); err != nil {
		return nil, nil, errors.Join(connectError(ctx, c, err), db.Close())
	}
	return db, c, nil
}

// ping also gives a server up that takes the connection, and then says nothing.
func ping(ctx context.Context, db *sql.DB, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return db.PingContext(ctx)
}

// connectError names the server, and no password.
func connectError(ctx context.Context, c *mysql.Config, err error) error {
	var ended *signalError
	if errors.As(context.Cause(ctx), &ended) {
		return ended
	}
	hint := "is it running, and the address right?"
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		switch refused.Number {
		case 1044, 1045, 1698:
			hint = "correct user and password, or grant the user access"
		case 1049:
			hint = "create the database, or correct its name"
		case 1040, 1203, 1226:
			hint = "try again later, or raise the limit"
		default:
			hint = "do as it says"
		}
	}
	return &exitError{exitDatabase, fmt.Errorf("cannot connect to %s@%s(%s)/%s: %w: %s", c.User, c.Net, c.Addr, c.DBName, err, hint)}
}

// withDatabase is for verbs that need no Locker.
func (a *app) withDatabase(ctx context.Context, do func(db *sql.DB) error) (err error) {
	db, _, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

// withLocker runs do with a Locker, and closes what it opened.
func (a *app) withLocker(ctx context.Context, do func(db *sql.DB, locker *txlock.Locker) error, opts ...txlock.Option) error {
	return a.withDatabase(ctx, func(db *sql.DB) (err error) {
		if a.flags.multiWriter {
			opts = append(opts, txlock.WithMultiWriter())
		}
		locker, err := txlock.New(db, opts...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, locker.Close()) }()
		return do(db, locker)
	})
}
