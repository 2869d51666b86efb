package txlock

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gox-helix/gox-helix/lockdb"
)

// keeperConnections bounds the connections on which heartbeats are sent at once.
const keeperConnections = 4

// beatPatience bounds one heartbeat, as a quarter of the TTL does, so that there is
// time for another on a new connection.
const beatPatience = 10 * time.Second

// keeper renews the leases that a Locker keeps alive. It has a goroutine while
// there are any.
type keeper struct {
	locker *Locker

	ctx    context.Context // ends with the Locker
	cancel context.CancelFunc

	mu       sync.Mutex
	leases   map[*Lease]struct{}
	running  bool
	closed   bool
	planned  time.Time     // when run looks again
	shortest time.Duration // of the TTLs
	wake     chan struct{} // something has changed
	free     chan struct{} // has an element for each connection in use
	wg       sync.WaitGroup
}

func newKeeper(l *Locker) *keeper {
	k := &keeper{locker: l, leases: make(map[*Lease]struct{}), wake: make(chan struct{}, 1), free: make(chan struct{}, keeperConnections)}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

func (k *keeper) add(le *Lease, due time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return ErrClosed
	}
	k.leases[le] = struct{}{}
	le.kept.next = due
	if !k.running {
		k.running = true
		k.wg.Go(k.run)
	}
	if due.Before(k.planned) {
		k.notify()
	}
	return nil
}

func (k *keeper) remove(le *Lease) {
	k.mu.Lock()
	delete(k.leases, le)
	if len(k.leases) == 0 {
		k.notify()
	}
	k.mu.Unlock()
	le.mu.Lock()
	stop := le.kept.stop
	le.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// notify makes run look again.
func (k *keeper) notify() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// close ends the heartbeats, and the trust in the leases that had one.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	leases := make([]*Lease, 0, len(k.leases))
	for le := range k.leases {
		leases = append(leases, le)
	}
	k.notify()
	k.mu.Unlock()
	k.cancel()
	for _, le := range leases {
		le.end(fmt.Errorf("txlock: lease %d of key %q is no longer renewed: %w", le.epoch, le.key, ErrClosed))
	}
	k.wg.Wait()
}

// run sends heartbeats until there is nothing left to renew.
func (k *keeper) run() {
	var beats sync.WaitGroup
	defer beats.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		batches, next, ok := k.due(time.Now())
		if !ok {
			return
		}
		for _, batch := range batches {
			select {
			case k.free <- struct{}{}:
			default: // all connections are busy: when one is free again
				k.postpone(batch)
				continue
			}
			beats.Go(func() {
				k.beat(k.ctx, batch)
				<-k.free
				k.done(batch)
			})
		}
		timer.Reset(time.Until(next))
		select {
		case <-k.wake:
		case <-timer.C:
		}
	}
}

// due takes the leases that are to be renewed now, in batches of one TTL, the most
// urgent first, and says when to look again. It is not ok when nothing is left.
func (k *keeper) due(now time.Time) (batches [][]*Lease, next time.Time, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || len(k.leases) == 0 {
		k.running = false
		return nil, next, false
	}
	together := make(map[time.Duration][]*Lease)
	due := make(map[time.Duration]bool)
	next = now.Add(time.Hour)
	k.shortest = MaxTTL
	for le := range k.leases {
		k.shortest = min(k.shortest, le.ttl)
		if le.kept.beating {
			continue
		}
		// What is due before long goes along with what is due.
		if le.kept.next.Before(now.Add(le.beat() / 4)) {
			together[le.ttl] = append(together[le.ttl], le)
		}
		if !le.kept.next.After(now) {
			due[le.ttl] = true
		} else if le.kept.next.Before(next) {
			next = le.kept.next
		}
	}
	for ttl, leases := range together {
		if !due[ttl] {
			continue
		}
		for _, le := range leases {
			le.kept.beating = true
		}
		slices.SortFunc(leases, func(a, b *Lease) int { return a.kept.next.Compare(b.kept.next) })
		batches = append(batches, slices.Collect(slices.Chunk(leases, lockdb.MaxBatch))...)
	}
	slices.SortFunc(batches, func(a, b []*Lease) int { return cmp.Compare(a[0].ttl, b[0].ttl) })
	k.planned = next
	return batches, next, true
}

// postpone gives a batch back unsent; done wakes run when a connection is free.
func (k *keeper) postpone(batch []*Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, le := range batch {
		le.kept.beating = false
	}
}

func (k *keeper) done(batch []*Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, le := range batch {
		le.kept.beating = false
	}
	k.notify()
}

