package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

var levels = []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}

// keyStates are what a key can be when it is locked; each is free for a lock, or held.
var keyStates = map[string]struct {
	make   func(l *live)
	held   bool
	writes bool // the lock writes the row
}{
	"known":   {make: func(l *live) { l.must(l.Do(l.Context(), l.key, nothing)) }},
	"fresh":   {make: func(*live) {}, writes: true},
	"held":    {make: func(l *live) { l.try(l.locker(l.db)) }, held: true},
	"expired": {make: func(l *live) { l.try(l.locker(l.db)); l.expire() }, writes: true},
	"retired": {make: func(l *live) { l.must(l.Do(l.Context(), l.key, nothing)); l.must(l.Retire(l.Context(), l.key)) }},
	"purged": {make: func(l *live) {
		for range 2 {
			l.must(l.Do(l.Context(), l.key, nothing))
		}
		l.exec(`DELETE FROM helix_locks WHERE lock_key = ?`, l.key)
	}, writes: true},
}

// In every isolation level, whatever the key is, known to the Locker or not: a lock holds
// off locks and leases until its transaction ends, and the row is changed only where it
// must be.
func TestLockOfEveryKind(t *testing.T) {
	for state, c := range keyStates {
		for _, level := range levels {
			for how, opts := range map[string][]txlock.AcquireOption{"": nil, " no wait": {txlock.NoWait()}, " shared": {txlock.Shared()}} {
				t.Run(state+"/"+strings.ReplaceAll(level.String(), " ", "")+how, func(t *testing.T) {
					onServers(t, func(l *live) {
						ctx := l.Context()
						c.make(l)
						before := l.row()
						for _, locker := range []*txlock.Locker{l.Locker, l.locker(l.db)} {
							tx := l.begin(&sql.TxOptions{Isolation: level})
							err := locker.LockTx(ctx, tx, l.key, opts...)
							if state == "purged" && how != "" && errors.Is(err, txlock.ErrBusy) {
								// Once, as it knew the key. What is not there is locked by then.
								l.must(tx.Rollback())
								tx = l.begin(&sql.TxOptions{Isolation: level})
								err = locker.LockTx(ctx, tx, l.key, opts...)
							}
							if c.held {
								var held *txlock.HeldError
								if !errors.As(err, &held) || held.RetryAfter > txlock.DefaultTTL || held.RetryAfter < txlock.DefaultTTL/2 {
									l.Fatalf("got %v", err)
								}
								l.must(tx.Rollback())
								continue
							}
							l.must(err)
							rival := l.locker(l.db)
							l.must(l.waits(func() error {
								return rival.Do(ctx, l.key, nothing)
							}, func() { l.bump(tx); l.must(tx.Commit()) }))
						}
						if after := l.row(); after != before && !c.writes {
							l.Errorf("the row was %+v, is %+v", before, after)
						}
					})
				})
			}
		}
	}
}

// A lock of an expired lease must write: else the late holder's fence would pass behind it.
func TestLockFencesALateHolder(t *testing.T) {
	for _, opts := range [][]txlock.AcquireOption{nil, {txlock.NoWait()}, {txlock.Shared()}, {txlock.NewEpoch()}} {
		onServers(t, func(l *live) {
			for _, known := range []bool{false, true} {
				locker := l.locker(l.db)
				lease := l.try(l.Locker)
				l.expire()
				if known {
					l.must(lease.Release(l.Context()))
					for range 2 {
						l.must(locker.Do(l.Context(), l.key, nothing))
					}
					lease = l.try(l.Locker)
					l.expire()
				}
				l.must(locker.Do(l.Context(), l.key, nothing, opts...))
				l.wants(lease.InTx(l.Context(), nothing), txlock.ErrLost)
				l.wants(lease.Renew(l.Context()), txlock.ErrLost)
			}
		})
	}
}

// What wants a server that no other test uses.
func TestLocksOnAServerOfTheirOwn(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		fresh := s.Fresh(t, "--log-bin=log", "--server-id=1", "--binlog-format=ROW")
		t.Run("writes nothing", func(t *testing.T) { newLive(t, fresh).locksWriteNothing() })
		t.Run("read-only", func(t *testing.T) { newLive(t, fresh).locksAreRefusedOnAReadOnlyServer() })
	})
}

