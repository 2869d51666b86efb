package txlock_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
)

// recorder is an Observer that keeps what it sees, and marks contexts with the
// operations that they are in.
type recorder struct {
	mu     sync.Mutex
	open   map[string]int // by operation: started and not ended
	ended  []string
	losses []error
	ops    []txlock.Operation
}

type pathKey struct{ *recorder }

// path is the operations that ctx is in, such as "run/acquire".
func (r *recorder) path(ctx context.Context) string {
	path, _ := ctx.Value(pathKey{r}).(string)
	return path
}

func (r *recorder) Start(ctx context.Context, op txlock.Operation) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	path := string(op.Name)
	if outer := r.path(ctx); outer != "" {
		path = outer + "/" + path
	}
	if r.open == nil {
		r.open = make(map[string]int)
	}
	r.open[path]++
	r.ops = append(r.ops, op)
	return context.WithValue(ctx, pathKey{r}, path)
}

func (r *recorder) End(ctx context.Context, op txlock.Operation, result txlock.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	path := r.path(ctx)
	r.open[path]--
	if op.Name == txlock.OpLoss {
		r.losses = append(r.losses, result.Err)
	}
	r.ended = append(r.ended, fmt.Sprintf("%s epoch=%d attempts=%d err=%s", path, result.Epoch, result.Attempts, sentinel(result.Err)))
}

// sentinel names what an error matches.
func sentinel(err error) string {
	for _, s := range []struct {
		err  error
		name string
	}{
		{nil, "none"},
		{txlock.ErrPanicked, "panicked"},
		{txlock.ErrLost, "lost"},
		{txlock.ErrHeld, "held"},
		{txlock.ErrTxAborted, "aborted"},
		{txlock.ErrCommitUnknown, "unknown"},
		{txlock.ErrClosed, "closed"},
		{errBusiness, "business"},
	} {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	return err.Error()
}

func (r *recorder) wants(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.ended, want) {
		t.Errorf("observed\n\t%s\nwant\n\t%s", strings.Join(r.ended, "\n\t"), strings.Join(want, "\n\t"))
	}
	for path, n := range r.open {
		if n != 0 {
			t.Errorf("%s was started %d times more than it was ended", path, n)
		}
	}
	r.ended = nil
}

// standing answers as a server whose leases have epoch 7 and stand; other is asked
// first.
func standing(other func(statement string) (reply, bool)) func(string, ...any) reply {
	return granting(func(statement string) (reply, bool) {
		if other != nil {
			if r, ok := other(statement); ok {
				return r, true
			}
		}
		return reply{rows: [][]driver.Value{{int64(1)}}}, statement == "VerifyLease"
	})
}

