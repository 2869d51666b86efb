package fuzz_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/gox-helix/gox-helix/txlock"
)

// The steps of others, which neither wait for the caller's transaction nor see it.

// rivalBegins opens a transaction that locks one key, for NoWait to be refused.
func (m *machine) rivalBegins(t *rapid.T) {
	if m.rival != nil {
		t.Skip("there is one")
	}
	key := drawKey(t)
	if m.locked(key, nil) != unlocked {
		t.Skip("would wait")
	}
	a := m.drawActor(t)
	before, there := m.world.rows[key]
	switch {
	case !there && !m.mayInsert(nil):
		t.Skip("might wait")
	case !there:
		before = m.world.fresh(key)
	}
	kind := lockKind{writes: a.multi}
	o := m.open(sql.LevelReadCommitted)
	m.rival = o
	err := a.LockTx(m.ctx, o.tx, key)
	kind.remember(a, key, before, there)
	if before.held() {
		m.isHeld(err, o.view, key)
		o.lock(key, perhaps)
		return
	}
	m.must(err)
	o.locks[key] = locked
	if r, writes := kind.lockedRow(a, before, there); writes {
		o.write(key, r)
	}
	m.done.count("rival")
}

func (m *machine) rivalEnds(t *rapid.T) {
	if m.rival == nil {
		t.Skip("there is none")
	}
	if rapid.Bool().Draw(t, "commits") {
		m.must(m.rival.tx.Commit())
		m.rival.commit()
	} else {
		m.must(m.rival.tx.Rollback())
	}
	m.rival = nil
}

func (m *machine) tryAcquire(t *rapid.T) {
	a, key, want := m.drawActor(t), drawKey(t), drawRequest(t)
	others := m.locked(key, nil)
	if others == perhaps || others == locked && !want.noWait {
		t.Skip("would wait, or might")
	}
	before, there := m.world.rows[key]
	busy := others == locked || !there && want.noWait && a.known[key] // that is remembered, and gone since
	if !busy && !there && !m.mayInsert(nil) {
		t.Skip("might wait")
	}
	if busy && others == locked && !a.known[key] && !m.anywhere(key) {
		t.Skip("might wait") // for the caller's fence of a row that is not there
	}
	if !there {
		before = m.world.fresh(key)
	}
	lease, err := a.TryAcquire(m.ctx, key, want.options()...)
	refused := there && before.refuses(a.Owner(), want.reclaim)
	a.remember(key, before, (there || want.noWait) && !busy)
	switch {
	case busy:
		m.isBusy(err, key)
	case refused:
		v := newView(m.world)
		m.isHeld(err, v, key)
	default:
		m.must(err)
		r := m.granted(a, before, want)
		m.world.rows[key] = r
		m.isLease(lease, a, key, r)
	}
	m.done.count(fmt.Sprintf("TryAcquire (busy %v, refused %v)", busy, refused && !busy))
}

