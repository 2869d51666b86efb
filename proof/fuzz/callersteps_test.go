package fuzz_test

import (
	"fmt"

	"pgregory.net/rapid"

	"github.com/gox-helix/gox-helix/txlock"
)

// The steps in the caller's transaction.

// asks prepares an acquisition of a key in the caller's transaction: it skips what
// would wait, and says what the row is and whether a rival has it locked. Some have the
// row made before, as they cannot make it themselves.
func (m *machine) asks(t *rapid.T, o *opened, a *actor, key string, noWait, before bool) (r row, there, busy bool) {
	others := m.locked(key, o)
	if others == perhaps || others == locked && !noWait {
		t.Skip("would wait, or might")
	}
	if before && !a.known[key] && !m.anywhere(key) {
		// Its row is made in another transaction, for which this one's gaps are in the way.
		if !m.mayInsert(nil) {
			t.Skip("might wait")
		}
		m.world.rows[key] = m.world.fresh(key)
	}
	r, there = o.row(key)
	busy = others == locked
	if !there {
		if noWait { // remembered, and gone since: nothing is inserted
			busy = true
		}
		r = m.world.fresh(key)
	}
	if !busy && !there && !m.mayInsert(o) {
		t.Skip("might wait")
	}
	return r, there, busy
}

func (m *machine) acquireTx(t *rapid.T) {
	a, key, want := m.drawActor(t), drawKey(t), drawRequest(t)
	o := m.begun(t)
	before, there, busy := m.asks(t, o, a, key, want.noWait, want.noWait)
	lease, err := a.AcquireTx(m.ctx, o.tx, key, want.options()...)
	refused := there && before.refuses(a.Owner(), want.reclaim)
	a.remember(key, before, there && !busy)
	switch {
	case busy:
		m.isBusy(err, key)
		o.gaps = true
	case refused:
		m.isHeld(err, o.view, key)
		o.lock(key, perhaps)
		o.gaps = o.gaps || want.noWait
	default:
		m.must(err)
		r := m.granted(a, before, want)
		o.write(key, r)
		m.isLease(lease, a, key, r)
	}
	m.done.count(fmt.Sprintf("AcquireTx (busy %v, refused %v)", busy, refused && !busy))
}

func (m *machine) lockTx(t *rapid.T) {
	a, key := m.drawActor(t), drawKey(t)
	kind := drawLock(t, a)
	o := m.begun(t)
	before, there, busy := m.asks(t, o, a, key, kind.noWait, kind.noWait || kind.shared)
	err := a.LockTx(m.ctx, o.tx, key, kind.options()...)
	refused := there && before.held()
	kind.remember(a, key, before, there && !busy)
	switch {
	case busy:
		m.isBusy(err, key)
		o.gaps = true
	case refused:
		m.isHeld(err, o.view, key)
		o.lock(key, perhaps)
		o.gaps = o.gaps || kind.noWait
	default:
		m.must(err)
		o.locks[key] = locked
		o.gaps = o.gaps || kind.shared && !there
		if r, writes := kind.lockedRow(a, before, there); writes {
			o.write(key, r)
		}
	}
	m.done.count(fmt.Sprintf("LockTx %v (busy %v, refused %v)", kind, busy, refused && !busy))
}

func (m *machine) acquireManyTx(t *rapid.T) {
	a, want := m.drawActor(t), drawRequest(t)
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom(keysOfMachine()), 1, len(keysOfMachine()), rapid.ID[string]).Draw(t, "keys")
	o := m.begun(t)
	var missing []string
	for _, key := range keys {
		if others := m.locked(key, o); others == perhaps || others == locked && !want.noWait {
			t.Skip("would wait, or might")
		}
		_, there := o.row(key)
		if !there && !m.mayInsert(o) {
			t.Skip("might wait")
		}
		if !m.anywhere(key) {
			missing = append(missing, key)
		}
	}
	if want.noWait && missing != nil && !m.mayInsert(nil) {
		t.Skip("might wait")
	}
	busy := firstOf(keys, func(key string) bool { return m.locked(key, o) == locked })
	for _, key := range missing {
		if want.noWait { // in a transaction of its own
			m.world.rows[key] = m.world.fresh(key)
		} else {
			o.write(key, m.world.fresh(key))
		}
	}
	held := heldBy(o.view, keys, a.Owner(), want.reclaim)
	leases, err := a.AcquireManyTx(m.ctx, o.tx, keys, want.options()...)
	for _, key := range keys {
		o.lock(key, perhaps)
	}
	switch {
	case busy != "":
		m.isBusy(err, busy)
		o.gaps = true
	case held != nil:
		m.isHeld(err, o.view, held...)
		o.gaps = o.gaps || want.noWait
	default:
		m.must(err)
		if len(leases) != len(keys) {
			m.Fatalf("%d leases of %d keys", len(leases), len(keys))
		}
		for i, key := range keys {
			before, _ := o.row(key)
			r := m.granted(a, before, want)
			o.write(key, r)
			m.isLease(leases[i], a, key, r)
		}
	}
	m.done.count(fmt.Sprintf("AcquireManyTx (busy %v, refused %v)", busy != "", held != nil && busy == ""))
}

