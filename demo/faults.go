package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// fault is something that is done to a worker when the run has come so far.
type fault struct {
	percent int
	stop    stop // where the worker is then
	pause   bool // else kill
}

// planFaults returns the kills, spread over the run, and the pause. They are
// plans of their own, so that the kills go on while a worker is paused.
func planFaults(kills int, pause, unprotect bool) [][]fault {
	const first, last = 10, 75
	plans := [][]fault{nil, nil}
	for i := range kills {
		plans[0] = append(plans[0], fault{percent: first + (last-first)*i/max(kills-1, 1), stop: stopHalfWritten})
	}
	if pause {
		f := fault{percent: 25, stop: stopBeforeTx, pause: true}
		if unprotect {
			f.stop = stopBeforeWrite
		}
		plans[1] = append(plans[1], f)
	}
	return plans
}

// saboteur does the faults to the fleet.
type saboteur struct {
	fleet  *fleet
	db     *sql.DB
	ttl    time.Duration
	say    func(format string, args ...any)
	posted *atomic.Int64
	total  int

	counts faultCounts

	mu        sync.Mutex
	abandoned map[int]abandoned // by chunk
}

// abandoned is a chunk whose worker was killed or paused.
type abandoned struct {
	worker string
	at     time.Time
}

// run follows the plans, side by side. It ends without error when the work is
// done before they are.
func (s *saboteur) run(ctx context.Context, plans [][]fault) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, plan := range plans {
		wg.Go(func() {
			if err := s.follow(ctx, plan); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (s *saboteur) follow(ctx context.Context, plan []fault) error {
	for _, f := range plan {
		if err := s.waitFor(ctx, f.percent); err != nil {
			return err
		}
		m, ok := s.fleet.victim()
		if !ok {
			s.say("nothing left to %s: no worker works any more", f.verb())
			return nil
		}
		r, ok, err := m.standAt(ctx, f.stop)
		if err != nil {
			return err
		}
		if !ok {
			s.say("worker %s could not be %s: it had finished", m.name, f.participle())
			continue
		}
		s.abandon(r.Chunk, m.name)
		if f.pause {
			err = s.pause(ctx, m, r)
		} else {
			err = s.kill(m, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f fault) verb() string {
	if f.pause {
		return "pause"
	}
	return "kill"
}

func (f fault) participle() string { return map[bool]string{true: "paused", false: "killed"}[f.pause] }

// waitFor waits until so much is posted, or nobody is left to post more.
func (s *saboteur) waitFor(ctx context.Context, percent int) error {
	return poll(ctx, 10*time.Millisecond, func() (bool, error) {
		return s.posted.Load()*100 >= int64(percent*s.total) || !s.fleet.alive(), nil
	})
}

func (s *saboteur) kill(m *member, r report) error {
	if err := m.kill(); err != nil {
		return err
	}
	s.counts.kills++
	s.say("killed worker %s (SIGKILL) with payout %s half written and chunk %d in hand", m.name, r.Payout, r.Chunk)
	next, err := s.fleet.start()
	if err != nil {
		return err
	}
	s.say("started worker %s in its place", next.name)
	return nil
}

// pause stops the worker, waits until others have taken its chunk over and have
// posted the payout that it is about to post, and lets it go on.
func (s *saboteur) pause(ctx context.Context, m *member, r report) error {
	if err := pauseProcess(m.cmd.Process); err != nil {
		return fmt.Errorf("pausing worker %s: %w", m.name, err)
	}
	began := time.Now()
	s.counts.pauses++
	s.say("paused worker %s (SIGSTOP) just before it posts payout %s of chunk %d", m.name, r.Payout, r.Chunk)

	var by string
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		err := s.db.QueryRowContext(ctx, "SELECT worker FROM entries WHERE payout_id = ? AND worker <> ? LIMIT 1", r.Payout, m.name).Scan(&by)
		switch {
		case errors.Is(err, sql.ErrNoRows) && !s.fleet.othersAlive(m):
			return false, fmt.Errorf("no worker is left to take chunk %d over from %s: run with more -workers", r.Chunk, m.name)
		case errors.Is(err, sql.ErrNoRows):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("looking for the takeover of chunk %d: %w", r.Chunk, err)
		}
		return time.Since(began) > s.ttl, nil
	})
	if err != nil {
		return err
	}

	// The order waits in its pipe: the worker cannot read it before it is resumed.
	if err := m.order(order{GoOn: true}); err != nil {
		return err
	}
	if err := resumeProcess(m.cmd.Process); err != nil {
		return fmt.Errorf("resuming worker %s: %w", m.name, err)
	}
	s.say("resumed worker %s (SIGCONT) after %s: worker %s has posted payout %s by now", m.name, seconds(time.Since(began)), by, r.Payout)

	select {
	case w := <-m.wentOn:
		switch {
		case w.Refused != "":
			s.counts.lateRefused++
			s.say("worker %s tried to post it too, and was refused: %s", m.name, w.Refused)
		case w.Posted:
			s.counts.lateWritten++
			s.say("worker %s posted it too: that money is paid twice", m.name)
		default:
			s.say("worker %s looked again and found it posted", m.name)
		}
		return nil
	case <-m.ended:
		return fmt.Errorf("worker %s ended after its pause, without a word on what came of payout %s", m.name, r.Payout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fleet) othersAlive(than *member) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		if m != than && m.alive() {
			return true
		}
	}
	return false
}

func (s *saboteur) abandon(chunk int, worker string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned[chunk] = abandoned{worker: worker, at: time.Now()}
}

// claimed hears of every chunk that a worker has taken.
func (s *saboteur) claimed(m *member, r report) {
	s.mu.Lock()
	a, ok := s.abandoned[r.Chunk]
	delete(s.abandoned, r.Chunk)
	s.mu.Unlock()
	if ok {
		s.say("worker %s took chunk %d over from %s after %s, under epoch %d", m.name, r.Chunk, a.worker, seconds(time.Since(a.at)), r.Epoch)
	}
}

func poll(ctx context.Context, every time.Duration, f func() (bool, error)) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if ok, err := f(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// faultCounts is what was done, and what came of it.
type faultCounts struct {
	kills, pauses int
	lateRefused   int // writes of a resumed worker that were refused
	lateWritten   int // and that were not
}