// do locks in a transaction of its own, with a business row that nobody else writes.
func (m *machine) do(t *rapid.T) {
	a, key := m.drawActor(t), drawKey(t)
	kind := drawLock(t, a)
	before, there := m.world.rows[key]
	if m.locked(key, nil) != unlocked || !there && !m.mayInsert(nil) {
		t.Skip("might wait")
	}
	busy := false
	if !there {
		before = m.world.fresh(key)
		if busy = a.known[key] && kind.noWait; !a.known[key] && (kind.noWait || kind.shared) {
			m.world.rows[key], there = before, true // which stays, whatever becomes of the lock
		}
	}
	refused := before.held()
	errNo := errors.New("no")
	no := rapid.IntRange(0, 3).Draw(t, "fails") == 3
	n := m.number(`SELECT n FROM ledger WHERE id = 2`)
	err := a.Do(m.ctx, key, func(ctx context.Context, tx *sql.Tx) error {
		if epoch, ok := txlock.EpochFromContext(ctx); ok != kind.newEpoch || ok && epoch != before.epoch+1 {
			t.Fatalf("epoch %d, %v; want %d", epoch, ok, before.epoch+1)
		}
		_, err := tx.ExecContext(ctx, `UPDATE ledger SET n = n + 1 WHERE id = 2`)
		if err == nil && no {
			err = errNo
		}
		return err
	}, kind.options()...)
	kind.remember(a, key, before, there)
	switch {
	case busy:
		m.isBusy(err, key)
	case refused:
		m.isHeld(err, newView(m.world), key)
	case no:
		if !errors.Is(err, errNo) {
			t.Fatalf("got %v", err)
		}
	default:
		m.must(err)
		m.world.rows[key], _ = kind.lockedRow(a, before, there)
		n++
	}
	if got := m.number(`SELECT n FROM ledger WHERE id = 2`); got != n {
		t.Fatalf("the ledger says %d, should be %d", got, n)
	}
	m.done.count(fmt.Sprintf("Do %v (refused %v)", kind, refused))
}

// withFreeRow draws a lease whose row no open transaction has.
func (m *machine) withFreeRow(t *rapid.T, name string, call func(h *handle) error, stands func(h *handle, r row)) {
	h := m.drawHandle(t)
	if m.locked(h.key, nil) != unlocked {
		t.Skip("would wait")
	}
	r, there := m.world.rows[h.key]
	err := call(h)
	ok := there && r.stands(h)
	if ok {
		m.must(err)
		stands(h, r)
	} else {
		m.isLost(err, h)
	}
	m.done.count(fmt.Sprintf("%s (stands %v)", name, ok))
}

func (m *machine) renew(t *rapid.T) {
	m.withFreeRow(t, "Renew", func(h *handle) error { return h.lease.Renew(m.ctx) }, func(h *handle, r row) {
		r.expired = false
		m.world.rows[h.key] = r
	})
}

func (m *machine) release(t *rapid.T) {
	m.withFreeRow(t, "Release", func(h *handle) error { return h.lease.Release(m.ctx) }, func(h *handle, r row) {
		r.status, r.lease = txlock.StatusInactive, 0
		m.world.rows[h.key] = r
	})
}

func (m *machine) inTx(t *rapid.T) {
	called := false
	m.withFreeRow(t, "InTx", func(h *handle) error {
		return h.lease.InTx(m.ctx, func(ctx context.Context, tx *sql.Tx) error {
			called = true
			_, err := tx.ExecContext(ctx, `UPDATE ledger SET n = n + 1 WHERE id = 2`)
			return err
		})
	}, func(h *handle, r row) {
		if !called {
			t.Fatal("the function was not called")
		}
		called = false
		if h.actor.multi { // whose fences write, and so renew
			r.expired = false
			m.world.rows[h.key] = r
		}
	})
	if called {
		t.Fatal("the function was called")
	}
}

func (m *machine) revoke(t *rapid.T) {
	a, key := m.drawActor(t), drawKey(t)
	r, there := m.world.rows[key]
	makes := a.multi && !there // since another server may have the row
	if m.locked(key, nil) != unlocked || makes && !m.mayInsert(nil) {
		t.Skip("would wait")
	}
	m.must(a.Revoke(m.ctx, key))
	if makes {
		r = m.world.fresh(key)
	}
	if there || makes {
		r.epoch++
		r.status, r.lease = txlock.StatusInactive, 0
		m.world.rows[key] = r
	}
	m.done.count("Revoke")
}

func (m *machine) retire(t *rapid.T) {
	a, key := m.drawActor(t), drawKey(t)
	r, there := m.world.rows[key]
	makes := a.multi && !there
	if m.locked(key, nil) != unlocked || makes && !m.mayInsert(nil) {
		t.Skip("would wait")
	}
	err := a.Retire(m.ctx, key)
	if makes {
		r = m.world.fresh(key)
	}
	if there && r.held() {
		m.isHeld(err, newView(m.world), key)
		return
	}
	m.must(err)
	if there || makes {
		r.status, r.lease = txlock.StatusDeletable, 0
		m.world.rows[key] = r
	}
	m.done.count("Retire")
}

