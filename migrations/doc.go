// Package migrations holds the schema of gox-helix, as migrations for goose, and
// runs them. It never meets the application's own goose migrations in the same
// database: it has its own table of versions ([VersionTable]) and no global
// registry.
//
// # Three ways to deploy
//
//   - The stock goose command in a pipeline, on the files in this directory.
//     Nothing of this package is needed then. The table must be named:
//
//     goose -dir migrations -table helix_goose_db_version mysql "$DSN" up
//
//   - [Up] when the program starts, in every process: one migrates, the others
//     wait and find it done. This is the simplest where no pipeline has a
//     connection to the database.
//
//   - [Export] into the application's own set of migrations, for hosts that run
//     all of theirs together: the files get the application's numbers, and its
//     table of versions notes them. After an upgrade of this library export
//     again: what is new is added.
//
// One may change from each way to another: all migrations can run again, and then
// do nothing. [Verify] says whether the tables are as this version of the library
// needs them, whoever made them; txlock.WithVerify asks that once when a Locker
// is made.
//
// Migrate first, then start the programs of a new version: migrations only add,
// so that programs of the version before go on. The user that migrates needs
// CREATE, DROP, ALTER, SELECT, INSERT, UPDATE and DELETE in the database. It
// needs nothing but SELECT where there is nothing to do.
//
// DDL commits at once. A process that is killed half way leaves some migrations
// done and one half done; whoever runs them next, in whichever way, finishes it.
// One thing goose's own command does not finish is its table of versions, if it
// was killed before that had its first row ("missing zero version migration"):
// call Up once, or drop that empty table.
//
// Going down ([Down], [DownTo]) forgets every lease and every epoch when it comes
// to the tables themselves, so that fencing tokens start again from 1: end all
// users of the locks first.
//
// # From an older table
//
// Databases whose helix_locks is of an older client's shape (a column id as
// primary key, one row for each key and status, status an ENUM or a TINYINT, with
// a column epoch or without) are taken over by the same migrations, in place:
//
//   - Of several rows for one key one remains: the active holder's if there is
//     one, else that of the highest epoch; in either case with the highest epoch
//     of all. Expiry is the same instant whatever the session's time zone.
//     created_at and updated_at, which are for people, are taken to be in the
//     time zone of the session that migrates.
//   - Keys are bytes now. Those that the older collation took for one (which
//     differ in case, accents or trailing spaces) become locks of their own, and
//     each gets the holder and the epoch that they shared. [Collisions] lists
//     them, before and after; let all programs use one spelling.
//   - What does not fit is refused before anything is changed: keys and owners of
//     more than 255 bytes in UTF-8, empty keys, active holders without a name,
//     and tables with columns that no older client made.
//   - The older table stays, as helix_locks_older. It is the way back: taking
//     migration 4 and 3 back (goose down, [DownTo]) writes every lock and epoch
//     back to it, adds the column epoch if it had none, and gives it its name
//     again. Drop it when nobody wants to go back.
//
// Older clients cannot corrupt it. While it runs helix_locks does not exist, for
// as long as it takes to copy its rows (on one small machine less than a tenth of
// a second for a thousand, 2 to 4 seconds for a hundred thousand, half a minute
// for a million): everybody gets an error (1146; new clients
// txlock.ErrNotMigrated). Afterwards inserts and upserts of older clients
// are refused, so that they can neither acquire nor renew (1364, or where
// sql_mode is not strict 3819 or 4025); what they may do by UPDATE is release
// what they held. Nothing else stops an older UPDATE that finds its owner's row,
// hence the order of a rollout:
//
//  1. Call [Collisions], and Up with [WithDryRun]; grant privileges.
//  2. Stop the older programs, or let them run: they are refused from 3 on, and
//     hold what they have until it expires.
//  3. Migrate. The table is renamed, which waits for transactions that have
//     written to it: end long ones before.
//  4. Start the new programs. They wait for what older holders still have.
//
// # Clusters
//
// By default one process migrates at a time by a named lock of the server
// ([NewSessionLocker]), which is local to a node. On Galera and Group Replication
// either migrate through one node, or give Up a [NewLeaseLocker]. That has no
// table to hold a lease in before the first migration: there one process for each
// node migrates, which was tried with seven processes on each of three nodes: all
// succeed, and the tables are right. Take an older table over on Group
// Replication in multi-primary mode through one node only: its members leave the
// group where two of them rename a table.
//
// Both lockers serve anyone's migrations with goose. But goose itself makes its
// table of versions before it locks, in two steps: of processes that start at
// once on a database without that table some may fail with "missing zero version
// migration", and two that make it on two nodes end a Group Replication group in
// multi-primary mode. So let one process run goose first where that table is not
// there yet. Up has a way round this for its own.
package migrations
