package mutant

import (
	"errors"
	"slices"
	"strings"
)

const (
	leases  = "lockdb/lease.sql.go"
	locks   = "lockdb/lock.sql.go"
	batches = "lockdb/batch.sql.go"
	purges  = "lockdb/purge.sql.go"

	lockdbDB    = "lockdb/db.go"
	lease       = "txlock/lease.go"
	fence       = "txlock/fence.go"
	lock        = "txlock/lock.go"
	locker      = "txlock/locker.go"
	transaction = "txlock/transaction.go"
	serverError = "txlock/servererror.go"
	many        = "txlock/acquiremany.go"
)

// query edits the text of one statement.
func query(file, name, text, instead string) edit {
	return edit{file: file, from: "const " + name + " = `", to: "`\n", old: text, new: instead}
}

const (
	// ofLease is how a statement tells a lease from another one of the same key.
	ofLease   = " AND epoch = ? AND lease_id = ?"
	anyLease  = " AND (1 = 1 OR epoch = ? AND lease_id = ?)"
	anyID     = " AND epoch = ? AND (1 = 1 OR lease_id = ?)"
	isShared  = "\nLOCK IN SHARE MODE\n"
	isOver    = "(expires_at <= UTC_TIMESTAMP(6)\n"
	isHeld    = "helix_locks.expires_at > want.moment"
	soon      = " + INTERVAL 100000 MICROSECOND"
	ignored   = "(1 = 1\n"
	longSince = "'1980-01-01'" // later than the expiry of what was released
)

var clusters = []string{"galera", "gr-multi"}

// All are the mutants.
func All() []Mutant { return slices.Clone(all) }

