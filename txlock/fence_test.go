package txlock_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/txlock"
)

// skipping is a lease of 30 s whose row no heartbeat finds free while locked says so. The
// server's expiry is that of the acquisition.
func skipping(t *testing.T, locked *atomic.Bool) (*txlock.Lease, *fakeDB) {
	t.Helper()
	acquired := time.Now()
	locker, db := newFake(t, granting(func(s string) (reply, bool) {
		switch {
		case !locked.Load():
			return reply{}, false
		case s == "RenewLeases":
			return reply{}, true
		case s == "StandingLeases":
			left := time.Until(acquired.Add(30 * time.Second))
			return reply{rows: [][]driver.Value{{int64(0), left.Microseconds()}}}, true
		}
		return reply{}, false
	}), txlock.WithSingleWriter())
	lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
	if err := lease.KeepAlive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return lease, db
}

// fenceStatements are what a fence sent.
func (f *fakeDB) fenceStatements(fence func() error) ([]string, error) {
	f.mu.Lock()
	before := len(f.sent)
	f.mu.Unlock()
	err := fence()
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, s := range f.sent[before:] {
		if s.name != "BEGIN" && s.name != "COMMIT" && s.name != "ROLLBACK" {
			names = append(names, s.name)
		}
	}
	return names, err
}

// A fence renews the lease where a heartbeat has skipped it: at first if it can have the
// row at once, at last by waiting for it. What it renewed counts from its COMMIT.
func TestFencesRenewWhatHeartbeatsSkip(t *testing.T) {
	errRollback := errors.New("roll back")
	for name, c := range map[string]struct {
		at       time.Duration // after the acquisition
		locked   bool          // by another transaction, at the fence
		rollback bool
		want     []string
		renewed  bool
	}{
		"not skipped":                   {at: 5 * time.Second, want: []string{"VerifyLease"}},
		"skipped":                       {at: 11 * time.Second, want: []string{"RenewLeases"}, renewed: true},
		"skipped, rolled back":          {at: 11 * time.Second, rollback: true, want: []string{"RenewLeases"}},
		"skipped, locked":               {at: 11 * time.Second, locked: true, want: []string{"RenewLeases", "VerifyLease"}},
		"two thirds gone":               {at: 19 * time.Second, locked: true, want: []string{"RenewLease"}, renewed: true},
		"two thirds gone, rolled back":  {at: 19 * time.Second, locked: true, rollback: true, want: []string{"RenewLease"}},
		"the deadline has passed, late": {at: 28 * time.Second, locked: true, want: []string{"VerifyLease"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var locked atomic.Bool
				locked.Store(true)
				lease, db := skipping(t, &locked)
				time.Sleep(c.at)
				synctest.Wait()
				deadline := lease.Deadline()
				sent, err := db.fenceStatements(func() error {
					locked.Store(c.locked)
					return lease.InTx(t.Context(), func(context.Context, *sql.Tx) error {
						if c.rollback {
							return errRollback
						}
						return nil
					})
				})
				if err != nil && !errors.Is(err, errRollback) || !slices.Equal(sent, c.want) {
					t.Errorf("sent %v, %v, want %v", sent, err, c.want)
				}
				if got := lease.Deadline().After(deadline); got != c.renewed {
					t.Errorf("renewed: %t, want %t", got, c.renewed)
				}
				if !c.renewed {
					return
				}
				// The next fence shares, and the next heartbeat comes when it should.
				locked.Store(false)
				if sent, err := db.fenceStatements(func() error { return lease.InTx(t.Context(), nothing) }); err != nil || !slices.Equal(sent, []string{"VerifyLease"}) {
					t.Errorf("then sent %v, %v", sent, err)
				}
				n := len(db.times("RenewLeases"))
				time.Sleep(10*time.Second - time.Millisecond)
				if got := len(db.times("RenewLeases")); got != n {
					t.Errorf("%d heartbeats too early", got-n)
				}
				time.Sleep(time.Second)
				if got := len(db.times("RenewLeases")); got == n {
					t.Error("no heartbeat")
				}
			})
		})
	}
}

// One fence at a time waits for the row: the others share, and so run side by side.
func TestOneFenceAtATimeRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locked atomic.Bool
		locked.Store(true)
		lease, db := skipping(t, &locked)
		time.Sleep(19 * time.Second)
		synctest.Wait()
		first, second := make(chan struct{}), make(chan error)
		go func() {
			second <- lease.InTx(t.Context(), func(context.Context, *sql.Tx) error { close(first); time.Sleep(time.Second); return nil })
		}()
		<-first
		if sent, err := db.fenceStatements(func() error { return lease.InTx(t.Context(), nothing) }); err != nil || !slices.Equal(sent, []string{"VerifyLease"}) {
			t.Errorf("sent %v, %v", sent, err)
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}

