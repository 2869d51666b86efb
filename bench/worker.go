package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/measure"
)

// workerSubcommand is how the program is called to be a holder that is paused.
const workerSubcommand = "worker"

// holderConfig says what a holder does. It comes by pipe.
type holderConfig struct {
	Contender, DSN            string
	Redis, DurableRedis, Etcd string
	TTL                       time.Duration
}

// message is what a holder says: that it has read the counter, or what it has done
// when it ends.
type message struct {
	Tally *tally `json:",omitempty"`
}

type tally struct{ Acknowledged, Refused int64 }

const pausedKey = "paused"

// runWorker increments a counter by reading and writing it, under the lock, until its
// input ends. Then it says how often.
func runWorker(ctx context.Context, in io.Reader, out io.Writer) error {
	input := json.NewDecoder(in)
	var c holderConfig
	if err := input.Decode(&c); err != nil {
		return fmt.Errorf("a holder's configuration: %w", err)
	}
	config, err := mysql.ParseDSN(c.DSN)
	if err != nil {
		return err
	}
	named, err := contender.Named(c.Contender)
	if err != nil {
		return err
	}
	var wire measure.Wire
	lock, err := named.Open(ctx, contender.Env{MySQL: config, Redis: c.Redis, DurableRedis: c.DurableRedis, Etcd: c.Etcd, TTL: c.TTL, Dial: wire.Dial})
	if err != nil {
		return err
	}
	var stopped atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, in)
		stopped.Store(true)
	}()
	messages := json.NewEncoder(out)
	business := func(ctx context.Context, tx *sql.Tx) error {
		return increment(ctx, tx, func() error { return messages.Encode(message{}) })
	}
	var t tally
	for !stopped.Load() {
		err := lock.Do(ctx, 0, pausedKey, business)
		var refused *mysql.MySQLError
		switch {
		case err == nil:
			t.Acknowledged++
		case errors.As(err, &refused) && refused.Number != 1205:
			return errors.Join(err, lock.Close())
		default:
			t.Refused++ // late, and told so
		}
		time.Sleep(rests) // so that others come in
	}
	return errors.Join(messages.Encode(message{&t}), lock.Close())
}

// increment reads the counter, says that it has, thinks, writes it, and enters that in
// the ledger.
func increment(ctx context.Context, tx *sql.Tx, read func() error) error {
	var n int64
	if err := tx.QueryRowContext(ctx, "SELECT cents FROM accounts WHERE id = 0").Scan(&n); err != nil {
		return err
	}
	if err := read(); err != nil {
		return err
	}
	time.Sleep(thinks)
	if _, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = ? WHERE id = 0", n+1); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO ledger (debit, credit, cents) VALUES (0, 0, 1)")
	return err
}

// paused is what came of holders that were paused.
type paused struct {
	Contender             string
	Acknowledged, Refused int64
	Committed             int64 // by the ledger
	Lost                  int64 // committed, and not in the counter
}

const (
	holders = 3
	thinks  = 10 * time.Millisecond
	rests   = 60 * time.Millisecond
)

// pause lets several processes count under a lock, and pauses one after the other for
// twice the TTL, in the middle of its business.
func (b *bench) pause(ctx context.Context, c contender.Contender, e contender.Env, db *sql.DB) (p paused, err error) {
	p.Contender = c.Name
	for _, query := range []string{"UPDATE accounts SET cents = 0 WHERE id = 0", "DELETE FROM ledger", "INSERT IGNORE INTO mutexes VALUES ('" + pausedKey + "')"} {
		if _, err := db.ExecContext(ctx, query); err != nil {
			return p, err
		}
	}
	program, err := os.Executable()
	if err != nil {
		return p, err
	}
	config := holderConfig{Contender: c.Name, DSN: e.MySQL.FormatDSN(), Redis: e.Redis, DurableRedis: e.DurableRedis, Etcd: e.Etcd, TTL: b.pausedTTL}
	var all sync.WaitGroup
	var mu sync.Mutex
	var ended error // of holders
	type holder struct {
		cmd     *exec.Cmd
		in      io.WriteCloser
		entered chan struct{} // it is in its business
	}
	var running []holder
	end := func() {
		for _, h := range running {
			_ = h.in.Close()
		}
		all.Wait()
	}
	defer end() // also where one could not be started
	for range holders {
		cmd := exec.CommandContext(ctx, program, workerSubcommand)
		cmd.Stderr = os.Stderr
		in, inErr := cmd.StdinPipe()
		out, outErr := cmd.StdoutPipe()
		if err := errors.Join(inErr, outErr); err != nil {
			return p, err
		}
		if err := cmd.Start(); err != nil {
			return p, err
		}
		entered := make(chan struct{})
		all.Go(func() {
			var t tally
			decodeErr := follow(out, entered, &t)
			waitErr := cmd.Wait()
			mu.Lock()
			defer mu.Unlock()
			p.Acknowledged += t.Acknowledged
			p.Refused += t.Refused
			if decodeErr != nil || waitErr != nil {
				ended = errors.Join(ended, fmt.Errorf("%s: a holder: %w", c.Name, errors.Join(decodeErr, waitErr)))
			}
		})
		running = append(running, holder{cmd, in, entered})
		if err := json.NewEncoder(in).Encode(config); err != nil {
			return p, err
		}
	}
	wait(ctx, b.pausedTTL/2)
	for _, h := range running {
		select {
		case <-h.entered:
		case <-time.After(2 * b.pausedTTL): // it does not get the key, or has ended
		}
		_ = h.cmd.Process.Signal(syscall.SIGSTOP) // or it has ended, and says why
		wait(ctx, 2*b.pausedTTL)
		_ = h.cmd.Process.Signal(syscall.SIGCONT)
		wait(ctx, b.pausedTTL/4)
	}
	end()
	if ended != nil {
		return p, ended
	}
	var n int64
	if err := db.QueryRowContext(ctx, "SELECT cents, (SELECT COUNT(*) FROM ledger) FROM accounts WHERE id = 0").Scan(&n, &p.Committed); err != nil {
		return p, err
	}
	p.Lost = p.Committed - n
	return p, nil
}

// follow reads what a holder says, until its tally.
func follow(out io.Reader, entered chan<- struct{}, t *tally) error {
	for messages := json.NewDecoder(out); ; {
		var m message
		if err := messages.Decode(&m); err != nil {
			return err
		}
		if m.Tally != nil {
			*t = *m.Tally
			return nil
		}
		select {
		case entered <- struct{}{}: // somebody waits for that
		default:
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
