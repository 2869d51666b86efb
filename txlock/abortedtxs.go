package txlock

import (
	"database/sql"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"
)

// abortedTxs remembers the callers' transactions of which one of our statements
// learned that the server had rolled them back. A *sql.Tx does not know: its next
// statement would run in autocommit, take effect at once and survive Rollback, so
// a lock acquired there would look like a success. It keeps no transaction alive.
type abortedTxs struct {
	n  atomic.Int64 // so that where there is none, as nearly always, asking is free
	mu sync.Mutex
	m  map[weak.Pointer[sql.Tx]]struct{}
}

func (a *abortedTxs) has(tx *sql.Tx) bool {
	if a.n.Load() == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.m[weak.Make(tx)]
	return ok
}

func (a *abortedTxs) add(tx *sql.Tx) {
	p := weak.Make(tx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = make(map[weak.Pointer[sql.Tx]]struct{})
	}
	if _, ok := a.m[p]; ok {
		return
	}
	a.m[p] = struct{}{}
	a.n.Add(1)
	runtime.AddCleanup(tx, a.forget, p)
}

func (a *abortedTxs) forget(p weak.Pointer[sql.Tx]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.m, p)
	a.n.Add(-1)
}
