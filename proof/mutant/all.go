package mutant

import (
	"errors"
	"slices"
	"strings"
)

const (
	queries     = "lockdb/queries.sql.go"
	lockdbDB    = "lockdb/db.go"
	lease       = "txlock/lease.go"
	locker      = "txlock/locker.go"
	transaction = "txlock/transaction.go"
	serverError = "txlock/servererror.go"
	acquire     = "txlock/acquire.go"
)

// query edits the text of one statement.
func query(name, text, instead string) edit {
	return edit{file: queries, from: "const " + name + " = `", to: "`\n", old: text, new: instead}
}

// identity is how a statement tells a lease from another one of the same key.
const (
	ofOwner = " AND owner_id = UNHEX(CONVERT(UPPER(?) USING latin1))"
	ofEpoch = " AND epoch = ? AND ABS(lease_id) = CAST(? AS SIGNED)"
	anOwner = " AND (1 = 1 OR owner_id = UNHEX(CONVERT(UPPER(?) USING latin1)))"
	anEpoch = " AND (1 = 1 OR epoch = ? AND ABS(lease_id) = CAST(? AS SIGNED))"
	isOver  = "expires_at <= TIMESTAMPADD(MICROSECOND, MICROSECOND(NOW(6)), UTC_TIMESTAMP())"

	isOverEarly = "expires_at <= TIMESTAMPADD(MICROSECOND, 100000 + MICROSECOND(NOW(6)), UTC_TIMESTAMP())"
)

var clusters = []string{"galera", "gr-multi"}

// All are the mutants.
func All() []Mutant { return slices.Clone(all) }