func TestEachOperationIsObservedOnce(t *testing.T) {
	type answers map[string]reply
	held := reply{insertID: -time.Hour.Microseconds()}
	inTx := func(call func(ctx context.Context, l *txlock.Locker, le *txlock.Lease, tx *sql.Tx) error) func(context.Context, *txlock.Locker, *txlock.Lease, *sql.DB) error {
		return func(ctx context.Context, l *txlock.Locker, le *txlock.Lease, db *sql.DB) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			return call(ctx, l, le, tx)
		}
	}
	acquireTx := inTx(func(ctx context.Context, l *txlock.Locker, _ *txlock.Lease, tx *sql.Tx) error {
		_, err := l.AcquireTx(ctx, tx, "key")
		return err
	})
	lockTx := inTx(func(ctx context.Context, l *txlock.Locker, _ *txlock.Lease, tx *sql.Tx) error {
		return l.LockTx(ctx, tx, "key")
	})
	verifyTx := inTx(func(ctx context.Context, _ *txlock.Locker, le *txlock.Lease, tx *sql.Tx) error {
		return le.VerifyTx(ctx, tx)
	})
	renewTx := inTx(func(ctx context.Context, _ *txlock.Locker, le *txlock.Lease, tx *sql.Tx) error {
		return le.RenewTx(ctx, tx)
	})
	releaseTx := inTx(func(ctx context.Context, _ *txlock.Locker, le *txlock.Lease, tx *sql.Tx) error {
		return le.ReleaseTx(ctx, tx)
	})
	tryAcquire := func(ctx context.Context, l *txlock.Locker, _ *txlock.Lease, _ *sql.DB) error {
		_, err := l.TryAcquire(ctx, "key")
		return err
	}
	acquire := func(ctx context.Context, l *txlock.Locker, _ *txlock.Lease, _ *sql.DB) error {
		_, err := l.Acquire(ctx, "key")
		return err
	}
	renew := func(ctx context.Context, _ *txlock.Locker, le *txlock.Lease, _ *sql.DB) error { return le.Renew(ctx) }
	release := func(ctx context.Context, _ *txlock.Locker, le *txlock.Lease, _ *sql.DB) error { return le.Release(ctx) }
	do := func(ctx context.Context, l *txlock.Locker, _ *txlock.Lease, _ *sql.DB) error {
		return l.Do(ctx, "key", nothing)
	}
	inFence := func(ctx context.Context, _ *txlock.Locker, le *txlock.Lease, _ *sql.DB) error {
		return le.InTx(ctx, nothing)
	}
	run := func(ctx context.Context, l *txlock.Locker, _ *txlock.Lease, _ *sql.DB) error {
		return l.Run(ctx, "key", func(context.Context, *txlock.Lease) error { return errBusiness })
	}
	for _, tc := range []struct {
		name  string
		call  func(context.Context, *txlock.Locker, *txlock.Lease, *sql.DB) error
		once  answers // to the first statement of that name
		want  []string
		keeps bool // the lease is kept alive
	}{
		{"AcquireTx", acquireTx, nil, []string{"acquire epoch=7 attempts=1 err=none"}, false},
		{"AcquireTx held", acquireTx, answers{"AcquireLease": held, "AcquireKnownLease": held}, []string{"acquire epoch=0 attempts=1 err=held"}, false},
		{"LockTx", lockTx, nil, []string{"lock epoch=0 attempts=1 err=none"}, false},
		{"LockTx aborted", lockTx, answers{"LockKey": {err: errDeadlock}}, []string{"lock epoch=0 attempts=1 err=aborted"}, false},
		{"VerifyTx", verifyTx, nil, []string{"verify epoch=7 attempts=1 err=none"}, false},
		{"VerifyTx lost", verifyTx, answers{"VerifyLease": {}}, []string{"loss epoch=7 attempts=0 err=lost", "verify epoch=7 attempts=1 err=lost"}, false},
		{"RenewTx", renewTx, nil, []string{"renew epoch=7 attempts=1 err=none"}, false},
		{"RenewTx lost", renewTx, answers{"RenewLease": {}}, []string{"loss epoch=7 attempts=0 err=lost", "renew epoch=7 attempts=1 err=lost"}, false},
		{"ReleaseTx", releaseTx, nil, []string{"release epoch=7 attempts=1 err=none"}, false},
		{"ReleaseTx lost", releaseTx, answers{"ReleaseLease": {}}, []string{"loss epoch=7 attempts=0 err=lost", "release epoch=7 attempts=1 err=lost"}, false},
		{"TryAcquire", tryAcquire, nil, []string{"acquire epoch=7 attempts=1 err=none"}, false},
		{"TryAcquire held", tryAcquire, answers{"AcquireKnownLease": held}, []string{"acquire epoch=0 attempts=1 err=held"}, false},
		{"TryAcquire aborted once", tryAcquire, answers{"AcquireKnownLease": {err: errDeadlock}}, []string{"acquire epoch=7 attempts=2 err=none"}, false},
		{"Acquire", acquire, nil, []string{"acquire epoch=7 attempts=1 err=none"}, false},
		{"Acquire waits", acquire, answers{"AcquireLeaseNoWait": held}, []string{"acquire epoch=7 attempts=2 err=none"}, false},
		{"Renew", renew, nil, []string{"renew epoch=7 attempts=1 err=none"}, false},
		{"Renew aborted once", renew, answers{"RenewLease": {err: errDeadlock}}, []string{"renew epoch=7 attempts=2 err=none"}, false},
		{"Renew lost, kept", renew, answers{"RenewLease": {}}, []string{"loss epoch=7 attempts=0 err=lost", "hold epoch=7 attempts=0 err=lost", "renew epoch=7 attempts=1 err=lost"}, true},
		{"Release", release, nil, []string{"release epoch=7 attempts=1 err=none"}, false},
		{"Release, kept", release, nil, []string{"hold epoch=7 attempts=0 err=none", "release epoch=7 attempts=1 err=none"}, true},
		{"Release lost", release, answers{"ReleaseLease": {}}, []string{"loss epoch=7 attempts=0 err=lost", "release epoch=7 attempts=1 err=lost"}, false},
		{"Release unknown", release, answers{"COMMIT": {err: mysql.ErrInvalidConn}}, []string{"release epoch=7 attempts=1 err=unknown"}, false},
		{"Do", do, nil, []string{"do/lock epoch=0 attempts=1 err=none", "do epoch=0 attempts=1 err=none"}, false},
		{"Do aborted once", do, answers{"COMMIT": {err: errDeadlock}}, []string{"do/lock epoch=0 attempts=1 err=none", "do/lock epoch=0 attempts=1 err=none", "do epoch=0 attempts=2 err=none"}, false},
		{"InTx", inFence, nil, []string{"in_tx/verify epoch=7 attempts=1 err=none", "in_tx epoch=7 attempts=1 err=none"}, false},
		{"InTx lost, kept", inFence, answers{"VerifyLease": {}}, []string{"loss epoch=7 attempts=0 err=lost", "in_tx/verify epoch=7 attempts=1 err=lost", "hold epoch=7 attempts=0 err=lost", "in_tx epoch=7 attempts=1 err=lost"}, true},
		{"Run", run, nil, []string{"run/acquire epoch=7 attempts=1 err=none", "run/hold epoch=7 attempts=0 err=none", "run/release epoch=7 attempts=1 err=none", "run epoch=7 attempts=1 err=business"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var armed bool
				once := make(answers)
				r := new(recorder)
				locker, fake := newFake(t, standing(func(statement string) (reply, bool) {
					answer, ok := once[statement]
					delete(once, statement)
					return answer, ok && armed
				}), txlock.WithObserver(r), txlock.WithOwner("owner"))
				db := sql.OpenDB(fake)
				defer func() { _ = db.Close() }()
				lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(time.Minute)))
				if tc.keeps {
					if err := lease.KeepAlive(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				r.mu.Lock()
				r.ended, r.ops = nil, nil
				r.mu.Unlock()
				for statement, answer := range tc.once {
					once[statement] = answer
				}
				armed = true
				err := tc.call(t.Context(), locker, lease, db)
				synctest.Wait()
				r.wants(t, tc.want...)
				if last := tc.want[len(tc.want)-1]; !strings.HasSuffix(last, "err="+sentinel(err)) {
					t.Errorf("the caller got %v, the observer %s", err, last)
				}
				for _, op := range r.ops {
					if op.Key != "key" || op.Owner != "owner" || op.Keys != 1 {
						t.Errorf("%+v", op)
					}
					timed := op.Name == txlock.OpAcquire || op.Name == txlock.OpRenew || op.Name == txlock.OpHold
					if timed != (op.TTL > 0) {
						t.Errorf("%s has TTL %v", op.Name, op.TTL)
					}
					if op.Waits != (op.Name == txlock.OpAcquire && (strings.HasPrefix(tc.name, "Acquire") || tc.name == "Run") && !strings.HasPrefix(tc.name, "AcquireTx")) {
						t.Errorf("%s: Waits is %t", op.Name, op.Waits)
					}
				}
			})
		})
	}
}

