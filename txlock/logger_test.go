package txlock_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
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

// logBook keeps log lines, without their time and duration.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) at(level slog.Level) txlock.Option {
	return txlock.WithLogger(slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration" {
				return slog.Attr{}
			}
			return a
		},
	})))
}

// lines returns what was logged since it was last asked.
func (b *logBook) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := strings.TrimSuffix(b.buf.String(), "\n")
	b.buf.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// wants fails the test unless these lines begin like this.
func (b *logBook) wants(t *testing.T, want ...string) {
	t.Helper()
	got := b.lines()
	if len(got) != len(want) || !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("logged\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestNilLoggerIsRefused(t *testing.T) {
	m := newMocked(t)
	_, err := txlock.New(m.db, txlock.WithLogger(nil))
	var invalid *txlock.InvalidError
	if !errors.As(err, &invalid) || !errors.Is(err, txlock.ErrInvalidArgument) || !strings.Contains(err.Error(), "WithLogger") {
		t.Errorf("got %v", err)
	}
}

// What goes well, or is the caller's to handle, is logged at the debug level, and
// only there.
func TestLogsOfALease(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		synctest.Test(t, func(t *testing.T) {
			var book logBook
			locker, _ := newFake(t, standing(nil), book.at(level), txlock.WithOwner("me"))
			want := func(lines ...string) {
				t.Helper()
				if level > slog.LevelDebug {
					lines = nil
				}
				book.wants(t, lines...)
			}
			lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "a key", txlock.TTL(30*time.Second)))
			want(`level=DEBUG msg="txlock: acquire" key="a key" owner=me epoch=7 attempts=1 ttl=30s`)
			if err := lease.KeepAlive(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10*time.Second + time.Millisecond)
			want(`level=DEBUG msg="txlock: heartbeat" owner=me keys=1 attempts=1 ttl=30s`)
			if err := lease.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			want(`level=DEBUG msg="txlock: hold" key="a key" owner=me epoch=7 ttl=30s`,
				`level=DEBUG msg="txlock: release" key="a key" owner=me epoch=7 attempts=1`)
			if err := lease.Release(t.Context()); err != nil { // the fake says so
				t.Fatal(err)
			}
			book.lines()
			_ = locker.Do(t.Context(), "b", nothing)
			want(`level=DEBUG msg="txlock: lock" key=b owner=me`, `level=DEBUG msg="txlock: do" key=b owner=me`)
		})
	}
}

func TestRefusalIsLoggedAtDebug(t *testing.T) {
	var book logBook
	locker, _ := newFake(t, standing(func(statement string) (reply, bool) {
		return reply{insertID: -time.Hour.Microseconds()}, statement == "AcquireLease"
	}), book.at(slog.LevelDebug), txlock.WithOwner("me"))
	_, err := locker.TryAcquire(t.Context(), "key")
	if !errors.Is(err, txlock.ErrHeld) {
		t.Fatal(err)
	}
	book.wants(t, `level=DEBUG msg="txlock: acquire" key=key owner=me attempts=1 ttl=30s err="txlock: key \"key\" is held for another 1h0m0s`)
}

// Keys and owners can be any bytes, and the log stays text.
func TestKeysAreLoggedPrintably(t *testing.T) {
	var book logBook
	for key, want := range map[string]string{
		"größe":    "key=größe ",
		"a b":      `key="a b" `,
		"\xff\x00": `key="\"\\xff\\x00\"" `,
		`say "hi"`: `key="\"say \\\"hi\\\"\"" `,
		"a\nb":     `key="\"a\\nb\"" `,
	} {
		locker, _ := newFake(t, standing(nil), book.at(slog.LevelDebug), txlock.WithOwner("o\xfe"))
		must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), key))
		if got := strings.Join(book.lines(), "\n"); !strings.Contains(got, want) || !strings.Contains(got, `owner="\"o\\xfe\""`) || strings.Contains(got, "\n") {
			t.Errorf("logged %s, want %s", got, want)
		}
	}
}

// A heartbeat that fails is logged each time; the loss it leads to once, as the
// cause of the lease's context.
func TestFailedHeartbeatsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var book logBook
		var down atomic.Bool
		locker, _ := newFake(t, standing(func(statement string) (reply, bool) {
			return reply{err: errors.New("down")}, down.Load() && statement == "BEGIN"
		}), book.at(slog.LevelInfo), txlock.WithOwner("me"))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key", txlock.TTL(30*time.Second)))
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		down.Store(true)
		<-lease.Context().Done()
		synctest.Wait()
		lines := book.lines()
		last := len(lines) - 1
		if last < 2 {
			t.Fatalf("logged %q", lines)
		}
		for _, line := range lines[:last] {
			if !strings.HasPrefix(line, `level=WARN msg="txlock: heartbeat failed" owner=me keys=1`) || !strings.Contains(line, "down") {
				t.Error(line)
			}
		}
		if line := lines[last]; !strings.HasPrefix(line, `level=ERROR msg="txlock: lease is lost" key=key owner=me epoch=7 err=`) || !strings.Contains(line, "down") {
			t.Error(line)
		}
		wantCause(t, lease.Context(), txlock.ErrLost)
	})
}

