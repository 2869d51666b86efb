package txlock_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/txlock"
)

// granting answers what a lease's life takes; other is asked first.
func granting(other func(statement string) (reply, bool)) func(string, ...any) reply {
	return func(statement string, args ...any) reply {
		if other != nil {
			if r, ok := other(statement); ok {
				return r
			}
		}
		switch statement {
		case "AcquireLease", "AcquireKnownLease", "AcquireLeaseNoWait":
			return reply{insertID: 7, affected: 2}
		case "EnsureKey":
			return reply{insertID: 1}
		case "LockKey":
			return reply{rows: [][]driver.Value{{int64(0)}}}
		case "RenewLeases":
			return reply{affected: 2 * batchSize(args)}
		case "VerifyLease":
			return reply{rows: [][]driver.Value{{int64(7)}}}
		case "ListKeys":
			return reply{rows: heldRow(0, 0)}
		default:
			return reply{affected: 1}
		}
	}
}

// batchSize is how many entries a batch among the arguments has.
func batchSize(args []any) int64 {
	for _, arg := range args {
		if s, ok := arg.(string); ok && strings.HasPrefix(s, "[[") {
			return int64(strings.Count(s, "[") - 1)
		}
	}
	return 0
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantCause fails the test unless ctx has ended because of target.
func wantCause(t *testing.T, ctx context.Context, target error) {
	t.Helper()
	if ctx.Err() == nil {
		t.Fatal("the context has not ended")
	}
	if cause := context.Cause(ctx); !errors.Is(cause, target) {
		t.Fatalf("ended because of %v, want %v", cause, target)
	}
}

// A lease that nobody renews is trusted for nine tenths of its TTL, counted from
// before its statement was sent.
func TestTrustEndsWithTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, _ := newFake(t, granting(func(statement string) (reply, bool) {
			if statement == "AcquireLease" {
				time.Sleep(time.Second) // what the round trip takes
			}
			return reply{}, false
		}))
		began := time.Now()
		lease := must[*txlock.Lease](t)(locker.TryAcquire(context.WithValue(t.Context(), ctxKey{}, "v"), "key", txlock.TTL(10*time.Second)))
		ctx := lease.Context()
		if ctx.Value(ctxKey{}) != "v" {
			t.Error("the context does not carry the values of that of the acquisition")
		}
		<-ctx.Done()
		if got := time.Since(began); got != 9*time.Second {
			t.Errorf("ended after %v, want 9s", got)
		}
		wantCause(t, ctx, txlock.ErrLost)
		var lost *txlock.LostError
		if !errors.As(context.Cause(ctx), &lost) || lost.Err == nil || lost.Epoch != 7 || lost.Key != "key" {
			t.Errorf("got %#v", context.Cause(ctx))
		}
		// It never comes back.
		if err := lease.Renew(t.Context()); err != nil {
			t.Error(err)
		}
		if lease.Context().Err() == nil {
			t.Error("the context has come back")
		}
		if err := lease.KeepAlive(t.Context()); !errors.Is(err, txlock.ErrLost) {
			t.Errorf("got %v", err)
		}
	})
}

type ctxKey struct{}

// A renewal moves the deadline, also while someone watches it.
func TestTrustGoesOnWithRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, _ := newFake(t, granting(nil))
		began := time.Now()
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(10*time.Second)))
		ctx := lease.Context()
		for range 5 {
			time.Sleep(8 * time.Second)
			if err := lease.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		<-ctx.Done()
		if got := time.Since(began); got != 49*time.Second {
			t.Errorf("ended after %v, want 49s", got)
		}
	})
}

func TestTrustEndsWithTheLease(t *testing.T) {
	lost := func(statement string) (reply, bool) {
		return reply{}, statement == "RenewLease" || statement == "ReleaseLease" || statement == "VerifyLease"
	}
	unknown := func(statement string) (reply, bool) {
		return reply{err: mysql.ErrInvalidConn}, statement == "COMMIT"
	}
	for name, c := range map[string]struct {
		answers func(string) (reply, bool)
		end     func(ctx context.Context, lease *txlock.Lease) error
		want    error // of the call
		cause   error
	}{
		"release":          {nil, func(ctx context.Context, le *txlock.Lease) error { return le.Release(ctx) }, nil, context.Canceled},
		"release, lost":    {lost, func(ctx context.Context, le *txlock.Lease) error { return le.Release(ctx) }, txlock.ErrLost, txlock.ErrLost},
		"release, unknown": {unknown, func(ctx context.Context, le *txlock.Lease) error { return le.Release(ctx) }, txlock.ErrCommitUnknown, txlock.ErrLost},
		"renewal, lost":    {lost, func(ctx context.Context, le *txlock.Lease) error { return le.Renew(ctx) }, txlock.ErrLost, txlock.ErrLost},
		"fence, lost":      {lost, func(ctx context.Context, le *txlock.Lease) error { return le.InTx(ctx, nothing) }, txlock.ErrLost, txlock.ErrLost},
		"release, kept": {nil, func(ctx context.Context, le *txlock.Lease) error {
			return errors.Join(le.KeepAlive(ctx), le.Release(ctx))
		}, nil, context.Canceled},
		"Close of the Locker":  {nil, func(ctx context.Context, le *txlock.Lease) error { return nil }, nil, txlock.ErrClosed},
		"nothing, then Close ": {nil, func(ctx context.Context, le *txlock.Lease) error { return nil }, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var armed atomic.Bool
				locker, _ := newFake(t, granting(func(statement string) (reply, bool) {
					if !armed.Load() || c.answers == nil {
						return reply{}, false
					}
					return c.answers(statement)
				}))
				lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key"))
				ctx := lease.Context()
				armed.Store(true)
				if err := c.end(t.Context(), lease); !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Fatalf("got %v, want %v", err, c.want)
				}
				if c.cause == txlock.ErrClosed {
					if err := lease.KeepAlive(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if c.cause == txlock.ErrClosed || c.cause == nil {
					if err := locker.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if c.cause == nil { // it is held, until its deadline
					if ctx.Err() != nil {
						t.Fatal(context.Cause(ctx))
					}
					return
				}
				wantCause(t, ctx, c.cause)
				if c.cause == context.Canceled && errors.Is(context.Cause(ctx), txlock.ErrLost) {
					t.Error("a release is taken for a loss")
				}
			})
		})
	}
}