// A lease's loss is observed once, however often and wherever it shows.
func TestLossIsObservedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		var lost atomic.Bool
		locker, fake := newFake(t, standing(func(statement string) (reply, bool) {
			return reply{}, lost.Load() && statement != "BEGIN" && statement != "connect"
		}), txlock.WithObserver(r))
		db := sql.OpenDB(fake)
		defer func() { _ = db.Close() }()
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		lost.Store(true)
		tx := must[*sql.Tx](t)(db.BeginTx(t.Context(), nil))
		for range 2 {
			if err := lease.VerifyTx(t.Context(), tx); !errors.Is(err, txlock.ErrLost) {
				t.Fatal(err)
			}
		}
		_ = tx.Rollback()
		<-lease.Context().Done() // by the heartbeat
		for _, call := range []func(context.Context) error{lease.Renew, lease.Release, lease.KeepAlive} {
			if err := call(t.Context()); !errors.Is(err, txlock.ErrLost) {
				t.Error(err)
			}
		}
		synctest.Wait()
		r.mu.Lock()
		ended := r.ended
		if len(r.losses) != 1 {
			t.Errorf("observed %d losses: %v", len(r.losses), r.losses)
		}
		r.mu.Unlock()
		r.wants(t, ended...) // each as often as it was started
	})
}

