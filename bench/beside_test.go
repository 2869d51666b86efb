package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/ground"
	"github.com/gox-helix/gox-helix/bench/measure"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// The test binary is also the holders that are paused.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == workerSubcommand {
		if err := dispatch(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	servertest.Main(m, func() error { return nil })
}

func named(t *testing.T, name string) contender.Contender {
	t.Helper()
	c, err := contender.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// laid is a bench with a ground on a server.
func laid(t *testing.T, s *servertest.Instance) (*bench, contender.Env, *sql.DB) {
	t.Helper()
	e := contender.Env{MySQL: s.Config(), TTL: 300 * time.Millisecond}
	e.MySQL.DBName = s.EmptyDatabase(t)
	db, err := open(e.MySQL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := ground.Lay(t.Context(), db, 1000); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"handover", pausedKey} {
		if _, err := db.ExecContext(t.Context(), "INSERT INTO mutexes VALUES (?)", key); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{pausedTTL: 400 * time.Millisecond, handovers: 6, holdLong: time.Second}
	e.Dial = b.wire.Dial
	return b, e, db
}

// A lease that is checked by the clock alone loses what a holder writes that was
// paused; a lock in the transaction does not.
func TestPausedHolders(t *testing.T) {
	for name, loses := range map[string]bool{"lease table by hand": true, "Do": false} {
		t.Run(name, func(t *testing.T) {
			servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
				b, e, db := laid(t, s)
				p, err := b.pause(t.Context(), named(t, name), e, db)
				if err != nil {
					t.Fatal(err)
				}
				if p.Acknowledged == 0 || p.Committed < p.Acknowledged || p.Lost >= holders != loses || p.Lost > 0 != loses {
					t.Errorf("%+v", p)
				}
			})
		})
	}
}

func TestHandOver(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		b, e, _ := laid(t, s)
		for _, name := range []string{"SELECT ... FOR UPDATE", "lease table by hand"} {
			h, err := b.handOver(t.Context(), named(t, name), e, 2)
			if err != nil {
				t.Fatal(err)
			}
			asks := name == "lease table by hand" // all the time; the other one waits in the server
			if h.Took.Median <= 0 || h.Took.Median >= float64(b.holdLong.Milliseconds()) || h.Questions > 10 != asks {
				t.Errorf("%+v", h)
			}
		}
	})
}

// Each renews what it holds: after three times the TTL nothing is lost, and what was
// counted is what that takes.
func TestHeldKeys(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		b, e, db := laid(t, s)
		m := &measure.Meter{Wire: &b.wire, Database: db}
		const keys = 20
		for name, perTTL := range map[string][2]int64{
			"unprotected":         {0, 0},
			"GET_LOCK":            {0, 0},
			"lease table by hand": {2 * keys, 4*keys + 10}, // three times, on a machine that is not busy; and what connections take
			"lease around it":     {2, 20},                 // together
		} {
			// A busy machine renews late, or too late: then less so in a longer TTL.
			for e := e; ; e.TTL *= 3 {
				h, err := b.hold(t.Context(), named(t, name), e, m, keys)
				late := errors.Is(err, txlock.ErrLost) || errors.Is(err, contender.ErrLost)
				if err != nil && !late {
					t.Fatal(err)
				}
				n := h.Counts.Traffic.Trips
				if !late && n >= perTTL[0] && n <= perTTL[1] {
					break
				}
				if e.TTL > 10*time.Second {
					t.Errorf("%s: %d round trips in a TTL, want %v, %v", name, n, perTTL, err)
					break
				}
				wait(t.Context(), e.TTL) // until nobody has the keys
			}
		}
	})
}

// A holder that lost one of its keys says so.
func TestHeldKeyLost(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		_, e, db := laid(t, s)
		held, err := named(t, "lease table by hand").Hold(t.Context(), e, 5)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "UPDATE leases SET owner = 'another' WHERE name = 'many:3'"); err != nil {
			t.Fatal(err)
		}
		wait(t.Context(), 5*e.TTL) // the first renewal says so, however busy the machine
		if err := held.Close(); err == nil || !strings.Contains(err.Error(), contender.ErrLost.Error()) {
			t.Errorf("got %v", err)
		}
	})
}

// The locks of Do are those of a locking read by hand, on another table.
func TestRowLocks(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		if s.Engine != "mysql" {
			return // it has no such table
		}
		b, e, db := laid(t, s)
		for name, want := range map[string]string{
			"unprotected":           "none",
			"SELECT ... FOR UPDATE": "mutexes IX; mutexes X,REC_NOT_GAP",
			"Do":                    "helix_locks IX; helix_locks X,REC_NOT_GAP",
		} {
			got, err := b.rowLocks(t.Context(), named(t, name), e, db)
			if err != nil {
				t.Fatal(err)
			}
			if got.Locks != want {
				t.Errorf("%s: %s, want %s", name, got.Locks, want)
			}
		}
	})
}

// Where the binary log is on, what a transaction writes into it is counted; and
// counting it is in no other counter.
func TestBinaryLog(t *testing.T) {
	servertest.SideBySide(t, func(t *testing.T, s *servertest.Instance) {
		for _, arg := range []string{"--log-bin=binlog", "--skip-log-bin"} {
			b, e, db := laid(t, s.Fresh(t, arg))
			lock, err := named(t, "unprotected").Open(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			m := &measure.Meter{Wire: &b.wire, Database: db}
			before, err := m.Now(t.Context())
			if err == nil {
				err = lock.Do(t.Context(), 0, ground.Key(0), ground.Transfer(0, 1000))
			}
			var counts measure.Counts
			if err == nil {
				counts, err = m.Since(t.Context(), before)
			}
			if err := errors.Join(err, lock.Close()); err != nil {
				t.Fatal(err)
			}
			if n := counts.Status.BinaryLog; n > 0 != (arg == "--log-bin=binlog") || n > 10000 {
				t.Errorf("%s: %d bytes", arg, n)
			}
			if n := counts.Status.Statements; n < 6 || n > 8 { // of the transaction, and what its connection took
				t.Errorf("%s: %d statements", arg, n)
			}
		}
	})
}