var all = []Mutant{
	{Name: "plain-lock", About: "a lock is a plain SELECT", edits: []edit{
		query(locks, "lockKey", " FOR UPDATE", ""), query(locks, "lockKeyNoWait", " FOR UPDATE SKIP LOCKED", "")}},
	{Name: "shared-lock", About: "an exclusive lock is a shared one", Faults: []string{"deadlocks", "none"}, edits: []edit{query(locks, "lockKey", " FOR UPDATE", " LOCK IN SHARE MODE")}},
	{Name: "plain-share", About: "a shared lock is a plain SELECT", edits: []edit{query(locks, "shareKey", isShared, "\n")}},
	{Name: "lock-always", About: "a lock does not look whether a lease is active", edits: []edit{
		{file: lock, old: "err == nil && status == lockdb.StatusActive", new: "err == nil && status < 0"}}},
	{Name: "lock-passes-by", About: "a lock leaves an expired lease as it is, so that its holder still fences", edits: []edit{
		{file: lock, from: "func (r *rowLock) endExpired(", to: "\n}\n", old: "	p := ", new: "	if row, err := inspect(ctx, r.q, r.key); err == nil && row != nil && row.RemainingMicros <= 0 {\n		return nil\n	}\n	p := "}}},
	{Name: "lock-epoch-kept", About: "a lock with NewEpoch tells the next epoch, and leaves the key's as it was", edits: []edit{
		query(leases, "acquireKnownLease", "updated_at = UTC_TIMESTAMP(6)\n", "updated_at = UTC_TIMESTAMP(6),\n    epoch = epoch - IF(status = 1, 0, 1)\n")}},

	{Name: "fence-by-key", About: "the fence asks for the key only", edits: []edit{query(leases, "verifyLease", ofLease, anyLease)}},
	{Name: "renew-by-key", About: "renew does", edits: []edit{query(leases, "renewLease", ofLease, anyLease)}},
	{Name: "release-by-key", About: "release does", edits: []edit{query(leases, "releaseLease", ofLease, anyLease)}},
	{Name: "heartbeat-by-key", About: "the heartbeat does", edits: []edit{
		query(batches, "renewLeases", "WHERE l.epoch = item.epoch AND l.lease_id = item.lease_id", "WHERE 1 = 1")}},
	{Name: "no-lease-id", About: "renew, verify and release ask for the key and the epoch, and not for the lease_id, which tells epochs that come again after a rollback apart", Faults: []string{"rollbacks", "none"}, edits: []edit{
		query(leases, "renewLease", ofLease, anyID), query(leases, "verifyLease", ofLease, anyID), query(leases, "releaseLease", ofLease, anyID)}},
	{Name: "renew-takes-over", About: "renew makes the lease the key's again, whoever has it", edits: []edit{
		query(leases, "renewLease", ofLease, ""),
		query(leases, "renewLease", "SET\n", "SET\n    epoch = ?, lease_id = ?, status = 1,\n"),
		{file: leases, from: "func (q *Queries) RenewLease(", to: "\n}\n", old: "arg.TtlMicros,\n\t\targ.KeyHex,\n\t\targ.Epoch,\n\t\targ.LeaseID,", new: "arg.Epoch, arg.LeaseID, arg.TtlMicros, arg.KeyHex,"}}},
	{Name: "released-twice", About: "a release leaves the lease_id, by which renew, verify and release know the lease", edits: []edit{
		query(leases, "releaseLease", "lease_id = 0, ", "")}},
	{Name: "plain-fence", About: "the fence is a plain SELECT", Faults: []string{"none", "clocks", "pause-workers"}, edits: []edit{query(leases, "verifyLease", isShared, "\n")}},
	{Name: "shared-fence", About: "the fence of a cluster with several writers locks, and does not write", Engines: clusters, Faults: []string{"none", "clocks"}, edits: []edit{
		{file: fence, old: "if le.locker.multiWriter {", new: "if false {"}}},
	{Name: "fence-by-expiry", About: "the fence compares the client's clock with the deadline, and asks nobody", Faults: []string{"none", "clocks"}, edits: []edit{
		{file: fence, old: "	_, err = q.VerifyLease(", new: "	if time.Now().Before(le.Deadline()) {\n\t\treturn 1, nil\n\t}\n	_, err = q.VerifyLease("}}},
	{Name: "fence-never-renews", About: "a lease whose fences keep its heartbeats out is renewed by nobody", edits: []edit{
		{file: fence, old: "if !le.kept.on || !le.kept.skipped || le.kept.renewing {", new: "if true {"}}},
	{Name: "deadline-late", About: "a holder trusts its lease for twice its TTL", Faults: []string{"pause-workers", "none"}, edits: []edit{
		{file: lease, old: "return le.ttl - le.ttl/10", new: "return 2 * le.ttl"}}},

	{Name: "upsert-always", About: "the upsert takes the key from whoever has it", edits: []edit{query(leases, "acquireLease", "IF("+isHeld+",", "IF(1 = 0,")}},
	{Name: "known-always", About: "the update of a known key does", edits: []edit{query(leases, "acquireKnownLease", isOver, ignored)}},
	{Name: "no-wait-always", About: "the acquisition that does not wait does", edits: []edit{query(leases, "acquireLeaseNoWait", "WHERE l.expires_at <= want.moment", "WHERE 1 = 1")}},
	{Name: "many-always", About: "the acquisition of many does", edits: []edit{{file: many, old: "if row.RemainingMicros <= 0 || own {", new: "if true || own {"}}},
	{Name: "reclaim-always", About: "Reclaim ends the lease of any owner", edits: []edit{query(leases, "endOwnLease", " AND owner_id = UNHEX(CONVERT(? USING latin1))", " AND (1 = 1 OR owner_id = UNHEX(?))")}},
	{Name: "expiry-first", About: "the upsert sets the expiry before it looks whether it is past", Faults: []string{"none", "kill-workers"}, edits: []edit{expiryFirst}},
	{Name: "over-early", About: "a lease is over 100 ms before its expiry", edits: []edit{
		query(leases, "acquireKnownLease", isOver, strings.TrimSuffix(isOver, "\n")+soon+"\n"),
		query(leases, "acquireLeaseNoWait", "l.expires_at <= want.moment", "l.expires_at <= want.moment"+soon),
		query(leases, "acquireLease", isHeld, isHeld+soon)}},
	{Name: "over-never", About: "a lease that has expired is not taken over", edits: []edit{
		query(leases, "acquireKnownLease", isOver, "(expires_at <= "+longSince+"\n"),
		query(leases, "acquireKnownLease", "LAST_INSERT_ID(-TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expires_at))", "LAST_INSERT_ID(-1)"),
		query(leases, "acquireLeaseNoWait", "l.expires_at <= want.moment", "l.expires_at <= "+longSince),
		query(leases, "acquireLeaseNoWait", "LAST_INSERT_ID(-TIMESTAMPDIFF(MICROSECOND, want.moment, l.expires_at))", "LAST_INSERT_ID(-1)"),
		query(leases, "acquireLease", isHeld, "helix_locks.expires_at > "+longSince),
		query(leases, "acquireLease", "LAST_INSERT_ID(-TIMESTAMPDIFF(MICROSECOND, want.moment, helix_locks.expires_at))", "LAST_INSERT_ID(-1)")}},
	{Name: "epoch-kept", About: "a takeover of an expired lease does not raise the epoch", edits: []edit{
		query(leases, "acquireKnownLease", "LAST_INSERT_ID(epoch + 1)", "LAST_INSERT_ID(epoch + IF(status = 1, 0, 1))")}},
	{Name: "client-clock", About: "statements carry the time of the client, whose clock is up to 150 ms off", edits: []edit{
		{file: lockdbDB, old: "import (\n", new: "import (\n\t\"os\"\n\t\"strings\"\n\t\"time\"\n"},
		{file: lockdbDB, old: "query string, args ...interface{}) (sql.Result, error) {\n", new: "query string, args ...interface{}) (sql.Result, error) {\n\tstmt, query = nil, clientTime(query)\n"},
		{file: lockdbDB, old: "query string, args ...interface{}) (*sql.Rows, error) {\n", new: "query string, args ...interface{}) (*sql.Rows, error) {\n\tstmt, query = nil, clientTime(query)\n"},
		{file: lockdbDB, change: func(text string) (string, error) {
			return text + `
func clientTime(query string) string {
	now := time.Now().UTC().Add(time.Duration(os.Getpid()%3-1) * 150 * time.Millisecond)
	return strings.ReplaceAll(query, "UTC_TIMESTAMP(6)", now.Format("CAST('2006-01-02 15:04:05.000000' AS DATETIME(6))"))
}
`, nil
		}}}},

	{Name: "revoke-weakly", About: "a revocation frees the key, and leaves the epoch and the lease_id", edits: []edit{query(leases, "revokeKey", "epoch = epoch + 1, lease_id = 0, ", "")}},
	{Name: "unseen", About: "a revocation or retirement on one node of a cluster takes a key that has no row yet there for one that nobody has", Engines: []string{"gr-multi"}, Faults: []string{"pause-node", "silence", "rollbacks"}, edits: []edit{
		{file: "txlock/revoke.go", old: "n == 0 && l.multiWriter", new: "false && n == 0"}, {file: "txlock/retire.go", old: "answer == noRow && l.multiWriter", new: "false && answer == noRow"}}},
	{Name: "retire-held", About: "a held key can be retired", edits: []edit{query(leases, "retireKey", isOver, ignored)}},
	{Name: "purge-without-floor", About: "a purge deletes rows and forgets their epochs", edits: []edit{query(purges, "raiseFloors", "l.epoch\n", "0\n"), query(purges, "raiseFloors", "l.epoch)", "0)")}},

	{Name: "outside", About: "statements run on the pool, not in the transaction", edits: []edit{
		{file: locker, old: "return l.queries.Load().WithTx(tx), nil", new: "return l.queries.Load(), nil"}}},
	{Name: "commit-ignored", About: "an acquisition whose COMMIT was not answered counts as done", Faults: []string{"cut-before-commit"}, edits: []edit{
		{file: transaction, old: "return &CommitUnknownError{Key: j.key, Owner: owner, Epoch: epoch, Err: err}", new: "return nil"}}},
	{Name: "commit-retried", About: "a transaction whose COMMIT was not answered is run again", Faults: []string{"cut-after-commit"}, edits: []edit{
		{file: serverError, old: "errors.Is(err, ErrCommitUnknown) || errors.Is(err, ErrAbortIgnored)", new: "errors.Is(err, ErrAbortIgnored)"},
		{file: serverError, old: "return errors.Is(err, ErrTxAborted) ||", new: "return errors.Is(err, ErrCommitUnknown) || errors.Is(err, ErrTxAborted) ||"}}},
}

// expiryFirst moves an assignment of the upsert to the front.
var expiryFirst = edit{file: leases, from: "const acquireLease = `", to: "`\n", change: func(text string) (string, error) {
	const assignment = "expires_at = IF(" + isHeld + ", helix_locks.expires_at, want.expires_at)"
	rest, found := strings.CutSuffix(text, ",\n    "+assignment+"\n")
	if !found {
		return "", errors.New("the upsert does not end with the expiry")
	}
	return strings.Replace(rest, "ON DUPLICATE KEY UPDATE\n", "ON DUPLICATE KEY UPDATE\n    "+assignment+",\n", 1) + "\n", nil
}}
