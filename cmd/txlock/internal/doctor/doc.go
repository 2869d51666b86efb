// Package doctor looks at a database as the locks depend on it, and says in plain
// words what is wrong or risky, and what to do.
//
// # Subjects
//
// Each finding has a subject, which stays the same from version to version, so that
// programs can pick. A subject about which there is nothing to say has one finding
// of level ok.
//
//   - version: which engine it is, and whether it has what the locks need
//   - tables: those of the locks, compared with what this version needs; migrations
//     that have not run; triggers; what an adoption has left
//   - isolation: in which level the transactions of this DSN run, and whether
//     autocommit is on
//   - durability: whether the server keeps what it has committed, without which
//     epochs can come again
//   - waiting: for how long a lock waits in the server, what ends the wait, and how
//     long the locks of a host that has vanished stay
//   - statements: settings that make the server refuse statements of the locks
//   - writes: whether the server takes writes
//   - cluster: Galera and Group Replication: whether this node is in it, and how many
//     of its nodes take writes
//   - clock: the server's, against this machine's
//   - named-locks: whether a named lock excludes, which a proxy can prevent
//   - privileges: which of those that are needed the database user has not
//
// # What it does to the database
//
// Nothing. It asks for variables and reads the catalog; privileges are probed by
// statements that match no row and take no lock, in a transaction that is rolled
// back; and it takes two named locks of a random name, which it releases. All it
// sends is in query.go, but for what package migrations asks.
package doctor
