package txlock

import (
	"database/sql"
	"runtime"
	"testing"
)

func TestAbortedTxsKeepsNoTransactionAlive(t *testing.T) {
	var a abortedTxs
	kept := new(sql.Tx)
	a.add(kept)
	a.add(kept)
	for range 100 {
		a.add(new(sql.Tx))
	}
	if !a.has(kept) || a.has(new(sql.Tx)) {
		t.Error("took one transaction for another")
	}
	for a.n.Load() > 1 && t.Context().Err() == nil {
		runtime.GC()
	}
	if !a.has(kept) {
		t.Error("forgot a transaction that is in use")
	}
	runtime.KeepAlive(kept)
}