// withLease draws a lease for a step of the caller's transaction, and says what the
// row is. What comes of a lease that stands is done by stands.
func (m *machine) withLease(t *rapid.T, name string, call func(o *opened, h *handle) error, stands func(o *opened, h *handle, r row)) {
	h := m.drawHandle(t)
	o := m.begun(t)
	if m.locked(h.key, o) != unlocked {
		t.Skip("would wait")
	}
	err := call(o, h)
	r, there := o.row(h.key)
	ok := there && r.stands(h)
	if ok {
		m.must(err)
		stands(o, h, r)
	} else {
		m.isLost(err, h)
		o.lock(h.key, perhaps)
		o.gaps = o.gaps || !there
	}
	m.done.count(fmt.Sprintf("%s (stands %v)", name, ok))
}

func (m *machine) renewTx(t *rapid.T) {
	m.withLease(t, "RenewTx", func(o *opened, h *handle) error { return h.lease.RenewTx(m.ctx, o.tx) }, func(o *opened, h *handle, r row) {
		r.expired = false
		o.write(h.key, r)
	})
}

func (m *machine) verifyTx(t *rapid.T) {
	m.withLease(t, "VerifyTx", func(o *opened, h *handle) error { return h.lease.VerifyTx(m.ctx, o.tx) }, func(o *opened, h *handle, r row) {
		o.lock(h.key, locked)
		if h.actor.multi { // whose fences write, and so renew
			r.expired = false
			o.write(h.key, r)
		}
	})
}

func (m *machine) releaseTx(t *rapid.T) {
	m.withLease(t, "ReleaseTx", func(o *opened, h *handle) error { return h.lease.ReleaseTx(m.ctx, o.tx) }, func(o *opened, h *handle, r row) {
		r.status, r.lease = txlock.StatusInactive, 0
		o.write(h.key, r)
	})
}

// write is business.
func (m *machine) write(t *rapid.T) {
	o := m.begun(t)
	_, err := o.tx.ExecContext(m.ctx, `UPDATE ledger SET n = n + 1 WHERE id = 1`)
	m.must(err)
	o.ledger++
}

// read takes the transaction's snapshot, which no lock operation may decide by.
func (m *machine) read(t *rapid.T) {
	o := m.begun(t)
	if m.strict {
		t.Skip("would be aborted")
	}
	var n int64
	m.must(o.tx.QueryRowContext(m.ctx, `SELECT COUNT(*) FROM helix_locks`).Scan(&n))
}

func (m *machine) savepoint(t *rapid.T) {
	o := m.begun(t)
	_, err := o.tx.ExecContext(m.ctx, fmt.Sprintf(`SAVEPOINT s%d`, len(o.savepoints)))
	m.must(err)
	o.save()
}

func (m *machine) rollbackTo(t *rapid.T) {
	o := m.caller
	if o == nil || len(o.savepoints) == 0 {
		t.Skip("no savepoint")
	}
	i := rapid.IntRange(0, len(o.savepoints)-1).Draw(t, "savepoint")
	_, err := o.tx.ExecContext(m.ctx, fmt.Sprintf(`ROLLBACK TO s%d`, i))
	m.must(err)
	o.rollbackTo(i)
	m.done.count("rollback to")
}

func (m *machine) commit(t *rapid.T) {
	if m.caller == nil {
		t.Skip("no transaction")
	}
	m.must(m.caller.tx.Commit())
	m.caller.commit()
	m.caller = nil
	m.done.count("commit")
}

func (m *machine) rollback(t *rapid.T) {
	if m.caller == nil {
		t.Skip("no transaction")
	}
	m.must(m.caller.tx.Rollback())
	m.caller = nil
	m.done.count("rollback")
}
