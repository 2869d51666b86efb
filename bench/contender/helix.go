package contender

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/gox-helix/gox-helix/txlock"
)

// helix is this library.
type helix struct {
	db     *sql.DB
	locker *txlock.Locker
	do     func(ctx context.Context, h *helix, key string, business Business) error

	mu     sync.Mutex
	leases map[string]*txlock.Lease // that are held all the time
}

func openHelix(prepare bool, do func(ctx context.Context, h *helix, key string, business Business) error) func(context.Context, Env) (Lock, error) {
	return func(ctx context.Context, e Env) (Lock, error) {
		db, err := e.Pool()
		if err != nil {
			return nil, err
		}
		locker, err := txlock.New(db, txlock.WithTTL(e.TTL))
		if err == nil && prepare {
			err = locker.Prepare(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return &helix{db: db, locker: locker, do: do, leases: map[string]*txlock.Lease{}}, nil
	}
}

func (h *helix) Close() error {
	errs := []error{}
	for _, lease := range h.leases {
		errs = append(errs, lease.Release(context.Background()))
	}
	return errors.Join(append(errs, h.locker.Close(), h.db.Close())...)
}

func (h *helix) Do(ctx context.Context, _ int, key string, business Business) error {
	return h.do(ctx, h, key, business)
}

func helixDo(ctx context.Context, h *helix, key string, business Business) error {
	return h.locker.Do(ctx, key, business)
}

// helixLease acquires a lease in the business transaction, and releases it there.
func helixLease(ctx context.Context, h *helix, key string, business Business) error {
	tx, err := h.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	lease, err := h.locker.AcquireTx(ctx, tx, key)
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return finish(ctx, tx, func(ctx context.Context, tx *sql.Tx) error {
		if err := business(ctx, tx); err != nil {
			return err
		}
		return lease.ReleaseTx(ctx, tx)
	})
}

// helixFenced works under a lease that is held, and kept alive, all the time.
func helixFenced(ctx context.Context, h *helix, key string, business Business) error {
	key = "held/" + key // which the others could not have meanwhile
	lease, err := h.held(ctx, key)
	if err != nil {
		return err
	}
	if err = lease.InTx(ctx, business); errors.Is(err, txlock.ErrLost) {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.leases, key)
	}
	return err
}

// helixRun waits for a lease, works under its fence, and releases it.
func helixRun(ctx context.Context, h *helix, key string, business Business) error {
	lease, err := h.locker.Acquire(ctx, key)
	if err != nil {
		return err
	}
	if err := lease.InTx(ctx, business); err != nil {
		return errors.Join(err, lease.Release(ctx))
	}
	return lease.Release(ctx)
}

func (h *helix) held(ctx context.Context, key string) (*txlock.Lease, error) {
	h.mu.Lock()
	lease := h.leases[key]
	h.mu.Unlock()
	if lease != nil {
		return lease, nil
	}
	lease, err := h.locker.Acquire(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := lease.KeepAlive(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leases[key] = lease
	return lease, nil
}
