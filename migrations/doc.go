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
// CREATE, DROP, ALTER, SELECT, INSERT, UPDATE and DELETE in the database. Where
// there is nothing to do, Up needs nothing but SELECT on [VersionTable].
//
// The server must be MySQL 8.0.17 or later, or MariaDB 10.6 or later. (MySQL before
// 8.0.16 enforces no CHECK, and before 8.0.17 would give an older table back in the
// wrong time zone; MariaDB before 10.6 cannot skip locked rows.)
//
// DDL commits at once. A process that is killed half way leaves some migrations
// done and one half done; whoever runs the same direction next, in whichever way,
// finishes it. Up after a Down that was interrupted says so, or has nothing to do, as
// the migration is still noted, and [Verify] says so: Down, then Up, cures it. One
// thing goose's own command does not finish is its table of versions, if it was killed
// before that had its first row ("missing zero version migration"): call Up once, or
// drop that empty table.
//
// The goose command takes no lock: run one of it at a time, and not beside Up.
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
//     them, before and after, and Up with [WithLogger] warns of them; let all
//     programs use one spelling.
//   - What does not fit is refused before anything is changed: keys and owners of
//     more than 255 bytes in UTF-8, empty keys, active holders without a name,
//     and tables with columns that no older client made; and so is a user who lacks
//     a privilege.
//   - The older table stays, as helix_locks_older. It is the way back: taking
//     migration 3 back (goose down, [DownTo]) writes every lock and epoch back to
//     it, adds the column epoch if it had none, and gives it its name again. Before
//     it changes anything it refuses keys and owners that the older table's charset
//     cannot hold, two active holders of keys that its collation takes for one, and
//     foreign keys that refer to it. Drop that table when nobody wants to go back.
//
// In SQL, the collisions before the migration are:
//
//	SELECT GROUP_CONCAT(DISTINCT BINARY lock_key) FROM helix_locks
//	GROUP BY lock_key HAVING COUNT(DISTINCT BINARY lock_key) > 1;
//
// While it runs helix_locks does not exist, for as long as it takes to copy its
// rows (on one small machine less than a tenth of a second for a thousand, 2 to 4
// seconds for a hundred thousand, half a minute for a million): everybody gets an
// error (1146; new clients txlock.ErrNotMigrated). An older client that then makes
// its table again has the migration fail, with the way out.
//
// Afterwards the table refuses some of what an older client writes:
//
//   - INSERT, REPLACE and INSERT ... ON DUPLICATE KEY UPDATE are refused (1364, or
//     where sql_mode is not strict 3819 or 4025): it cannot acquire or renew by them.
//   - UPDATE is not. It can renew what it held, with times in its session's zone, which
//     are taken for UTC, and release it, which lets others have a lease of it once it
//     has expired; if it acquires by UPDATE, it takes locks, and may add nothing to
//     their epoch. A client that knows status as an ENUM gets an error in a strict
//     sql_mode; in a lenient one every status that it writes is 0, so that it may think
//     that it acquired what stands there as free.
//   - DELETE is not, but it cannot take epochs back: the floor of each shard is
//     raised to the highest epoch that was taken over into it.
//
// Only the server's accounts fence an older UPDATE, hence the order of a rollout:
//
//  1. Look at the collisions. Grant privileges.
//  2. Stop the older programs, and REVOKE what they may do with helix_locks, or lock
//     their account (ALTER USER ... ACCOUNT LOCK) and KILL its connections. What they
//     hold, they hold until it expires.
//  3. End long transactions that have used helix_locks, also those that have only
//     read it. Migrate. The table is renamed, which waits for them, and everybody
//     else queues behind that: so it gives up after 5 seconds (1205), and is to be
//     run again.
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
