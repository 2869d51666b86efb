// Package txlock gives users of MySQL and MariaDB leases with fencing tokens,
// inside their own transactions: acquiring, renewing, checking and releasing a
// lock commits or rolls back together with the business rows that it protects.
//
// # Three shapes
//
// One transaction needs a lock for as long as it lasts: [Locker.Do], or
// [Locker.LockTx] in a transaction of the caller. There is nothing to release,
// and nothing that could expire. It is the server's lock on the key's row, and writes
// nothing.
//
// A job of many transactions needs a lease: [Locker.Run], which renews it in the
// background and releases it at the end, or [Locker.Acquire], [Lease.KeepAlive] and
// [Lease.Release]; each of its transactions is fenced by [Lease.InTx] or
// [Lease.VerifyTx]. If the job is paused for longer than the TTL, another may take
// the key over, and what the late job then tries to commit is refused. What is not
// fenced stops with [Lease.Context], before anyone else can have the lease by its
// expiry. Code that knows nothing of leases is fenced by a [FencedConnector].
//
// A lease begins or ends together with business rows: [Locker.AcquireTx],
// [Locker.AcquireManyTx], [Lease.RenewTx] and [Lease.ReleaseTx] in the transaction
// that writes them.
//
// # Words
//
// A key names what is locked, an owner who holds it; both are 1 to 255 bytes,
// compared byte for byte. A lease is one holding of a key. Its epoch is its
// fencing token: an integer, greater at every acquisition of the key. A takeover
// is the acquisition of a key whose lease is over: released, or expired on the
// server's clock. A fence checks inside a transaction that a lease is still the
// key's newest, and keeps it so until that transaction ends. A heartbeat is a renewal
// in the background; a lease that has one is kept alive.
//
// # Promises
//
//  1. One holder. Committed acquisitions of a key have strictly increasing epochs,
//     across release, expiry, takeover, retirement, purge and server restart, as
//     far as the server keeps what it has committed: see Limits. (`goose down` drops the
//     tables; epochs then start over.)
//  2. Fenced writes. If a transaction verified a lease and committed, no
//     acquisition of the key with a greater epoch committed before it.
//  3. Atomic. A lock operation in the caller's transaction takes effect if and
//     only if that commits. The library never commits it, rolls it back, retries
//     in it or sets a variable of its session.
//  4. No clock in safety. The first three use no clock. Time decides only when
//     others may take over, and it is the server's: no client's clock is sent.
//  5. One statement. Each operation on a key whose row is there is one statement,
//     and adds no commit. A lock that ends with the transaction writes nothing. (One more
//     statement: a lock of a key under a lease, a fence that may have to renew, the first
//     lock or fence of a Locker; two more: a [Reclaim] that ends a lease.) It is one round
//     trip after [Locker.Prepare], or where the DSN says interpolateParams=true.
//  6. Nothing silent. Every refusal is an error that names what it is about and
//     can be tested with errors.Is and errors.As.
//
// # The protocol
//
// The table helix_locks has one row for each key, with its owner, epoch, status
// (1 active, 0 inactive, 2 deletable), expiry, and a random number that tells its
// lease from one that was rolled back; helix_lock_floor has the highest epoch ever
// purged from each of 256 shards.
//
//	operation  succeeds when              effect
//	acquire    no row, or expired         epoch+1, owner, new lease_id, status 1, expiry = now + TTL
//	  Reclaim  also when this owner       the same
//	           holds it
//	renew      it is this lease's row     expiry = now + TTL
//	verify     the same                   a shared lock on the row until COMMIT
//	           (WithMultiWriter)          a renewal
//	release    the same                   status 0, no lease_id, an expiry long ago
//	lock       no row, or expired         the row's lock until COMMIT; ends an expired lease
//	  NewEpoch the same                   epoch+1, status 0
//	  Shared   the same                   a shared lock on the row until COMMIT
//	revoke     always                     epoch+1, and as release
//	retire     expired                    status 2
//	purge      status 2, or 0 for long    the row goes, its shard's floor rises to its epoch
//
// Whoever ends a lease sets its expiry to a date long ago: "expired" includes released,
// revoked and retired. A lease is known by its key, epoch and lease_id. A fresh lease's
// epoch is its shard's floor plus one. All of it is decided in one statement, under the
// lock that the statement takes on the row, on the newest committed version of the row, in
// any isolation level. Why that suffices:
//
//   - An acquisition holds the row exclusively until its transaction ends, so that
//     acquisitions of one key follow one another, each adding to the epoch that the
//     one before committed (promise 1).
//   - A fence holds the row in shared mode until its transaction ends, so that an
//     acquisition that comes after it waits for it; and one that came before it
//     has changed the epoch, so that the fence finds no row (promise 2).
//   - A lock is the row's lock, which ends with the transaction, however that ends. Where
//     it meets a lease that has expired, it ends that lease by a write: a late fence would
//     otherwise pass behind it.
//   - A purge raises the floor and deletes the row in one transaction, which holds
//     both; a fresh row starts above the floor, which it reads under a lock.
//   - Renew, verify and release look for the lease's row, not for its expiry: as
//     long as epoch and lease_id are unchanged nobody else has held the key.
//
// # Heartbeats
//
// A heartbeat renews up to a thousand leases by one statement that skips rows which other
// transactions have locked, so that it waits for nobody and nobody waits behind it. A
// skipped row is mostly locked by the holder's own fences. Then the lease's next fence
// renews it: at first only if it can have the row at once, and when two thirds of the time
// to the deadline have gone by waiting for the fences that are open, one fence at a time.
// So a holder that fences all the time keeps its lease, as long as each of its fenced
// transactions is shorter than a third of that time: let the TTL be a few times the longest
// of them. A single transaction that outlasts the deadline ends the trust, not the safety:
// rivals wait for its row.
//
// The local deadline is nine tenths of the TTL, counted by this process's monotonic
// clock from before the last renewal was sent. The rest is for clocks that run at
// different speeds.
//
// # Lock first, then read
//
// Under REPEATABLE READ, the default, a transaction sees the rows as they were at
// its first plain read. A lock that it acquires after that protects it, but what
// it reads then is older than the lock. So acquire, lock or verify first; Do and
// InTx do so by themselves.
//
// # Failures
//
//	what fails                       what the caller gets        what is left, and what to do
//	another lease is active          ErrHeld (HeldError)         nothing; the caller's transaction is usable but keeps the row
//	                                                             locked: end it soon, come back after RetryAfter
//	the lease is over                ErrLost (LostError)         nothing; stop its work, roll back
//	another transaction has the row  the statement waits,        the transaction is open, without the lock: roll back
//	                                 then ErrBusy (BusyError)
//	the same, with NoWait            ErrBusy at once             the transaction is as usable as before
//	deadlock, snapshot or cluster    ErrTxAborted                nothing of the transaction; roll back, run it again from its
//	conflict                                                     start (Do, InTx and the other own transactions do)
//	connection lost in a statement   ErrTxAborted                the same
//	connection lost in COMMIT        ErrCommitUnknown            all or nothing: look for the rows; never retried
//	                                 (CommitUnknownError)
//	the context ends                 the context's error         nothing of a statement under way: the driver closes the connection,
//	                                                             which rolls back; before one was sent, the transaction is as it was
//	the holder dies                  –                           a lock is free once the server sees the connection end, a lease
//	                                                             after its TTL
//	the holder is paused past its    ErrLost in its next fence   nothing of what comes after
//	TTL, between transactions
//	the same, in a transaction       –                           others wait for that transaction, which may still commit
//	heartbeats fail                  Lease.Context ends at the   nothing; stop, acquire anew
//	                                 deadline: ErrLost, and why
//	revoked, or taken over           Lease.Context ends with     nothing; the same
//	                                 the next heartbeat: ErrLost
//	a statement cannot be fenced     ErrUnfenced                 nothing was sent: run it on an unfenced pool
//	(FencedConnector)
//	the server is killed             as a lost connection        what was committed; epochs go on rising
//	clocks differ, or jump           –                           a lease may be taken over early or late, and is then fenced
//	several servers take writes, and ErrMultiWriter              nothing; New with WithMultiWriter or WithSingleWriter
//	the Locker was not told
//	the tables are missing           ErrNotMigrated              nothing; migrations.Up, or goose up
//	an invalid key, TTL or argument  ErrInvalidKey, …            nothing was sent
//
// After ErrTxAborted the server has ended the transaction, but the *sql.Tx does
// not know: a further statement through it would run in autocommit, and survive
// Rollback. A Locker sends none where one of its own calls was told so, and Do and
// InTx do not commit there ([ErrAbortIgnored]). It cannot see errors of the
// caller's own statements, nor of another Locker's: never go on after one that
// [IsRetryable].
//
// # Limits
//
// A lock protects against those who ask for it; only what is written in a fenced
// transaction is protected against a holder that is late.
//
// An operation that waits for another transaction's row lock waits in the server,
// up to its innodb_lock_wait_timeout, 50 seconds unless it is set. A readTimeout in
// the DSN should be longer: one that is shorter looks like a lost connection, and
// leaves the statement waiting in the server.
//
// The server frees what a dead process had locked when it sees the connection end:
// at once if the process died, but after TCP keepalive or its wait_timeout (8 hours
// by default) if the host or the network did.
//
// Rows stay, one for every key ever locked, until [Locker.Purge]. Deleting them by
// hand makes the epochs of their keys begin again.
//
// In a transaction of the caller under REPEATABLE READ, a refused NoWait leaves a gap
// lock: until it ends, fresh keys right behind the key wait for it.
//
// What commits the transaction ends lock and fence with it, without a word: DDL,
// TRUNCATE, LOCK TABLES, START TRANSACTION, SET autocommit. ROLLBACK TO a savepoint
// undoes what was acquired after it; a fresh key is then free for others.
//
// Promises last as long as what was committed: after a failover to a replica that
// had not received it, or a crash of a server that does not flush every COMMIT
// (innodb_flush_log_at_trx_commit), epochs can come again. Everything must go to
// the server that takes writes. Where more than one server of a cluster does, use
// [WithMultiWriter]; also under XA on MariaDB, which drops shared locks at PREPARE.
//
// Where a proxy makes a session's level of SET TRANSACTION (Vitess does), [Locker.Inspect],
// List, All and Purge, heartbeats, and [NoWait] or [Shared] with a fresh key leave theirs
// behind on a connection of the pool, down to READ UNCOMMITTED: give their Locker a pool of
// its own there.
//
// On a cluster of several writers a refusal may be older than what another server has
// committed; what is granted is certified at COMMIT. Galera does not report an abort
// that comes while a statement is being prepared in a transaction: what follows there
// is committed at once, statement by statement, without the lock. So give
// interpolateParams=true in the DSN there. After a failover of Group Replication a
// shared fence needs group_replication_consistency to be BEFORE_ON_PRIMARY_FAILOVER,
// the default since MySQL 8.4, or stronger.
//
// A trigger on helix_locks hides the answers of acquiring statements: they fail.
//
// A Locker that was told neither [WithMultiWriter] nor [WithSingleWriter] looks at the
// server's variables before its first lock or fence, and fails with [ErrMultiWriter] where
// several servers may take writes.
//
// A lock that wrote nothing ends with its connection, also under XA: after a PREPARE and a
// crash of the server it is gone, and MariaDB drops shared locks at PREPARE. Use [NewEpoch]
// there. A transaction that only read commits even if the server was made read-only
// meanwhile: what a lock protects outside the database wants NewEpoch, too.
//
// On MariaDB, sessions whose collation_connection is one of UCS-2, UTF-16 or UTF-32 cannot
// read lists of keys: heartbeats, AcquireManyTx, Purge and Prepare fail there, and say so.
//
// In REPEATABLE READ, InnoDB may rarely keep others from inserting a fresh key right before
// one that is locked, where a page of the table was split there.
//
// The database user needs SELECT, INSERT and UPDATE on helix_locks, and SELECT on
// helix_lock_floor; for a purge also DELETE on helix_locks, and INSERT and UPDATE on
// helix_lock_floor.
package txlock