// A lease that nobody keeps, and whose deadline passes, is observed as lost; one
// that was released is not.
func TestLossByDeadline(t *testing.T) {
	for _, released := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := new(recorder)
			locker, _ := newFake(t, standing(nil), txlock.WithObserver(r))
			lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key"))
			ctx := lease.Context()
			if released {
				if err := lease.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := lease.VerifyTx(t.Context(), nil); err == nil {
					t.Error("verified in no transaction")
				}
			}
			<-ctx.Done()
			time.Sleep(time.Hour)
			r.mu.Lock()
			defer r.mu.Unlock()
			switch {
			case released && len(r.losses) > 0:
				t.Errorf("a released lease was observed as lost: %v", r.losses)
			case !released && (len(r.losses) != 1 || !errors.Is(context.Cause(ctx), r.losses[0])):
				t.Errorf("losses %v, want %v", r.losses, context.Cause(ctx))
			}
		})
	}
}

func TestHeartbeatIsObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		var down atomic.Bool
		errDown := errors.New("down")
		locker, _ := newFake(t, standing(func(statement string) (reply, bool) {
			return reply{err: errDown}, down.Load() && statement == "BEGIN"
		}), txlock.WithObserver(r))
		for _, key := range []string{"a", "b"} {
			lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), key, txlock.TTL(30*time.Second)))
			if err := lease.KeepAlive(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.mu.Lock()
		r.ended, r.ops = nil, nil
		r.mu.Unlock()
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		r.mu.Lock()
		if len(r.ops) != 1 || r.ops[0].Name != txlock.OpHeartbeat || r.ops[0].Keys != 2 || r.ops[0].TTL != 30*time.Second || r.ops[0].Key != "" {
			t.Errorf("observed %+v, want one heartbeat of two leases", r.ops)
		}
		if !slices.Equal(r.ended, []string{"heartbeat epoch=0 attempts=1 err=none"}) {
			t.Errorf("observed %v", r.ended)
		}
		r.mu.Unlock()
		down.Store(true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if last := r.ended[len(r.ended)-1]; !strings.Contains(last, "heartbeat") || !strings.HasSuffix(last, "down") {
			t.Errorf("observed %s, want a failed heartbeat", last)
		}
	})
}

