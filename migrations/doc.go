// Package migrations holds the schema of gox-helix, as a migration for goose, and runs it.
// It has its own table of versions ([VersionTable]) and no global registry.
//
// # Three ways to deploy
//
//   - The stock goose command in a pipeline, on the directory migrations/sql, with a table
//     of versions for these files alone:
//
//     goose -dir migrations/sql -table helix_goose_db_version mysql "$DSN" up
//
//   - [Up] when the program starts, in every process: one migrates, the others wait and
//     find it done.
//
//   - [Export] into the application's own set of migrations. The files get the
//     application's numbers, and its table of versions notes them. After an upgrade of this
//     library export again: what is new is added.
//
// One may change from each way to another, as every statement can run again. [Verify] says
// whether the tables are as this version of the library needs them, whoever made them;
// txlock.WithVerify asks that once when a Locker is made.
//
// Users of other tools copy what stands between "-- +goose Up" and "-- +goose Down" in each
// file, never the whole file, whose end drops the tables. It is plain SQL, which also the
// mysql client runs:
//
//	sed '/^-- +goose Down/,$d' migrations/sql/*.sql | mysql app
//
// The files are numbered by time. So where somebody forgets -table, and goose keeps these
// and the application's own migrations in one table, either all of them run or goose fails
// with "found missing migrations": none is taken for another.
//
// Migrate first, then start the programs of a new version: migrations only add, so that
// programs of the version before go on. The user that migrates needs CREATE, DROP, ALTER,
// SELECT, INSERT, UPDATE and DELETE in the database. Where there is nothing to do, Up needs
// nothing but SELECT on [VersionTable].
//
// Supported are MySQL 8.0.17 or later and MariaDB 10.6 or later (MySQL before that enforces
// no CHECK, MariaDB before that cannot skip locked rows); goose from 3.27 to the newest at
// the time of a release, which are those that the tests run; and the Go version in go.mod.
// (goose itself asks for Go 1.26 since 3.28.) The tables must be InnoDB's: on a server that
// makes another engine of it (enforce_storage_engine, or an sql_mode without
// NO_ENGINE_SUBSTITUTION) the migration fails, naming the constraint
// tables_must_be_of_engine_innodb.
//
// DDL commits at once. What a process that was killed has left, whoever runs the same next
// finishes, in whichever way. The goose command takes no lock: run one of it at a time, and
// not beside Up. One thing it does not finish is its own table of versions, if it was killed
// before that had its first row ("missing zero version migration"): call Up once, or drop
// that empty table.
//
// Going down ([Down], [DownTo]) drops the tables, and with them every lease and every epoch,
// so that fencing tokens start again from 1: end all users of the locks first. From the
// goose command it waits for transactions that use the tables for as long as the session's
// lock_wait_timeout says, and everybody else queues behind it; from this package 5 seconds.
//
// # An older table
//
// A helix_locks of an older version (a column id as primary key, one row for each key and
// status, status an ENUM or a TINYINT, with a column epoch or without) is refused by the
// migration before anything is changed. [Adopt], and the command txlock migrate adopt, take
// it over:
//
//   - Of several rows for one key one remains: the active holder's if there is one, else
//     that of the highest epoch; in either case with the highest epoch of all.
//   - Keys are bytes now. Those that the older collation took for one (which differ in case,
//     accents or trailing spaces) become locks of their own, and each gets the holder and
//     the epoch that they shared. [Adoption] lists them.
//   - What does not fit is refused before anything is changed: keys and owners of more than
//     255 bytes in UTF-8, empty keys, active holders without a name, tables with columns
//     that no older version made. A user who lacks a privilege is refused before that table
//     is touched.
//   - Expiries are the instants that the older table has, unless [WithWriterTimeZone] says
//     that they are off. created_at and updated_at, which are for people, are taken to be in
//     that time zone, or in UTC.
//   - The older table stays, as helix_locks_older, beside an empty helix_locks_closed. Drop
//     both when nobody wants to go back.
//
// In what order:
//
//  1. Look at a dry run: at the collisions, and at the time that each holder would have
//     left, which should be less than the TTL of its program. If TTLs are of an hour or
//     more, always say the time zone: Adopt cannot see that it is missing.
//  2. Stop the older programs, and REVOKE what they may do with helix_locks, or lock their
//     account (ALTER USER ... ACCOUNT LOCK) and KILL its connections. What they hold, they
//     hold until it expires.
//  3. End long transactions that have used helix_locks, also those that have only read it.
//     The table is renamed, which waits for them, and everybody else queues behind that: so
//     it gives up after 5 seconds (1205), and is to be called again.
//  4. Adopt. Meanwhile helix_locks is a table that no program can use, old (1054) or new
//     (txlock.ErrNotMigrated), for as long as it takes to copy its rows: half a minute for
//     a million on one small machine.
//  5. Start the new programs. They wait for what older holders still have.
//
// Afterwards the table refuses INSERT, REPLACE and INSERT ... ON DUPLICATE KEY UPDATE of
// older programs (1364, or where sql_mode is not strict 3819 or 4025). It cannot refuse
// their UPDATE: that can renew what it held, with times in its session's zone which are
// taken for UTC; release it, which lets others have it once it has expired; or take a lock,
// with no new epoch. Nor their DELETE, which takes no epoch back, as floors are raised.
//
// The way back, by hand: end all programs of this version, take the migration back, and
//
//	RENAME TABLE helix_locks_older TO helix_locks;
//
// That loses what happened since: locks that are held now, and every epoch that was given
// out, so that fencing tokens come again.
//
// # After restoring a backup
//
// A backup that is restored takes epochs back, and with them the promise that fencing tokens
// only grow: a program that paused since before the failure may have a token that is higher
// than its successor's. So before programs start, raise every epoch and every floor above
// all that were ever given out, to the time in microseconds:
//
//	UPDATE helix_locks SET epoch = GREATEST(epoch + 1, UNIX_TIMESTAMP() * 1000000);
//	UPDATE helix_lock_floor SET floor_epoch = GREATEST(floor_epoch + 1, UNIX_TIMESTAMP() * 1000000);
//
// (With sql_safe_updates append WHERE lock_key >= 0x00 and WHERE shard >= 0.) Leases that the
// backup has as active are lost to their holders by that, and expire by themselves. The same
// is done for single floors that are lost: [Verify] gives the statement.
//
// # Clusters
//
// By default one process migrates at a time by a named lock of the server
// ([NewSessionLocker]), which is local to a node. On Galera and Group Replication either
// migrate through one node, or give Up a [NewLeaseLocker]. That has no table to hold a lease
// in before the first migration: there one process for each node migrates; all succeed, and
// the tables are right (tried with seven processes on each of three nodes). Adopt an older
// table on one node only.
//
// # Your own migrations
//
// Both lockers serve anyone's migrations with goose. Give goose also a [NewVersionStore]: its
// own makes the table of versions outside of any lock and in two steps, so that of processes
// that start at once on an empty database some may fail with "missing zero version
// migration".
package migrations
