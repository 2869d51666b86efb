package txlock

import (
	"database/sql"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"
)

// abortedTxs remembers the transactions of which one of our statements learned
// that the server has rolled them back, or may have. A *sql.Tx does not know: its
// next statement would run in autocommit, take effect at once and survive
// Rollback, so that a lock acquired there would look like a success. It keeps no
// transaction alive.
type abortedTxs struct {
	n  atomic.Int64 // so that where there is none, as nearly always, asking is free
	mu sync.Mutex
	m  map[weak.Pointer[sql.Tx]]error
}

// cause is what was remembered of tx: ErrTxAborted, ErrBusy (a lock wait timed
// out, which rolls back all where innodb_rollback_on_timeout is set), or nil.
func (a *abortedTxs) cause(tx *sql.Tx) error {
	if a.n.Load() == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.m[weak.Make(tx)]
}

func (a *abortedTxs) add(tx *sql.Tx, cause error) {
	p := weak.Make(tx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = make(map[weak.Pointer[sql.Tx]]error)
	}
	_, known := a.m[p]
	a.m[p] = cause
	if !known {
		a.n.Add(1)
		runtime.AddCleanup(tx, a.forget, p)
	}
}

func (a *abortedTxs) forget(p weak.Pointer[sql.Tx]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.m, p)
	a.n.Add(-1)
}