// What the caller's function does to its goroutine is seen, and every operation that
// it is in is ended once.
func TestPanicsAreObserved(t *testing.T) {
	errPanic := errors.New("panic")
	for how, leave := range map[string]func(){
		"panic":  func() { panic(errPanic) },
		"goexit": runtime.Goexit,
	} {
		for op, call := range map[string]func(context.Context, *txlock.Locker, *txlock.Lease) error{
			"do": func(ctx context.Context, l *txlock.Locker, _ *txlock.Lease) error {
				return l.Do(ctx, "key", func(context.Context, *sql.Tx) error { leave(); return nil })
			},
			"in_tx": func(ctx context.Context, _ *txlock.Locker, le *txlock.Lease) error {
				return le.InTx(ctx, func(context.Context, *sql.Tx) error { leave(); return nil })
			},
			"run": func(ctx context.Context, l *txlock.Locker, _ *txlock.Lease) error {
				return l.Run(ctx, "key", func(context.Context, *txlock.Lease) error { leave(); return nil })
			},
		} {
			t.Run(op+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := new(recorder)
					locker, _ := newFake(t, standing(nil), txlock.WithObserver(r))
					lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key"))
					r.ended = nil
					var recovered any
					returned := false
					var wg sync.WaitGroup
					wg.Go(func() {
						defer func() { recovered = recover() }()
						_ = call(t.Context(), locker, lease)
						returned = true
					})
					wg.Wait()
					if returned || (recovered != nil) != (how == "panic") {
						t.Errorf("returned: %t, recovered: %v", returned, recovered)
					}
					r.wants(t, map[string][]string{
						"do":    {"do/lock epoch=0 attempts=1 err=none", "do epoch=0 attempts=1 err=panicked"},
						"in_tx": {"in_tx/verify epoch=7 attempts=1 err=none", "in_tx epoch=7 attempts=1 err=panicked"},
						"run":   {"run/acquire epoch=7 attempts=1 err=none", "run/hold epoch=7 attempts=0 err=none", "run/release epoch=7 attempts=1 err=none", "run epoch=7 attempts=1 err=panicked"},
					}[op]...)
				})
			})
		}
	}
}

// panicking is a context that panics when database/sql looks at it, before it has
// locked anything.
type panicking struct{ context.Context }

func (panicking) Done() <-chan struct{} { panic("Done") }

// What panics below the library, such as a driver, is no caller's function; still,
// what was started is ended, and not as a success.
func TestPanicsBelowAreObserved(t *testing.T) {
	r := new(recorder)
	broken := false
	locker, fake := newFake(t, standing(func(statement string) (reply, bool) {
		if broken && statement == "BEGIN" {
			panic(statement)
		}
		return reply{}, false
	}), txlock.WithObserver(r))
	db := sql.OpenDB(fake)
	defer func() { _ = db.Close() }()
	lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key"))
	bad := panicking{t.Context()}
	for _, call := range []func(tx *sql.Tx){
		func(tx *sql.Tx) { _, _ = locker.AcquireTx(bad, tx, "key") },
		func(tx *sql.Tx) { _ = locker.LockTx(bad, tx, "key") },
		func(tx *sql.Tx) { _ = lease.RenewTx(bad, tx) },
		func(tx *sql.Tx) { _ = lease.VerifyTx(bad, tx) },
		func(tx *sql.Tx) { _ = lease.ReleaseTx(bad, tx) },
		func(*sql.Tx) { _, _ = locker.TryAcquire(t.Context(), "key") },
		func(*sql.Tx) { _, _ = locker.Acquire(t.Context(), "key") },
		func(*sql.Tx) { _ = lease.Renew(t.Context()) },
		func(*sql.Tx) { _ = lease.Release(t.Context()) },
		func(*sql.Tx) { _ = locker.Do(t.Context(), "key", nothing) },
		func(*sql.Tx) { _ = lease.InTx(t.Context(), nothing) },
	} {
		broken = false
		tx := must[*sql.Tx](t)(db.BeginTx(t.Context(), nil))
		r.ended = nil
		broken = true
		func() {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			call(tx)
		}()
		_ = tx.Rollback()
		if len(r.ended) != 1 || !strings.HasSuffix(r.ended[0], "err=panicked") {
			t.Errorf("observed %v", r.ended)
		}
	}
}

