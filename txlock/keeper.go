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

	mu      sync.Mutex
	leases  map[*Lease]struct{}
	running bool
	closed  bool
	wake    chan struct{} // something has changed
	free    chan struct{} // has an element for each connection in use
	wg      sync.WaitGroup
}

func newKeeper(l *Locker) *keeper {
	k := &keeper{locker: l, leases: make(map[*Lease]struct{}), wake: make(chan struct{}, 1), free: make(chan struct{}, keeperConnections)}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

func (k *keeper) add(le *Lease) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return ErrClosed
	}
	k.leases[le] = struct{}{}
	if !k.running {
		k.running = true
		k.wg.Go(k.run)
	}
	k.notify()
	return nil
}

func (k *keeper) remove(le *Lease) {
	k.mu.Lock()
	delete(k.leases, le)
	k.notify()
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

// company are leases that are renewed together: all of one TTL, but for one whose
// extension may have to wait, which then would all.
type company struct {
	ttl   time.Duration
	alone *Lease
}

func (le *Lease) company() company {
	if le.kept.alone {
		return company{le.ttl, le}
	}
	return company{ttl: le.ttl}
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
	together := make(map[company][]*Lease)
	due := make(map[company]bool)
	next = now.Add(time.Hour)
	for le := range k.leases {
		if le.kept.beating {
			continue
		}
		// What is due before long goes along with what is due.
		if le.kept.next.Before(now.Add(le.beat() / 4)) {
			together[le.company()] = append(together[le.company()], le)
		}
		if !le.kept.next.After(now) {
			due[le.company()] = true
		} else if le.kept.next.Before(next) {
			next = le.kept.next
		}
	}
	for company, leases := range together {
		if !due[company] {
			continue
		}
		for _, le := range leases {
			le.kept.beating = true
		}
		slices.SortFunc(leases, func(a, b *Lease) int { return a.kept.next.Compare(b.kept.next) })
		batches = append(batches, slices.Collect(slices.Chunk(leases, lockdb.MaxBatch))...)
	}
	slices.SortFunc(batches, func(a, b []*Lease) int { return cmp.Compare(a[0].ttl, b[0].ttl) })
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

// separate lets leases be renewed each for itself, or with the others again.
func (k *keeper) separate(leases []*Lease, alone bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, le := range leases {
		le.kept.alone = alone
	}
}

// plan sets when a lease is renewed next.
func (k *keeper) plan(le *Lease, next time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	le.kept.next = next
}

// beat renews a batch of leases of one TTL, and learns which are lost.
func (k *keeper) beat(ctx context.Context, batch []*Lease) {
	l, ttl := k.locker, batch[0].ttl
	now := time.Now()
	var late time.Duration
	for _, le := range batch {
		late = max(late, now.Sub(le.kept.next))
	}
	ctx, cancel := context.WithTimeout(ctx, min(ttl/4, beatPatience))
	defer cancel()
	ctx, seen := l.observe(ctx, Operation{Name: OpHeartbeat, Keys: len(batch), TTL: ttl})
	result := Result{Late: late, Attempts: 1}

	unsure, err := k.renew(ctx, batch)
	if err == nil && len(unsure) > 0 {
		var standing map[*Lease]time.Time
		if standing, err = k.standing(ctx, unsure, false); err == nil {
			unsure, result.Lost = k.settle(unsure, standing)
		}
	}
	if err == nil && len(unsure) > 0 && !l.multiWriter {
		for _, le := range unsure {
			le.mu.Lock()
			le.kept.extended = true
			le.mu.Unlock()
		}
		var standing map[*Lease]time.Time
		if standing, err = k.standing(ctx, unsure, true); err == nil {
			var lost int
			unsure, lost = k.settle(unsure, standing)
			result.Lost += lost
		}
		k.separate(unsure, err != nil)
	}
	if err == nil && len(unsure) > 0 { // on a multi-writer cluster
		err = fmt.Errorf("txlock: heartbeat: the row of %q is locked by another transaction, such as a fenced one of its own", unsure[0].key)
	}
	retry := time.Now().Add(max(ttl/12, time.Millisecond))
	for _, le := range unsure {
		le.mu.Lock()
		le.kept.failure = err
		le.mu.Unlock()
		k.plan(le, retry)
	}
	result.Err = err
	seen.end(result)
}

// renew renews those of a batch whose rows nobody has locked. It returns those of
// which it is not known whether they were renewed.
func (k *keeper) renew(ctx context.Context, batch []*Lease) (unsure []*Lease, err error) {
	l := k.locker
	asked := time.Now()
	var renewed int64
	keep := int64(1)
	if l.multiWriter {
		keep = 0
	}
	err = l.run(ctx, job{op: "renew", key: batch[0].key}, func(tx *sql.Tx) (int64, error) {
		asked = time.Now()
		q, err := l.in(tx, "renew", batch[0].key)
		if err != nil {
			return 0, err
		}
		renewed, err = q.RenewLeases(ctx, lockdb.RenewLeasesParams{Batch: entries(batch), TtlMicros: batch[0].ttl.Microseconds(), Keep: keep})
		if err != nil {
			return 0, l.failed(tx, "renew", batch[0].key, err)
		}
		return 0, nil
	})
	if err != nil || renewed != 2*int64(len(batch)) { // it counts an updated row twice
		return batch, err
	}
	k.separate(batch, false)
	for _, le := range batch {
		le.stillHeld()
		le.extend(asked)
		k.plan(le, asked.Add(le.beat()))
	}
	return nil, nil
}

// standing returns which of the leases stand, and from when on their TTL surely
// lasts; with extend it extends them first, since their rows are locked.
func (k *keeper) standing(ctx context.Context, leases []*Lease, extend bool) (map[*Lease]time.Time, error) {
	l, ttl := k.locker, leases[0].ttl
	var from map[*Lease]time.Time
	err := l.run(ctx, job{op: "renew", key: leases[0].key}, func(tx *sql.Tx) (int64, error) {
		from = make(map[*Lease]time.Time, len(leases))
		q, err := l.in(tx, "renew", leases[0].key)
		if err != nil {
			return 0, err
		}
		asked := time.Now()
		if extend {
			if err := q.ExtendLeases(ctx, lockdb.ExtendLeasesParams{Batch: entries(leases), TtlMicros: ttl.Microseconds()}); err != nil {
				return 0, l.failed(tx, "renew", leases[0].key, err)
			}
		}
		// The first plain read of this transaction: it sees whoever has taken a lease
		// over, since nobody can between the extension and COMMIT.
		rows, err := q.StandingLeases(ctx, entries(leases))
		if err != nil {
			return 0, l.failed(tx, "renew", leases[0].key, err)
		}
		for _, row := range rows {
			left := time.Duration(row.RemainingMicros) * time.Microsecond
			from[leases[row.I]] = asked.Add(min(left-ttl, 0))
		}
		return 0, nil
	})
	return from, err
}

// settle ends the leases that do not stand, and moves the deadline of those that
// do and last for long enough. It returns the others.
func (k *keeper) settle(leases []*Lease, standing map[*Lease]time.Time) (unsure []*Lease, lost int) {
	for _, le := range leases {
		from, stands := standing[le]
		switch {
		case !stands:
			le.learn(le.lost())
			lost++
		case time.Since(from) > le.beat()/2:
			unsure = append(unsure, le)
		default:
			le.extend(from)
			k.plan(le, from.Add(le.beat()))
		}
	}
	return unsure, lost
}

func entries(leases []*Lease) string {
	list := make([]lockdb.Entry, len(leases))
	for i, le := range leases {
		list[i] = lockdb.Entry{Key: le.key, LeaseID: le.id}
	}
	return lockdb.Batch(list)
}
