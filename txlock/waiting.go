package txlock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Acquire acquires a lease of key, as [Locker.TryAcquire] does, but waits until it
// can, or until ctx ends. With [NoWait] it does not wait, neither for a lease nor
// for a row lock.
//
// It waits on the client: it asks now and then, by a plain read in a transaction
// that ends at once (for a key that it knows, at first by trying to acquire it), and
// acquires without waiting when it has seen that the key is free. It never blocks others. It sleeps for an eighth of the time that it has
// waited, from 10 ms up to the poll interval ([WithPollInterval], 1 s), at random
// between half of that and all; and not beyond what the lease still has. A release
// by the same Locker it notices at once. Waiters for one key in one Locker queue:
// only the first of them asks, and they acquire in the order in which they came
// (those with [Reclaim] have a queue of their own).
// Between processes there is no order.
//
// In a pool whose connections are all in use, as in one of a single connection that
// the caller's own transaction has, it waits for one until ctx ends.
//
// When ctx ends, the error matches ctx.Err() and what was seen last: [ErrHeld], with
// the holder ([HeldError]), or [ErrBusy] where another transaction had the row locked. Otherwise it fails as
// TryAcquire does.
//
// A key that this Locker has seen before, and that is free, is acquired by BEGIN, a
// statement and COMMIT. Else each question is SET TRANSACTION, BEGIN, a statement and
// ROLLBACK; acquiring is SET TRANSACTION, BEGIN, two statements and COMMIT, and some
// more for a key that was never locked before.
func (l *Locker) Acquire(ctx context.Context, key string, opts ...AcquireOption) (*Lease, error) {
	a, err := l.leaseOptions(key, opts)
	if err != nil {
		return nil, err
	}
	return l.acquireOrWait(ctx, key, a)
}

// acquireOrWait is Acquire after validation.
func (l *Locker) acquireOrWait(ctx context.Context, key string, a acquisition) (*Lease, error) {
	if a.noWait {
		return l.observeAcquire(ctx, key, a, false, l.tryAcquire)
	}
	return l.observeAcquire(ctx, key, a, true, l.await)
}

// await queues for key and asks until it is free.
func (l *Locker) await(ctx context.Context, key string, a acquisition) (_ *Lease, attempts int, _ error) {
	began := time.Now()
	place := l.waiters.join(turn{key, a.reclaim})
	defer place.leave()
	var last error
	giveUp := func() error {
		if last == nil {
			return fmt.Errorf("txlock: acquire %q: gave up after %v: %w", key, time.Since(began), ctx.Err())
		}
		return fmt.Errorf("txlock: acquire %q: gave up after %v: %w: %w", key, time.Since(began), ctx.Err(), last)
	}
	select {
	case <-place.first:
	case <-ctx.Done():
		last = place.queue.lastHeld()
		return nil, attempts, giveUp()
	case <-l.keeper.ctx.Done():
		return nil, attempts, closedError("acquire", key)
	}
	for {
		attempts++
		acquire := l.acquireIfFree
		if attempts == 1 && l.known.has(key) {
			acquire = l.acquireAtOnce // which is shorter, if it is free
		}
		lease, err := acquire(ctx, key, a)
		var held *HeldError
		pause := time.Duration(0)
		switch {
		case err == nil:
			return lease, attempts, nil
		case errors.Is(err, errFresh):
			if err := l.ensure(ctx, "acquire", key); err != nil && !errors.Is(err, ErrBusy) {
				return nil, attempts, err
			}
			if attempts == 1 {
				continue
			}
		case errors.As(err, &held):
			last = held
			place.queue.setHeld(held)
			pause = held.RetryAfter
		case errors.Is(err, ErrBusy): // somebody is at it
			last = err
		case errors.Is(err, ErrCommitUnknown):
			return nil, attempts, err
		case ctx.Err() != nil:
			return nil, attempts, giveUp()
		default:
			return nil, attempts, err
		}
		if !l.sleep(ctx, place.wake, l.pollDelay(time.Since(began), pause)) {
			return nil, attempts, giveUp()
		}
	}
}

// pollDelay is how long to sleep before asking again, after having waited for so
// long, for a lease that has so long to live (zero: nobody knows).
func (l *Locker) pollDelay(waited, remaining time.Duration) time.Duration {
	const least = 10 * time.Millisecond
	window := min(max(waited/8, least), l.poll)
	delay := window/2 + rand.N(window/2+1)
	if remaining > 0 && remaining < delay {
		// Just after its end, and not all at once.
		delay = remaining + rand.N(min(remaining/8, 100*time.Millisecond)+time.Millisecond)
	}
	return delay
}