// purge must leave what open transactions have locked, and what is not purgeable; of
// what they have perhaps locked, or whose floor they have, it may leave some.
func (m *machine) purge(t *rapid.T) {
	a := m.drawActor(t)
	var opts txlock.PurgeOptions
	idle := rapid.IntRange(0, 2).Draw(t, "idle") == 2
	if idle {
		opts.Idle = time.Nanosecond
	}
	n, err := a.Purge(m.ctx, opts)
	m.must(err)
	for _, key := range keysOfMachine() {
		r, there := m.world.rows[key]
		purgeable := there && (r.status == txlock.StatusDeletable || idle && r.status == txlock.StatusInactive)
		if !purgeable || m.locked(key, nil) == locked {
			continue
		}
		surely := true
		for _, other := range keysOfMachine() {
			surely = surely && (shard(other) != shard(key) || m.locked(other, nil) == unlocked)
		}
		if m.number(`SELECT COUNT(*) FROM helix_locks WHERE lock_key = ?`, key) == 0 {
			n--
			delete(m.world.rows, key)
			if r.epoch > 0 { // a row that was only made has its floor as its epoch
				m.world.floors[shard(key)] = max(m.world.floors[shard(key)], r.epoch)
			}
		} else if surely {
			t.Fatalf("%q was not purged", key)
		}
	}
	if n != 0 {
		t.Fatalf("Purge says %d rows too many", n)
	}
	m.done.count("Purge")
}

func (m *machine) inspect(t *rapid.T) {
	a, key := m.drawActor(t), drawKey(t)
	info, err := a.Inspect(m.ctx, key)
	r, there := m.world.rows[key]
	if !there {
		var missing *txlock.NotFoundError
		if !errors.As(err, &missing) || missing.Key != key || !errors.Is(err, txlock.ErrNotFound) {
			t.Fatalf("got %v, %v", info, err)
		}
		return
	}
	m.must(err)
	if info.Key != key || info.Owner != r.owner || info.Epoch != r.epoch || info.Status != r.status || info.Held() != r.held() {
		t.Fatalf("got %+v, want %+v", info, r)
	}
	if most := r.ttl; r.held() && (info.Remaining > most || info.Remaining < most-hour/2) {
		t.Fatalf("got %+v; it has about %v left", info, most)
	}
}

// expire lets an hour pass after the expiry of one lease. Where the caller's
// transaction has its row, it is there that it must be written.
func (m *machine) expire(t *rapid.T) {
	var active []string
	for _, key := range keysOfMachine() {
		if r, there := m.rowToExpire(key); there && r.status == txlock.StatusActive && !r.expired {
			active = append(active, key)
		}
	}
	if active == nil {
		t.Skip("nothing to expire")
	}
	key := rapid.SampledFrom(active).Draw(t, "key")
	r, _ := m.rowToExpire(key)
	r.expired = true
	const update = `UPDATE helix_locks SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 HOUR WHERE lock_key = ?`
	if m.locked(key, nil) == locked {
		_, err := m.caller.tx.ExecContext(m.ctx, update, key)
		m.must(err)
		m.caller.write(key, r)
		m.done.count("expire in the transaction")
		return
	}
	_, err := m.db.ExecContext(m.ctx, update, key)
	m.must(err)
	m.world.rows[key] = r
	m.done.count("expire")
}

// rowToExpire is the row of a key if the test can write it.
func (m *machine) rowToExpire(key string) (row, bool) {
	if m.caller != nil && m.caller.locks[key] == locked {
		return m.caller.row(key)
	}
	r, there := m.world.rows[key]
	return r, there && m.locked(key, nil) == unlocked
}