// A lock that ends with its transaction writes nothing, by the server's own counters: no
// row, and nothing in the binary log.
func (l *live) locksWriteNothing() {
	ctx := l.Context()
	for name, opts := range map[string][]txlock.AcquireOption{"exclusive": nil, "no wait": {txlock.NoWait()}, "shared": {txlock.Shared()}} {
		for _, locker := range []*txlock.Locker{l.locker(l.db), l.locker(l.db)} { // the second one does not know the key
			l.must(locker.Do(ctx, l.key+"/another", nothing)) // the look at the server
			if name == "exclusive" {
				l.must(l.Do(ctx, l.key, nothing)) // makes the row
			}
			tx := l.begin()
			before := l.counters(tx)
			l.must(locker.LockTx(ctx, tx, l.key, opts...))
			after := l.counters(tx)
			l.must(tx.Commit())
			for _, counter := range []string{"Handler_write", "Handler_update", "Handler_delete"} {
				// An INSERT that meets the row counts as an attempt to write, and so does the
				// temporary table that it reads from.
				if n := after[counter] - before[counter]; n > 2 || n > 0 && counter != "Handler_write" {
					l.Errorf("%s: %s rose by %d", name, counter, n)
				}
			}
			position := l.binlog()
			for range 20 {
				l.must(locker.Do(ctx, l.key, nothing, opts...))
			}
			if after := l.binlog(); after != position {
				l.Errorf("%s: the binary log went from %s to %s", name, position, after)
			}
		}
	}
	if e := l.epoch(); e != 0 {
		l.Errorf("epoch %d", e)
	}
}

// binlog is where the server's binary log ends.
func (l *live) binlog() (end string) {
	l.Helper()
	rows, err := l.db.QueryContext(l.Context(), `SHOW BINARY LOGS`)
	l.must(err)
	defer func() { l.must(rows.Close()) }()
	columns, err := rows.Columns()
	l.must(err)
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		l.must(rows.Scan(into...))
		end = values[0].String + ":" + values[1].String
	}
	l.must(rows.Err())
	return end
}

// NewEpoch raises the epoch, which the function is told; without it there is none.
func TestNewEpoch(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		var last int64
		for i := range 4 { // fresh, there, and known
			l.must(l.Do(ctx, l.key, func(ctx context.Context, _ *sql.Tx) error {
				epoch, ok := txlock.EpochFromContext(ctx)
				if !ok || epoch <= last {
					l.Errorf("epoch %d, %t after %d", epoch, ok, last)
				}
				last = epoch
				return l.Do(ctx, l.key+"/inner", func(ctx context.Context, _ *sql.Tx) error {
					if epoch, ok := txlock.EpochFromContext(ctx); ok {
						l.Errorf("epoch %d of a lock that has none", epoch)
					}
					return nil
				})
			}, txlock.NewEpoch()))
			if e := l.epoch(); e != last {
				l.Errorf("round %d: the row's epoch is %d, want %d", i, e, last)
			}
			l.must(l.Do(ctx, l.key, nothing))
		}
		if e := l.try(l.Locker).Epoch(); e != last+1 {
			l.Errorf("a lease has epoch %d after %d", e, last)
		}
	})
}

// Sharers run side by side; they hold off whoever wants the key alone, and are held off.
func TestShared(t *testing.T) {
	for _, level := range levels {
		t.Run(strings.ReplaceAll(level.String(), " ", ""), func(t *testing.T) {
			onServers(t, func(l *live) {
				ctx := l.Context()
				sharers := l.locker(l.db, txlock.WithTxOptions(sql.TxOptions{Isolation: level}))
				// Each waits, in its transaction, for all to have the lock.
				const n = 5
				all, cancel := context.WithTimeout(ctx, time.Minute)
				var having atomic.Int32
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() {
						err := sharers.Do(ctx, l.key, func(context.Context, *sql.Tx) error {
							if having.Add(1) == n {
								cancel()
							}
							<-all.Done()
							return nil
						}, txlock.Shared())
						if err != nil {
							cancel()
							l.Error(err)
						}
					})
				}
				wg.Wait()
				cancel()
				if having.Load() != n {
					l.Errorf("%d of %d have the lock at once", having.Load(), n)
				}

				rival := l.locker(l.db)
				for what, alone := range map[string]func() error{
					"lock":  func() error { return rival.Do(ctx, l.key, nothing) },
					"lease": func() error { lease, err := rival.TryAcquire(ctx, l.key); return errors.Join(err, lease.Release(ctx)) },
				} {
					tx := l.begin(&sql.TxOptions{Isolation: level})
					l.must(sharers.LockTx(ctx, tx, l.key, txlock.Shared()))
					l.wants(rival.Do(ctx, l.key, nothing, txlock.NoWait()), txlock.ErrBusy)
					if err := l.waits(alone, func() { l.must(tx.Commit()) }); err != nil {
						l.Errorf("%s: %v", what, err)
					}
				}
				tx := l.begin()
				l.must(rival.LockTx(ctx, tx, l.key))
				l.must(l.waits(func() error { return sharers.Do(ctx, l.key, nothing, txlock.Shared()) }, func() { l.must(tx.Commit()) }))
			})
		})
	}
}