// sleep reports false when ctx has ended. It ends early when it is woken, or the
// Locker closed.
func (l *Locker) sleep(ctx context.Context, wake <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-l.keeper.ctx.Done():
	case <-wake:
	case <-t.C:
	}
	return ctx.Err() == nil
}

// errFresh says that a key has no row.
var errFresh = errors.New("txlock: key has no row yet")

// acquireAtOnce acquires a key that has a row, if nobody has it, or has the row locked.
func (l *Locker) acquireAtOnce(ctx context.Context, key string, a acquisition) (*Lease, error) {
	a.noWait, a.ensured = true, true
	lease, _, err := l.tryAcquire(ctx, key, a)
	return lease, err
}

// acquireIfFree looks at the key without locking anything, and acquires it if it
// looks free.
func (l *Locker) acquireIfFree(ctx context.Context, key string, a acquisition) (lease *Lease, err error) {
	err = l.run(ctx, job{op: "acquire", key: key, txOptions: plainReads}, func(tx *sql.Tx) (int64, error) {
		q, err := l.queriesFor(tx, "acquire", key)
		if err != nil {
			return 0, err
		}
		row, err := inspect(ctx, q, key)
		switch {
		case err != nil:
			return 0, l.failed(tx, "acquire", key, err)
		case row == nil:
			return 0, errFresh
		case row.RemainingMicros > 0 && (!a.reclaim || string(row.OwnerID) != l.owner):
			return 0, &HeldError{
				Key:        key,
				RetryAfter: time.Duration(row.RemainingMicros) * time.Microsecond,
				Owner:      string(row.OwnerID),
				Epoch:      row.Epoch,
			}
		}
		a.noWait, a.ensured = true, true
		if lease, err = l.acquireLease(ctx, tx, key, a); err != nil {
			return 0, err
		}
		return lease.epoch, nil
	})
	if err != nil {
		return nil, err
	}
	return lease, nil
}

// turn is what the goroutines of one queue wait for: those that reclaim need not
// wait for a lease that others wait for.
type turn struct {
	key     string
	reclaim bool
}

// waiters has the queues of the goroutines of this Locker that wait.
type waiters struct {
	mu     sync.Mutex
	queues map[turn]*queue
}

type queue struct {
	waiters *waiters
	turn    turn
	places  []*place // the first one asks
	held    *HeldError
}

// place is one waiter's place in a queue.
type place struct {
	queue *queue
	first chan struct{} // closed when it is its turn to ask
	wake  chan struct{} // the key has been released here
}

func (w *waiters) join(t turn) *place {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queues == nil {
		w.queues = make(map[turn]*queue)
	}
	q := w.queues[t]
	if q == nil {
		q = &queue{waiters: w, turn: t}
		w.queues[t] = q
	}
	p := &place{queue: q, first: make(chan struct{}), wake: make(chan struct{}, 1)}
	q.places = append(q.places, p)
	if len(q.places) == 1 {
		close(p.first)
	}
	return p
}

// leave gives the place up, and the turn to the next one.
func (p *place) leave() {
	w, q := p.queue.waiters, p.queue
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range q.places {
		if other == p {
			q.places = append(q.places[:i:i], q.places[i+1:]...)
			if i == 0 && len(q.places) > 0 {
				close(q.places[0].first)
			}
			break
		}
	}
	if len(q.places) == 0 {
		delete(w.queues, q.turn)
	}
}

// released lets the first waiter for key ask at once.
func (w *waiters) released(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, reclaim := range []bool{false, true} {
		if q := w.queues[turn{key, reclaim}]; q != nil {
			select {
			case q.places[0].wake <- struct{}{}:
			default:
			}
		}
	}
}

// lastHeld is what the first waiter saw last, for those behind it; nil for nothing.
func (q *queue) lastHeld() error {
	q.waiters.mu.Lock()
	defer q.waiters.mu.Unlock()
	if q.held == nil {
		return nil
	}
	return q.held
}

func (q *queue) setHeld(held *HeldError) {
	q.waiters.mu.Lock()
	defer q.waiters.mu.Unlock()
	q.held = held
}