var all = []Mutant{
	{Name: "no-epoch", About: "renew, verify and release ask for key and owner, not for the epoch (nor for the lease_id, which tells epochs that come again after a rollback apart)", Faults: []string{"none", "rollbacks"}, edits: []edit{
		query("renewLock", ofEpoch, anEpoch), query("verifyLock", ofEpoch, anEpoch), query("fenceLock", ofEpoch, anEpoch), query("releaseLock", ofEpoch, anEpoch)}},
	{Name: "no-lease-id", About: "… for key, owner and epoch alone", Faults: []string{"rollbacks", "none"}, edits: []edit{
		query("renewLock", " AND ABS(lease_id) = CAST(? AS SIGNED)", " AND (1 = 1 OR lease_id = ?)"), query("verifyLock", " AND ABS(lease_id) = CAST(? AS SIGNED)", " AND (1 = 1 OR lease_id = ?)"), query("releaseLock", " AND ABS(lease_id) = CAST(? AS SIGNED)", " AND (1 = 1 OR lease_id = ?)")}},
	{Name: "release-by-key", About: "release asks for the key only", edits: []edit{query("releaseLock", ofOwner, anOwner), query("releaseLock", ofEpoch, anEpoch)}},
	{Name: "renew-by-key", About: "renew asks for the key only", edits: []edit{query("renewLock", ofOwner, anOwner), query("renewLock", ofEpoch, anEpoch)}},
	{Name: "renew-takes-over", About: "renew makes the lease the key's again, whoever has it", edits: []edit{
		query("renewLock", ofOwner+ofEpoch+" AND status = 1", ""),
		query("renewLock", "SET\n", "SET\n    owner_id = UNHEX(CONVERT(UPPER(?) USING latin1)), epoch = ?, lease_id = CAST(? AS SIGNED), status = 1,\n"),
		{file: queries, from: "func (q *Queries) RenewLock(", to: "\n}\n", old: "arg.Keep,\n\t\targ.TtlMicros,\n\t\targ.KeyHex,\n\t\targ.OwnerHex,\n\t\targ.Epoch,\n\t\targ.LeaseID,", new: "arg.OwnerHex, arg.Epoch, arg.LeaseID, arg.Keep, arg.TtlMicros, arg.KeyHex,"}}},
	{Name: "plain-fence", About: "the fence is a plain SELECT", Faults: []string{"none", "clocks", "pause-workers"}, edits: []edit{query("verifyLock", "\nLOCK IN SHARE MODE", "")}},
	{Name: "fence-by-expiry", About: "the fence compares the client's clock with the deadline, and asks nobody", Faults: []string{"none", "clocks"}, edits: []edit{
		{file: lease, from: "func (le *Lease) sendVerify(", to: "\n}\n", old: "_, err = q.VerifyLock(ctx, p)", new: "if !writes && time.Now().Before(le.Deadline()) {\n\t\treturn 1, nil\n\t}\n\t_, err = q.VerifyLock(ctx, p)"}}},
	{Name: "client-clock", About: "statements carry the time of the client, whose clock is up to 150 ms off", edits: []edit{
		{file: lockdbDB, old: "import (\n", new: "import (\n\t\"os\"\n\t\"strings\"\n\t\"time\"\n"},
		{file: lockdbDB, old: "query string, args ...interface{}) (sql.Result, error) {\n", new: "query string, args ...interface{}) (sql.Result, error) {\n\tstmt, query = nil, clientTime(query)\n"},
		{file: lockdbDB, old: "query string, args ...interface{}) (*sql.Rows, error) {\n", new: "query string, args ...interface{}) (*sql.Rows, error) {\n\tstmt, query = nil, clientTime(query)\n"},
		{file: lockdbDB, change: func(text string) (string, error) {
			return text + `
func clientTime(query string) string {
	now := time.Now().UTC().Add(time.Duration(os.Getpid()%3-1) * 150 * time.Millisecond)
	query = strings.ReplaceAll(query, "UTC_TIMESTAMP()", now.Format("'2006-01-02 15:04:05'"))
	return strings.ReplaceAll(query, "NOW(6)", now.Format("'2006-01-02 15:04:05.000000'"))
}
`, nil
		}}}},
	{Name: "purge-without-floor", About: "a purge deletes rows and forgets their epochs", edits: []edit{query("raiseFloors", "l.epoch\n", "0\n"), query("raiseFloors", "l.epoch)", "0)")}},
	{Name: "shared-fence", About: "the fence of a cluster with several writers locks, and does not write", Engines: clusters, Faults: []string{"none", "clocks"}, edits: []edit{
		{file: lease, old: "q, le.locker.multiWriter)", new: "q, false)"}}},
	{Name: "commit-ignored", About: "an acquisition whose COMMIT was not answered counts as done", Faults: []string{"cut-before-commit"}, edits: []edit{
		{file: transaction, old: "return &CommitUnknownError{Key: j.key, Owner: owner, Epoch: epoch, Err: err}", new: "return nil"}}},
	{Name: "commit-retried", About: "a transaction whose COMMIT was not answered is run again", Faults: []string{"cut-after-commit"}, edits: []edit{
		{file: serverError, old: "errors.Is(err, ErrCommitUnknown) || errors.Is(err, ErrAbortIgnored)", new: "errors.Is(err, ErrAbortIgnored)"},
		{file: serverError, old: "return errors.Is(err, ErrTxAborted) ||", new: "return errors.Is(err, ErrCommitUnknown) || errors.Is(err, ErrTxAborted) ||"}}},
	{Name: "upsert-always", About: "the upsert takes the key from whoever has it", edits: []edit{query("acquireLock", "IF(status <> 1 OR", "IF(1 = 1 OR")}},
	{Name: "known-always", About: "the update of a known key does", edits: []edit{query("acquireKnownLock", "(status <> 1\n", "(1 = 1\n")}},
	{Name: "known-lock-always", About: "the update that locks a known key does", edits: []edit{query("lockKnownLock", " AND status <> 1", "")}},
	{Name: "no-wait-always", About: "the acquisition that does not wait does", edits: []edit{query("acquireLockNoWait", "(l.status <> 1\n", "(1 = 1\n")}},
	{Name: "many-always", About: "the acquisition of many does", edits: []edit{query("lockRows", "IF(l.status <> 1 OR", "IF(1 = 1 OR"), query("lockRowsNoWait", "IF(l.status <> 1 OR", "IF(1 = 1 OR")}},
	{Name: "expiry-first", About: "the upsert sets the expiry before it looks whether it is past", Faults: []string{"none", "kill-workers"}, edits: first("expires_at", "arg.TtlMicros")},
	{Name: "status-first", About: "the upsert sets the status before it looks whether it is free", Faults: []string{"none", "kill-workers"}, edits: first("status", "arg.Status")},
	{Name: "over-early", About: "a lease is over 100 ms before its expiry", edits: []edit{
		query("acquireKnownLock", "expires_at) - ", "expires_at) - 100000 - "), query("acquireLock", isOver, isOverEarly)}},
	{Name: "over-never", About: "a lease that has expired is not taken over", edits: []edit{
		query("acquireKnownLock", "AS SIGNED) = -1\n", "AS SIGNED) = 1\n"), query("acquireLock", isOver, "1 = 0")}},
	{Name: "epoch-kept", About: "a takeover of an expired lease does not raise the epoch", edits: []edit{
		query("acquireKnownLock", "LAST_INSERT_ID(epoch + 1)", "LAST_INSERT_ID(epoch + IF(status = 1, 0, 1))")}},
	{Name: "lock-epoch-kept", About: "a lock of a known key does not raise the epoch", edits: []edit{
		query("lockKnownLock", "LAST_INSERT_ID(epoch + 1)", "LAST_INSERT_ID(epoch)")}},
	{Name: "outside", About: "statements run on the pool, not in the transaction", edits: []edit{
		{file: locker, old: "return l.queries.Load().WithTx(tx), nil", new: "return l.queries.Load(), nil"}}},
	{Name: "extension-ignored", About: "a takeover does not look whether the lease was extended while its row was locked", edits: []edit{
		query("acquireKnownLock", "lease_id BETWEEN CAST(? AS SIGNED) AND CAST(? AS SIGNED)", "(1 = 1 OR lease_id BETWEEN CAST(? AS SIGNED) AND CAST(? AS SIGNED))"), query("acquireLock", "(lease_id >= 0 OR lease_id = CAST(? AS SIGNED))", "(1 = 1 OR lease_id = ?)")}},
	{Name: "deadline-late", About: "a holder trusts its lease for twice its TTL", Faults: []string{"pause-workers", "none"}, edits: []edit{
		{file: lease, old: "return le.ttl - le.ttl/10", new: "return 2 * le.ttl"}}},
	{Name: "released-twice", About: "renew, verify and release do not ask for the status", edits: []edit{
		query("releaseLock", " AND status = 1", ""), query("verifyLock", " AND status = 1", ""), query("renewLock", " AND status = 1", "")}},
	{Name: "revoke-weakly", About: "a revocation frees the key and leaves the epoch", edits: []edit{query("revokeLock", "epoch = epoch + 1", "epoch = epoch")}},
	{Name: "unseen", About: "a revocation or retirement on one node of a cluster takes a key that has no row yet there for one that nobody has", Engines: []string{"gr-multi"}, Faults: []string{"pause-node", "silence", "rollbacks"}, edits: []edit{
		{file: "txlock/revoke.go", old: "n == 0 && l.multiWriter", new: "false && n == 0"}, {file: "txlock/retire.go", old: "answer == noRow && l.multiWriter", new: "false && answer == noRow"}}},
	{Name: "retire-held", About: "a held key can be retired", edits: []edit{query("retireLock", "(status <> 1\n", "(1 = 1\n")}},
	{Name: "lock-weakly", About: "a lock is a plain read", edits: []edit{
		{file: acquire, old: "send := l.acquireWaiting", new: "if op == \"lock\" {\n\t\trow, err := q.InspectLock(ctx, p.KeyHex)\n\t\tif err == nil && row.Status != 1 {\n\t\t\treturn row.Epoch + 1, nil\n\t\t}\n\t}\n\tsend := l.acquireWaiting"}}},
}

