package txlock_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
	"github.com/gox-helix/gox-helix/txlock"
)

// expectPrepareThenClose expects a Prepare that takes some time, and that nothing
// of it stays open.
func (m *mocked) expectPrepareThenClose() {
	for range lockdb.HotStatements() {
		m.mock.ExpectPrepare("-- name: ").WillDelayFor(time.Second).WillBeClosed()
	}
}

// Of two that prepare at once, one keeps its statements and the other closes its
// own.
func TestPrepareAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMocked(t)
		m.expectPrepareThenClose()
		m.expectPrepareThenClose()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := m.Prepare(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A Locker that is closed while it prepares keeps nothing open.
func TestCloseWhilePreparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMocked(t)
		m.expectPrepareThenClose()
		prepared := make(chan error)
		go func() { prepared <- m.Prepare(t.Context()) }()
		synctest.Wait() // for the first answer
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := <-prepared; !errors.Is(err, txlock.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}