// A heartbeat is late when its predecessors have kept the connections for long.
func TestLateHeartbeatIsLogged(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var book logBook
			var slow atomic.Int32 // so many transactions are slow to begin
			locker, _ := newFake(t, standing(func(statement string) (reply, bool) {
				if statement == "BEGIN" && slow.Add(-1) >= 0 {
					time.Sleep(16 * time.Second)
				}
				return reply{}, false
			}), book.at(slog.LevelInfo), txlock.WithOwner("me"))
			// Leases of four TTLs keep the four connections, and that of a fifth waits.
			for i, ttl := range []time.Duration{60 * time.Second, 61 * time.Second, 62 * time.Second, 63 * time.Second, 64 * time.Second} {
				lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), strings.Repeat("k", i+1), txlock.TTL(ttl)))
				if err := lease.KeepAlive(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if late {
				slow.Store(4)
			}
			time.Sleep(41 * time.Second)
			synctest.Wait()
			got := strings.Join(book.lines(), "\n")
			if logged := strings.Contains(got, `level=WARN msg="txlock: heartbeat came late" owner=me keys=1 attempts=1 ttl=1m4s late=1`); logged != late {
				t.Errorf("logged %s", got)
			}
		})
	}
}

// Releases are often deferred and their errors dropped, so a failure is a warning.
func TestFailedReleaseIsLogged(t *testing.T) {
	var book logBook
	down := false
	locker, _ := newFake(t, standing(func(statement string) (reply, bool) {
		return reply{err: mysql.ErrInvalidConn}, down && statement == "COMMIT"
	}), book.at(slog.LevelInfo), txlock.WithOwner("me"))
	lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key"))
	down = true
	if err := lease.Release(t.Context()); !errors.Is(err, txlock.ErrCommitUnknown) {
		t.Fatal(err)
	}
	book.wants(t, `level=WARN msg="txlock: release failed" key=key owner=me epoch=7 attempts=1 err=`)
}

func TestCloseOfALockerThatKeepsIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var book logBook
		locker, _ := newFake(t, standing(nil), book.at(slog.LevelInfo), txlock.WithOwner("me"))
		lease := must[*txlock.Lease](t)(locker.TryAcquire(t.Context(), "key"))
		if err := lease.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := locker.Close(); err != nil {
			t.Fatal(err)
		}
		book.wants(t, `level=WARN msg="txlock: lease is not kept any more" key=key owner=me epoch=7 ttl=30s err=`)
		wantCause(t, lease.Context(), txlock.ErrClosed)
	})
}

// A lease that Run loses is logged once, and returned.
func TestLostLeaseOfRunIsLoggedOnce(t *testing.T) {
	onServers(t, func(l *live) {
		var book logBook
		locker := l.locker(l.db, book.at(slog.LevelInfo))
		err := locker.Run(l.Context(), l.key, func(ctx context.Context, lease *txlock.Lease) error {
			l.must(l.Revoke(l.Context(), l.key))
			<-ctx.Done()
			if err := lease.InTx(l.Context(), nothing); !errors.Is(err, txlock.ErrLost) {
				l.Errorf("fenced: %v", err)
			}
			return context.Cause(ctx)
		}, txlock.TTL(2*time.Second))
		l.wants(err, txlock.ErrLost)
		lines := slices.DeleteFunc(book.lines(), func(line string) bool { // of a slow server
			return strings.HasPrefix(line, `level=WARN msg="txlock: heartbeat `)
		})
		if len(lines) != 1 || !strings.HasPrefix(lines[0], `level=ERROR msg="txlock: lease is lost" key=`+l.key+` `) {
			l.Errorf("logged\n%s", strings.Join(lines, "\n"))
		}
	})
}

// What operators do is logged when it is done.
func TestOperatorsAreLogged(t *testing.T) {
	onServers(t, func(l *live) {
		l = l.alone()
		ctx := l.Context()
		var book logBook
		locker := l.locker(l.db, book.at(slog.LevelInfo), txlock.WithOwner("me"))
		l.try(l.Locker)
		l.wants(locker.Retire(ctx, l.key), txlock.ErrHeld)
		l.must(locker.Revoke(ctx, l.key))
		l.must(locker.Retire(ctx, l.key))
		for range 2 { // the second purge finds nothing
			_, err := locker.Purge(ctx, txlock.PurgeOptions{})
			l.must(err)
		}
		book.wants(l.T,
			`level=INFO msg="txlock: revoke" key=`+l.key+" owner=me ",
			`level=INFO msg="txlock: retire" key=`+l.key+" owner=me ",
			`level=INFO msg="txlock: purge" owner=me attempts=1 purged=1`)
	})
}
