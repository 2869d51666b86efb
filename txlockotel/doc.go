// Package txlockotel lets OpenTelemetry see what package txlock does: an
// [Observer] of it makes spans and metrics.
//
//	observer, err := txlockotel.New(txlockotel.WithAttributes(semconv.DBSystemNameMariaDB, semconv.DBNamespace("shop")))
//	...
//	locker, err := txlock.New(db, txlock.WithObserver(observer))
//
// # Spans
//
// Each operation is a span, below the span of the context that it was called with.
// Those that only talk to the database are of the kind client and named
// "<operation> helix_locks"; run, do, in_tx and hold, which last as long as the
// caller's work, are internal and named "txlock.<operation>":
//
//	txlock.run
//	├── acquire helix_locks
//	├── txlock.hold          until the release or the loss
//	│                        (spans of the function are here, below txlock.run)
//	└── release helix_locks
//
// A heartbeat renews leases of many callers, so its span has no parent. A lease's
// loss is the event "txlock.lease.lost" on the span that it was acquired in, if that
// has not ended.
//
// Attributes are those of the semantic conventions for databases
// (db.system.name, db.operation.name, db.collection.name, db.operation.batch.size,
// error.type), and txlock.owner, txlock.epoch, txlock.attempts, txlock.ttl (seconds)
// and, with [WithKeys], txlock.key. A key or an owner that is not plain text is
// given in Go's syntax.
//
// A span that failed has the status Error. One that was refused because the key is
// held has not: that is an answer, and is told by error.type.
//
// # Metrics
//
//	db.client.operation.duration  histogram, s     what talks to the database; not an Acquire that waits, which sleeps
//	txlock.acquire.duration       histogram, s     acquire, acquire_many and lock, waiting included; txlock.waits says if it was to wait
//	txlock.acquire.refusals       counter          of those, refused: error.type is held or busy
//	txlock.hold.duration          histogram, s     from KeepAlive to release or loss; error.type says which
//	txlock.hold.active            up-down counter  leases that are kept alive
//	txlock.lease.losses           counter          leases that are or may be lost, each once
//	txlock.heartbeat.leases       histogram        leases renewed by one heartbeat
//	txlock.heartbeat.lateness     histogram, s     by how much a heartbeat was later than planned
//	txlock.purge.rows             counter          rows purged
//
// All have the attributes of [WithAttributes], the first three db.operation.name, and
// all that can fail error.type. None has a key, an owner or an epoch.
//
// # Kinds of errors
//
// error.type is panic, lost, commit_unknown, held, busy, aborted, not_migrated,
// canceled (a context has ended, also by its deadline) or other, which includes what
// the caller's function returned. Where several are true, it is the first of them.
package txlockotel
