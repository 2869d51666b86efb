package txlock

import (
	"database/sql"
	"runtime"
	"testing"
)

func TestAbortedTxsKeepsNoTransactionAlive(t *testing.T) {
	var a abortedTxs
	kept := new(sql.Tx)
	a.add(kept, ErrBusy)
	a.add(kept, ErrTxAborted)
	for range 100 {
		a.add(new(sql.Tx), ErrTxAborted)
	}
	if a.cause(kept) != ErrTxAborted || a.cause(new(sql.Tx)) != nil {
		t.Error("took one transaction for another")
	}
	for a.n.Load() > 1 && t.Context().Err() == nil {
		runtime.GC()
	}
	if a.cause(kept) == nil {
		t.Error("forgot a transaction that is in use")
	}
	runtime.KeepAlive(kept)
}
