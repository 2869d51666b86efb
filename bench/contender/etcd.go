package contender

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// Etcd are the ways to keep the lock in etcd.
func Etcd() []Contender {
	return []Contender{{
		Name:  "etcd",
		About: "a mutex of etcd's package concurrency: a queue of keys under a lease that the worker's session keeps alive",
		// The lease frees a dead holder's key. A mutex has a revision that grows,
		// but only who checks it is fenced, and the database does not know of it:
		// https://github.com/etcd-io/etcd/issues/11457 and, since then,
		// https://etcd.io/docs/v3.5/learning/why/#notes-on-the-usage-of-lock-and-lease.
		Promises: Promises{SurvivesCrash: true, OtherServer: "etcd"},
		Open:     openEtcd,
		Hold:     holdEtcd,
	}}
}

type etcdLock struct {
	db     businessDB
	client *clientv3.Client
	ttl    int // seconds

	mu       sync.Mutex
	sessions map[int]*concurrency.Session // each worker's own, as a session waits for no key of its own
}

func openEtcd(ctx context.Context, e Env) (Lock, error) { return newEtcdLock(ctx, e) }

func newEtcdLock(ctx context.Context, e Env) (*etcdLock, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{e.Etcd},
		Logger:    zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return e.Dial(ctx, "tcp", addr) }),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("contender: etcd at %s: %w", e.Etcd, err)
	}
	asking, cancel := context.WithTimeout(ctx, releasePatience)
	defer cancel()
	if _, err := client.Status(asking, e.Etcd); err != nil {
		return nil, errors.Join(fmt.Errorf("contender: etcd at %s does not answer: %w: start it", e.Etcd, err), client.Close())
	}
	db, err := openBusinessDB(e)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &etcdLock{db: db, client: client, ttl: wholeSeconds(e.TTL), sessions: make(map[int]*concurrency.Session)}, nil
}

// wholeSeconds is the TTL of a lease. etcd raises it to what an election may
// take, which is 2 s by default.
func wholeSeconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }

func (l *etcdLock) Do(ctx context.Context, worker int, key string, business Business) (err error) {
	session, err := l.session(ctx, worker)
	if err != nil {
		return err
	}
	// A slash would make it part of another key's queue.
	mutex := concurrency.NewMutex(session, url.PathEscape(key))
	waiting, cancel := context.WithTimeout(ctx, acquirePatience)
	defer cancel()
	if err := mutex.Lock(waiting); err != nil {
		// Whether it stands in the queue is unknown: it does not without its lease.
		return errors.Join(fmt.Errorf("contender: key %s: could not take it: %w", key, err), l.end(ctx, worker))
	}
	defer func() {
		releasing, cancel := releasing(ctx)
		defer cancel()
		if e := mutex.Unlock(releasing); e != nil {
			err = errors.Join(err, fmt.Errorf("contender: key %s: could not release it: %w", key, e), l.end(ctx, worker))
			return
		}
		select {
		case <-session.Done():
			err = errors.Join(err, fmt.Errorf("contender: key %s: %w", key, ErrLost))
		default:
		}
	}()
	return l.db.run(ctx, business)
}

// session is the worker's, made on first use and when the last has ended.
func (l *etcdLock) session(ctx context.Context, worker int) (*concurrency.Session, error) {
	l.mu.Lock()
	s := l.sessions[worker]
	l.mu.Unlock()
	if s != nil {
		select {
		case <-s.Done():
		default:
			return s, nil
		}
	}
	// The lease is asked for under ctx, but the session is to outlive it.
	lease, err := l.client.Grant(ctx, int64(l.ttl))
	if err != nil {
		return nil, fmt.Errorf("contender: etcd: no lease for worker %d: %w", worker, err)
	}
	s, err = concurrency.NewSession(l.client, concurrency.WithTTL(l.ttl), concurrency.WithLease(lease.ID))
	if err != nil {
		return nil, fmt.Errorf("contender: etcd: no session for worker %d: %w", worker, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions[worker] = s
	return s, nil
}

// end ends the worker's session, and with it all that it holds or waits for.
func (l *etcdLock) end(ctx context.Context, worker int) error {
	l.mu.Lock()
	s := l.sessions[worker]
	delete(l.sessions, worker)
	l.mu.Unlock()
	if s == nil {
		return nil
	}
	s.Orphan()
	ctx, cancel := releasing(ctx)
	defer cancel()
	if _, err := l.client.Revoke(ctx, s.Lease()); err != nil {
		return fmt.Errorf("contender: etcd: could not end the lease of worker %d, which lasts for up to %d s more: %w", worker, l.ttl, err)
	}
	return nil
}

func (l *etcdLock) Close() error {
	var errs []error
	for worker := range l.sessions {
		errs = append(errs, l.end(context.Background(), worker))
	}
	return errors.Join(append(errs, l.client.Close(), l.db.Close())...)
}