// A reader under the shared lock sees no write of those that have the key alone.
func TestSharedReadsStandStill(t *testing.T) {
	const rounds = 50
	onServers(t, func(l *live) {
		ctx := l.Context()
		locker := l.locker(l.db, txlock.WithTxOptions(sql.TxOptions{Isolation: sql.LevelReadCommitted}))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range rounds {
					if err := locker.Do(ctx, l.key, func(_ context.Context, tx *sql.Tx) error {
						if first, second := l.counter(tx), l.counter(tx); first != second {
							return errors.New("read " + strconv.FormatInt(first, 10) + ", then " + strconv.FormatInt(second, 10))
						}
						return nil
					}, txlock.Shared()); err != nil {
						l.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			for range rounds {
				if err := locker.Do(ctx, l.key, func(_ context.Context, tx *sql.Tx) error { l.bump(tx); return nil }); err != nil {
					l.Error(err)
				}
			}
		})
		wg.Wait()
	})
}

// A shared lock is refused where it would protect nothing.
func TestSharedIsRefused(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		invalid := func(what string, locker *txlock.Locker, opts ...txlock.AcquireOption) {
			l.Helper()
			if err := locker.Do(ctx, l.key, nothing, append(opts, txlock.Shared())...); !errors.Is(err, txlock.ErrInvalidArgument) || !strings.Contains(err.Error(), "Shared()") {
				l.Errorf("%s: got %v", what, err)
			}
		}
		invalid("multi-writer", l.locker(l.db, txlock.WithMultiWriter()))
		invalid("with NewEpoch", l.Locker, txlock.NewEpoch())
		invalid("with NoWait", l.Locker, txlock.NoWait())
		_, err := l.TryAcquire(ctx, l.key, txlock.Shared())
		l.wants(err, txlock.ErrInvalidArgument)
		_, err = l.TryAcquire(ctx, l.key, txlock.NewEpoch())
		l.wants(err, txlock.ErrInvalidArgument)

		for range 2 {
			tx := l.begin(&sql.TxOptions{ReadOnly: true})
			if err := l.LockTx(ctx, tx, l.key, txlock.Shared()); err == nil || !strings.Contains(err.Error(), "the transaction is read-only") {
				l.Errorf("in a read-only transaction: got %v", err)
			}
			l.must(tx.Rollback())
			l.must(l.Do(ctx, l.key, nothing, txlock.Shared()))
		}
	})
}

// On a read-only server, too, where an administrator's statements are not refused.
func (l *live) locksAreRefusedOnAReadOnlyServer() {
	ctx := l.Context()
	for range 3 {
		l.must(l.Do(ctx, l.key, nothing)) // known
	}
	l.exec(`SET GLOBAL read_only = 1`)
	if err := l.Do(ctx, l.key, nothing, txlock.Shared()); err == nil || !strings.Contains(err.Error(), "takes no writes") {
		l.Errorf("an administrator got %v", err)
	}
	l.exec(`SET GLOBAL read_only = 0`)
	l.must(l.Do(ctx, l.key, nothing, txlock.Shared()))
}

// A fence, too, holds off a lock, and is held off.
func TestLockWaitsForFences(t *testing.T) {
	onServers(t, func(l *live) {
		ctx := l.Context()
		lease := l.try(l.Locker)
		tx := l.begin()
		l.expire()
		l.must(lease.VerifyTx(ctx, tx))
		rival := l.locker(l.db)
		l.must(l.waits(func() error { return rival.Do(ctx, l.key, nothing) }, func() { l.must(tx.Commit()) }))
		l.wants(lease.InTx(ctx, nothing), txlock.ErrLost)
	})
}