// What VerifyTx has renewed counts when a heartbeat has seen it committed.
func TestVerifyTxRenewsWhatHeartbeatsSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locked atomic.Bool
		locked.Store(true)
		lease, db := skipping(t, &locked)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		locked.Store(false)
		deadline := lease.Deadline()
		sent, err := db.fenceStatements(func() error {
			return inTransaction(t, db, func(tx *sql.Tx) error { return lease.VerifyTx(t.Context(), tx) })
		})
		if err != nil || !slices.Equal(sent, []string{"RenewLeases"}) {
			t.Errorf("sent %v, %v", sent, err)
		}
		if lease.Deadline() != deadline {
			t.Error("counts before the library can know")
		}
		time.Sleep(3 * time.Second)
		if !lease.Deadline().After(deadline) {
			t.Error("does not count")
		}
	})
}

// What would wait for its own transaction is refused at once, by the function's context.
func TestInTheWayOfOneself(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease := l.try(l.Locker)
		other, err := l.TryAcquire(ctx, l.key+"/other")
		l.must(err)
		var late context.Context
		l.must(lease.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			late = ctx
			second := l.begin()
			for what, err := range map[string]error{
				"InTx":                lease.InTx(ctx, nothing),
				"VerifyTx, elsewhere": lease.VerifyTx(ctx, second),
				"RenewTx":             lease.RenewTx(ctx, tx),
				"ReleaseTx":           lease.ReleaseTx(ctx, tx),
				"Renew":               lease.Renew(ctx),
				"Release":             lease.Release(ctx),
				"InTx, further in":    other.InTx(ctx, func(ctx context.Context, _ *sql.Tx) error { return lease.InTx(ctx, nothing) }),
				"FencedConnector": func() error {
					_, err := l.fenced(lease, l.connector()).BeginTx(ctx, nil)
					return err
				}(),
			} {
				if !errors.Is(err, txlock.ErrInvalidArgument) || !strings.Contains(err.Error(), "surrounding InTx") {
					l.Errorf("%s: got %v", what, err)
				}
			}
			l.must(lease.VerifyTx(ctx, tx))
			l.must(other.InTx(ctx, nothing))
			l.must(other.Renew(ctx))
			return nil
		}))
		// A context that is used later is in nobody's way.
		l.must(lease.InTx(late, nothing))
		l.must(lease.Renew(late))
		l.must(lease.Release(late))
	})
}

// A Locker that was not told refuses to lock and to fence where several servers take
// writes. It looks once, and again after a lost connection.
func TestMultiWriterThatIsNotToldOf(t *testing.T) {
	for name, c := range map[string]struct {
		variables [2][2]string
		refused   bool
	}{
		"a single server":             {[2][2]string{{"wsrep_on", "OFF"}, {"wsrep_provider", "none"}}, false},
		"Galera without a provider":   {[2][2]string{{"wsrep_on", "ON"}, {"wsrep_provider", "none"}}, false},
		"Galera":                      {[2][2]string{{"WSREP_ON", "ON"}, {"wsrep_provider", "/usr/lib/libgalera_smm.so"}}, true},
		"Group Replication, no group": {[2][2]string{{"group_replication_single_primary_mode", "OFF"}, {"group_replication_group_name", ""}}, false},
		"Group Replication, single":   {[2][2]string{{"group_replication_single_primary_mode", "ON"}, {"group_replication_group_name", "g"}}, false},
		"Group Replication, multiple": {[2][2]string{{"group_replication_single_primary_mode", "OFF"}, {"group_replication_group_name", "g"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMocked(t, txlock.WithMultiWriter()) // or newMocked says that it is one writer
			locker := must[*txlock.Locker](t)(txlock.New(m.db))
			look := func() {
				m.mock.ExpectQuery("-- name: ClusterVariables ").WillReturnRows(sqlmock.NewRows([]string{"Variable_name", "Value"}).
					AddRow(c.variables[0][0], c.variables[0][1]).AddRow(c.variables[1][0], c.variables[1][1]))
			}
			lock := func(tx *sql.Tx) error { return locker.LockTx(t.Context(), tx, "k") }
			tx := m.begin()
			if c.refused {
				for range 2 {
					look()
					err := lock(tx)
					if !errors.Is(err, txlock.ErrMultiWriter) || !strings.Contains(err.Error(), "WithMultiWriter") || !strings.Contains(err.Error(), "WithSingleWriter") {
						t.Errorf("got %v", err)
					}
				}
				return
			}
			look()
			m.answers([]step{{"EnsureKey", sqlmock.NewResult(4, 1)}, {"EnsureKey", sqlmock.NewResult(4, 1)}})
			m.mock.ExpectExec("-- name: EnsureKey ").WillReturnError(driver.ErrBadConn)
			for _, want := range []error{nil, nil, txlock.ErrTxAborted} {
				if err := lock(tx); !errors.Is(err, want) {
					t.Fatalf("got %v, want %v", err, want)
				}
			}
			m.mock.ExpectRollback()
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			tx = m.begin()
			look()
			m.answers([]step{{"EnsureKey", sqlmock.NewResult(4, 1)}})
			if err := lock(tx); err != nil {
				t.Error(err)
			}
		})
	}
}