// What Start returns reaches the caller's functions, and so does the context of the
// operation itself.
func TestObserversContextReachesTheFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		locker, _ := newFake(t, standing(nil), txlock.WithObserver(r))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key"))
		if path := r.path(lease.Context()); path != "" {
			t.Errorf("the lease's context is in %q, which is over", path)
		}
		in := func(want string) func(context.Context, *sql.Tx) error {
			return func(ctx context.Context, _ *sql.Tx) error {
				if path := r.path(ctx); path != want {
					t.Errorf("the function is in %q, want %q", path, want)
				}
				return nil
			}
		}
		if err := locker.Do(t.Context(), "key", in("do")); err != nil {
			t.Error(err)
		}
		if err := lease.InTx(t.Context(), in("in_tx")); err != nil {
			t.Error(err)
		}
		if err := locker.Run(t.Context(), "key", func(ctx context.Context, lease *txlock.Lease) error {
			if path := r.path(lease.Context()); path != "run" {
				t.Errorf("the lease's context is in %q, want run", path)
			}
			if err := in("run")(ctx, nil); err != nil {
				return err
			}
			return lease.InTx(ctx, in("run/in_tx"))
		}); err != nil {
			t.Error(err)
		}
	})
}

// orderly notes when it is called.
type orderly struct {
	name  string
	notes *[]string
}

func (o orderly) Start(ctx context.Context, _ txlock.Operation) context.Context {
	*o.notes = append(*o.notes, "start "+o.name)
	return context.WithValue(ctx, ctxKey{}, o.name)
}

func (o orderly) End(ctx context.Context, _ txlock.Operation, _ txlock.Result) {
	*o.notes = append(*o.notes, fmt.Sprintf("end %s with the context of %s", o.name, ctx.Value(ctxKey{})))
}

func TestObserversAreNested(t *testing.T) {
	var notes []string
	locker, _ := newFake(t, standing(nil), txlock.WithObserver(orderly{"1", &notes}), txlock.WithObserver(orderly{"2", &notes}), txlock.WithObserver(orderly{"3", &notes}))
	must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key"))
	want := []string{"start 1", "start 2", "start 3", "end 3 with the context of 3", "end 2 with the context of 2", "end 1 with the context of 1"}
	if !slices.Equal(notes, want) {
		t.Errorf("got %q, want %q", notes, want)
	}
}

// The operators' operations, and that of many keys.
func TestOperatorsAreObserved(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		ctx := l.Context()
		r := new(recorder)
		locker := l.locker(l.db, txlock.WithObserver(r))
		tx := l.begin()
		_, err := locker.AcquireManyTx(ctx, tx, []string{l.key, l.key + "2"})
		l.must(err)
		l.must(tx.Commit())
		l.wants(locker.Retire(ctx, l.key), txlock.ErrHeld)
		l.must(locker.Revoke(ctx, l.key))
		l.must(locker.Retire(ctx, l.key))
		if n, err := locker.Purge(ctx, txlock.PurgeOptions{}); err != nil || n != 1 {
			l.Fatalf("purged %d: %v", n, err)
		}
		var names []string
		for _, ended := range r.ended {
			name, _, _ := strings.Cut(ended, " ")
			names = append(names, name+ended[strings.LastIndex(ended, " "):])
		}
		want := []string{"acquire_many err=none", "retire err=held", "revoke err=none", "retire err=none", "purge err=none"}
		if !slices.Equal(names, want) {
			l.Errorf("observed %q, want %q", names, want)
		}
		if many := r.ops[0]; many.Keys != 2 || many.Key != "" || many.TTL == 0 {
			l.Errorf("%+v", many)
		}
	})
}
