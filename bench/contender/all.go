package contender

import (
	"fmt"
	"slices"
)

// Reference is the name of what the others are compared with.
const Reference = "SELECT ... FOR UPDATE"

// transaction is what a lock that lives in the business transaction promises.
var transaction = Promises{SurvivesCrash: true, Fences: true, Atomic: true}

// SQL are those that need nothing but the database.
func SQL() []Contender {
	return []Contender{
		{Name: "unprotected", About: "BEGIN, business, COMMIT", Unlocked: true, Promises: Promises{SurvivesCrash: true, Atomic: true}, Open: unprotected, Hold: holdNothing},
		{Name: Reference, About: "of a row made for it, in the business transaction", Promises: transaction, Open: forUpdate},
		{Name: "SELECT ... FOR UPDATE, prepared", About: "the same, by a prepared statement", Promises: transaction, Open: forUpdatePrepared},
		{Name: "Do", Ours: true, About: "Locker.Do", Promises: transaction, Open: openHelix(false, helixDo)},
		{Name: "Do, prepared", Ours: true, About: "the same, after Locker.Prepare", Promises: transaction, Open: openHelix(true, helixDo)},
		{Name: "lease in the transaction", Ours: true, About: "AcquireTx, business, ReleaseTx, COMMIT, after Locker.Prepare", Promises: transaction, Open: openHelix(true, helixLease)},
		{Name: "fenced under a held lease", Ours: true, About: "Lease.InTx of a lease that is kept alive, after Locker.Prepare", Promises: transaction, OwnKeys: true, Open: openHelix(true, helixFenced)},
		{Name: "lease around it", Ours: true, About: "Acquire (waits), a fenced transaction, Release, after Locker.Prepare", Promises: Promises{SurvivesCrash: true, Fences: true}, Open: openHelix(true, helixRun), Hold: holdLeases},
		{Name: "GET_LOCK", About: "on the connection of the transaction, around it: both end with the connection", Promises: Promises{SurvivesCrash: true, Fences: true}, Open: getLock, Hold: holdNamedLocks},
		{Name: "lease table by hand", About: "upsert, then select, each in autocommit, before the transaction; an update after it", Promises: Promises{SurvivesCrash: true}, Open: handWrittenLease, Hold: holdLeaseTable},
	}
}

// Named is the one of that name.
func Named(name string) (Contender, error) {
	for _, c := range All() {
		if c.Name == name {
			return c, nil
		}
	}
	return Contender{}, fmt.Errorf("contender: none is called %q", name)
}

// All are all there are.
func All() []Contender { return slices.Concat(SQL(), Redis(), Etcd()) }