// plan sets when a lease is renewed next.
func (k *keeper) plan(le *Lease, next time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	le.kept.next = next
}

// beat renews a batch of leases of one TTL, and learns which are lost.
func (k *keeper) beat(ctx context.Context, batch []*Lease) {
	l := k.locker
	late, patience := k.begin(batch)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ctx, seen := l.observe(ctx, Operation{Name: OpHeartbeat, Keys: len(batch), TTL: batch[0].ttl})
	skipped, lost, err := k.renew(ctx, batch)
	retry := time.Now().Add(max(batch[0].ttl/12, time.Millisecond))
	reported := err
	for _, le := range skipped {
		failure := err
		if err == nil {
			failure = fmt.Errorf("txlock: heartbeat: the row of %q is locked by another transaction, such as a fenced one of its own", le.key)
		}
		le.mu.Lock()
		le.kept.failure, le.kept.skipped = failure, true
		if le.trustNearsEnd() { // else its next fence is likely to renew it
			reported = failure
		}
		le.mu.Unlock()
		k.plan(le, retry)
	}
	seen.end(Result{Err: reported, Late: late, Lost: lost, Attempts: 1})
}

// begin returns by how much a batch is late, and for how long it may take.
func (k *keeper) begin(batch []*Lease) (late, patience time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for _, le := range batch {
		late = max(late, now.Sub(le.kept.next))
	}
	// A batch that hangs must not keep shorter leases from a connection for too long.
	return late, min(batch[0].ttl/4, max(k.shortest/4, time.Second), beatPatience)
}

// renew renews those of a batch whose rows nobody has locked. It returns those that
// have not been renewed, as far as is known, and how many are lost.
func (k *keeper) renew(ctx context.Context, batch []*Lease) (skipped []*Lease, lost int, err error) {
	ttl := batch[0].ttl
	asked := time.Now()
	var renewed int64
	err = k.transact(ctx, batch, nil, func(q *lockdb.Queries) (err error) {
		asked = time.Now()
		renewed, err = q.RenewLeases(ctx, lockdb.RenewLeasesParams{Batch: entries(batch), TtlMicros: ttl.Microseconds()})
		return err
	})
	switch {
	case err != nil:
		return batch, 0, err
	case renewed == 2*int64(len(batch)): // it counts an updated row twice
		for _, le := range batch {
			le.clearReleased()
			k.renewed(le, asked)
		}
		return nil, 0, nil
	}
	var from map[*Lease]time.Time
	err = k.transact(ctx, batch, plainReads, func(q *lockdb.Queries) (err error) {
		from, err = standing(ctx, q, batch)
		return err
	})
	if err != nil {
		return batch, 0, err
	}
	for _, le := range batch {
		from, stands := from[le]
		switch {
		case !stands:
			le.noteLoss(le.lost())
			lost++
			continue
		case time.Since(from) > le.beat()/2:
			skipped = append(skipped, le)
		}
		k.renewed(le, from) // by a heartbeat, or a transaction of the caller
	}
	return skipped, lost, nil
}

// plainReads are transactions in which reads lock nothing, also in sessions whose
// default is SERIALIZABLE.
var plainReads = &sql.TxOptions{Isolation: sql.LevelRepeatableRead}

// transact runs body, about leases of a batch, in a transaction of its own.
func (k *keeper) transact(ctx context.Context, batch []*Lease, o *sql.TxOptions, body func(q *lockdb.Queries) error) error {
	return k.locker.transact(ctx, job{op: "renew", key: batch[0].key, txOptions: o}, body)
}

// standing returns which of the leases stand, and from when on, at the latest, the
// TTL counts that they have left.
func standing(ctx context.Context, q *lockdb.Queries, leases []*Lease) (map[*Lease]time.Time, error) {
	asked := time.Now()
	rows, err := q.StandingLeases(ctx, entries(leases))
	if err != nil {
		return nil, err
	}
	from := make(map[*Lease]time.Time, len(rows))
	for _, row := range rows {
		le := leases[row.I]
		left := time.Duration(row.RemainingMicros) * time.Microsecond
		from[le] = asked.Add(min(left-le.ttl, 0))
	}
	return from, nil
}

// renewed notes that a lease lasts for its TTL from that instant on, if not for longer.
func (k *keeper) renewed(le *Lease, from time.Time) {
	le.extend(from)
	k.plan(le, from.Add(le.beat()))
}

func entries(leases []*Lease) string {
	list := make([]lockdb.Entry, len(leases))
	for i, le := range leases {
		list[i] = lockdb.Entry{Key: le.key, Epoch: le.epoch, LeaseID: le.id}
	}
	return lockdb.Batch(list)
}