// first moves an assignment of the upsert to the front, with its arguments.
func first(column, arg string) []edit {
	return []edit{
		{file: queries, from: "const acquireLock = `", to: "`\n", change: func(text string) (string, error) {
			begin := strings.Index(text, "    "+column+" = IF(status <> 1")
			if begin < 0 {
				return "", errors.New("no assignment of " + column)
			}
			end := begin + strings.Index(text[begin:], ", "+column+")") + len(", "+column+")")
			assignment := text[begin:end]
			text = strings.TrimSuffix(text[:begin], ",\n") + text[end:]
			return strings.Replace(text, "ON DUPLICATE KEY UPDATE\n", "ON DUPLICATE KEY UPDATE\n"+assignment+",\n", 1), nil
		}},
		{file: queries, from: "func (q *Queries) AcquireLock(", to: "\n}\n", change: func(text string) (string, error) {
			moved := "arg.LeaseID,\n\t\targ.ReclaimHex,\n\t\t" + arg + ",\n"
			begin := strings.LastIndex(text, moved)
			if begin < 0 {
				return "", errors.New("no arguments of " + column)
			}
			text = text[:begin] + strings.TrimPrefix(text[begin+len(moved):], "\t\t")
			inserted := "arg.TtlMicros,\n\t\targ.KeyHex,\n"
			return strings.Replace(text, inserted, inserted+"\t\t"+moved, 1), nil
		}},
	}
}
