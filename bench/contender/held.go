package contender

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/gox-helix/gox-helix/txlock"
)

// Held is many keys that one process holds, and keeps alive until it is closed.
type Held interface {
	// Close says if one of them was lost.
	Close() error
}

// heldKey names the n-th of them.
func heldKey(n int) string { return fmt.Sprintf("many:%d", n) }

// renewers is how many renewals are under way at once, where each is of one key.
const renewers = 8

// inParallel calls do for each of n keys.
func inParallel(n int, do func(i int) error) error {
	errs := make([]error, renewers)
	var all sync.WaitGroup
	for w := range renewers {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += renewers {
				errs[w] = do(i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// oneByOne renews each of n keys, every third of a TTL.
type oneByOne struct {
	stop context.CancelFunc
	done chan struct{}
	err  error // after done
	free func() error
}

func renewOneByOne(ttl time.Duration, n int, renew func(ctx context.Context, i int) error, free func() error) *oneByOne {
	ctx, stop := context.WithCancel(context.Background())
	o := &oneByOne{stop: stop, done: make(chan struct{}), free: free}
	go func() {
		defer close(o.done)
		for tick := time.NewTicker(ttl / 3); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			err := inParallel(n, func(i int) error { return renew(ctx, i) })
			if err != nil && ctx.Err() != nil && !errors.Is(err, ErrLost) {
				return // closed meanwhile
			}
			if o.err = err; err != nil {
				return
			}
		}
	}()
	return o
}

func (o *oneByOne) Close() error {
	o.stop()
	<-o.done
	return errors.Join(o.err, o.free())
}

// poolOnly is nothing that is held.
type poolOnly struct{ *sql.DB }

func holdNothing(_ context.Context, e Env, _ int) (Held, error) {
	db, err := e.Pool()
	return poolOnly{db}, err
}

// heldLeases are leases of this library.
type heldLeases struct {
	db     *sql.DB
	locker *txlock.Locker
	leases []*txlock.Lease
}

func holdLeases(ctx context.Context, e Env, n int) (_ Held, err error) {
	db, err := e.Pool()
	if err != nil {
		return nil, err
	}
	locker, err := txlock.New(db, txlock.WithTTL(e.TTL))
	if err == nil {
		err = locker.Prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	h := &heldLeases{db: db, locker: locker}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = heldKey(i)
	}
	err = locker.Do(ctx, "many", func(ctx context.Context, tx *sql.Tx) (err error) {
		h.leases, err = locker.AcquireManyTx(ctx, tx, keys)
		return err
	})
	for _, lease := range h.leases {
		if err == nil {
			err = lease.KeepAlive(context.WithoutCancel(ctx))
		}
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *heldLeases) Close() error {
	var err error
	for _, lease := range h.leases {
		if err == nil {
			err = context.Cause(lease.Context())
		}
	}
	return errors.Join(err, h.locker.Close(), h.db.Close())
}

// namedLocks are held on one connection, while it lives.
type namedLocks struct {
	db  *sql.DB
	one string // of them
}

// Close asks the connection whether it has what it took.
func (l namedLocks) Close() error {
	var held sql.NullBool
	err := l.db.QueryRow("SELECT IS_USED_LOCK(?) = CONNECTION_ID()", l.one).Scan(&held)
	if err == nil && !held.Bool {
		err = ErrLost
	}
	return errors.Join(err, l.db.Close())
}

func holdNamedLocks(ctx context.Context, e Env, n int) (Held, error) {
	db, err := e.Pool()
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // so it is the same one for all
	for i := range n {
		var got sql.NullInt64
		if err := db.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", heldKey(i)).Scan(&got); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		if got.Int64 != 1 {
			return nil, errors.Join(fmt.Errorf("contender: GET_LOCK of %q was refused", heldKey(i)), db.Close())
		}
	}
	return namedLocks{db, heldKey(n - 1)}, nil
}

func holdLeaseTable(ctx context.Context, e Env, n int) (Held, error) {
	db, err := e.Pool()
	if err != nil {
		return nil, err
	}
	l := &leaseTable{db, e.TTL}
	const me = "many"
	if err := inParallel(n, func(i int) error { return l.take(ctx, heldKey(i), me) }); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return renewOneByOne(e.TTL, n, func(ctx context.Context, i int) error {
		res, err := db.ExecContext(ctx, "UPDATE leases SET expires_at = NOW(6) + INTERVAL ? MICROSECOND WHERE name = ? AND owner = ?", e.TTL.Microseconds(), heldKey(i), me)
		if err != nil {
			return err
		}
		if affected, err := res.RowsAffected(); err != nil || affected != 1 {
			return errors.Join(err, ErrLost)
		}
		return nil
	}, db.Close), nil
}

func holdRedislock(addr func(Env) string) func(ctx context.Context, e Env, n int) (Held, error) {
	return func(ctx context.Context, e Env, n int) (Held, error) {
		client := newRedis(e, addr(e))
		locker := redislock.New(client)
		locks := make([]*redislock.Lock, n)
		if err := inParallel(n, func(i int) (err error) {
			locks[i], err = locker.Obtain(ctx, heldKey(i), e.TTL, nil)
			return err
		}); err != nil {
			return nil, errors.Join(err, client.Close())
		}
		return renewOneByOne(e.TTL, n, func(ctx context.Context, i int) error { return locks[i].Refresh(ctx, e.TTL, nil) }, client.Close), nil
	}
}

func holdRedsync(addr func(Env) string) func(ctx context.Context, e Env, n int) (Held, error) {
	return func(ctx context.Context, e Env, n int) (Held, error) {
		client := newRedis(e, addr(e))
		sync := redsyncOn(client)
		mutexes := make([]*redsync.Mutex, n)
		if err := inParallel(n, func(i int) error {
			mutexes[i] = sync.NewMutex("redsync:"+heldKey(i), redsync.WithExpiry(e.TTL))
			return mutexes[i].LockContext(ctx)
		}); err != nil {
			return nil, errors.Join(err, client.Close())
		}
		return renewOneByOne(e.TTL, n, func(ctx context.Context, i int) error {
			ok, err := mutexes[i].ExtendContext(ctx)
			if err == nil && !ok {
				err = ErrLost
			}
			return err
		}, client.Close), nil
	}
}

// heldMutexes are etcd's, all under one session, and so one lease.
type heldMutexes struct {
	lock    *etcdLock
	session *concurrency.Session
}

func holdEtcd(ctx context.Context, e Env, n int) (Held, error) {
	lock, err := newEtcdLock(ctx, e)
	if err != nil {
		return nil, err
	}
	h := &heldMutexes{lock: lock}
	h.session, err = h.lock.session(ctx, 0)
	if err == nil {
		err = inParallel(n, func(i int) error { return concurrency.NewMutex(h.session, heldKey(i)).TryLock(ctx) })
	}
	if err != nil {
		return nil, errors.Join(err, h.lock.Close())
	}
	return h, nil
}

func (h *heldMutexes) Close() error {
	var err error
	select {
	case <-h.session.Done():
		err = ErrLost
	default:
	}
	return errors.Join(err, h.lock.Close())
}
