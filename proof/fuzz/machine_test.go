package fuzz_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"pgregory.net/rapid"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
)

// TestMachine runs random histories of one caller's transactions, beside what others
// do meanwhile, and compares every answer, and what is committed after every step,
// with the model. Nothing waits for a row lock or for time to pass: leases are long,
// and expire by an UPDATE of the test's.
func TestMachine(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		database := s.MigratedDatabase(t)
		db := s.Open(t, func(c *mysql.Config) {
			c.DBName = database
			c.InterpolateParams = true
			// Where the model is wrong about a lock, it is soon seen to be.
			c.Params = map[string]string{"innodb_lock_wait_timeout": "2"}
		})
		must(t, execAll(t.Context(), db, `CREATE TABLE ledger (id INT PRIMARY KEY, n BIGINT NOT NULL)`, `INSERT INTO ledger VALUES (1, 0), (2, 0)`))
		// MariaDB then aborts who locks a row that has changed since it first read.
		var name, strict string
		err := db.QueryRowContext(t.Context(), `SHOW VARIABLES LIKE 'innodb_snapshot_isolation'`).Scan(&name, &strict)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
		var done tally
		rapid.Check(t, func(rt *rapid.T) {
			m := newMachine(rt, db, &done)
			m.strict = strict == "ON"
			defer m.close()
			rt.Repeat(m.actions())
		})
		t.Log(&done)
	})
}

// keysOfMachine are few, so that they meet; the last two are of one shard.
func keysOfMachine() []string { return []string{"a", "a ", "A", "k0", "k66"} }

// machine is one history.
type machine struct {
	*rapid.T
	ctx     context.Context
	db      *sql.DB
	done    *tally
	world   *world
	actors  []*actor
	handles []*handle
	nextID  int
	strict  bool // nobody may read before they lock

	caller, rival *opened // nil where none is open
}

// opened is an open transaction.
type opened struct {
	*view
	tx *sql.Tx
}

// tally counts what happened, to see that everything does.
type tally struct{ n map[string]int }

func (t *tally) count(what string) {
	if t.n == nil {
		t.n = make(map[string]int)
	}
	t.n[what]++
}

func (t *tally) String() string {
	s := ""
	for _, what := range sortedKeys(t.n) {
		s += fmt.Sprintf("%s %d, ", what, t.n[what])
	}
	return s
}

func execAll(ctx context.Context, db *sql.DB, statements ...string) error {
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func newMachine(t *rapid.T, db *sql.DB, done *tally) *machine {
	m := &machine{T: t, ctx: context.Background(), db: db, done: done, world: &world{rows: make(map[string]row), floors: make(map[uint32]int64)}}
	m.must(execAll(m.ctx, db, `DELETE FROM helix_locks`, `UPDATE helix_lock_floor SET floor_epoch = 0`, `UPDATE ledger SET n = 0`))
	m.actor("one", txlock.WithOwner("1"))
	m.actor("one again", txlock.WithOwner("1"))
	m.actor("two", txlock.WithOwner("2"), txlock.WithMultiWriter())
	if rapid.IntRange(0, 3).Draw(t, "prepared") == 3 {
		m.must(m.actors[0].Prepare(m.ctx))
	}
	return m
}

func (m *machine) actor(name string, opts ...txlock.Option) {
	l, err := txlock.New(m.db, opts...)
	m.must(err)
	m.actors = append(m.actors, &actor{Locker: l, name: name, multi: name == "two", known: make(map[string]bool)})
}

// close ends what a history has left, also one that failed.
func (m *machine) close() {
	for _, o := range []*opened{m.caller, m.rival} {
		if o != nil {
			_ = o.tx.Rollback()
		}
	}
	for _, a := range m.actors {
		_ = a.Close()
	}
}

func (m *machine) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *machine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":                m.compare,
		"AcquireTx":       m.acquireTx,
		"AcquireTx again": m.acquireTx, // more often
		"AcquireManyTx":   m.acquireManyTx,
		"LockTx":          m.lockTx,
		"RenewTx":         m.renewTx,
		"VerifyTx":        m.verifyTx,
		"ReleaseTx":       m.releaseTx,
		"write":           m.write,
		"read":            m.read,
		"savepoint":       m.savepoint,
		"rollback to":     m.rollbackTo,
		"commit":          m.commit,
		"rollback":        m.rollback,
		"rival":           m.rivalBegins,
		"rival ends":      m.rivalEnds,
		"TryAcquire":      m.tryAcquire,
		"another":         m.tryAcquire,
		"Do":              m.do,
		"Renew":           m.renew,
		"Release":         m.release,
		"InTx":            m.inTx,
		"Revoke":          m.revoke,
		"Retire":          m.retire,
		"Purge":           m.purge,
		"Inspect":         m.inspect,
		"expire":          m.expire,
		"expire again":    m.expire,
	}
}

// compare compares what is committed with the model. What open transactions have
// written must not be seen.
func (m *machine) compare(*rapid.T) {
	m.Helper()
	got := make(map[string]string)
	rows, err := m.db.QueryContext(m.ctx, `SELECT lock_key, owner_id, epoch, status, expires_at <= UTC_TIMESTAMP(6), lease_id <> 0 FROM helix_locks`)
	m.must(err)
	defer rows.Close() //nolint:errcheck // read to the end
	for rows.Next() {
		var r row
		var key string
		var leased bool
		m.must(rows.Scan(&key, &r.owner, &r.epoch, &r.status, &r.expired, &leased))
		got[key] = fmt.Sprintf("%q %d %v, expired %v, leased %v", r.owner, r.epoch, r.status, r.expired, leased)
	}
	m.must(rows.Err())
	want := make(map[string]string)
	for key, r := range m.world.rows {
		want[key] = fmt.Sprintf("%q %d %v, expired %v, leased %v", r.owner, r.epoch, r.status, !r.held(), r.lease != 0)
	}
	if !maps.Equal(got, want) {
		m.Fatalf("committed is %v, should be %v", got, want)
	}
	if n := m.number(`SELECT n FROM ledger WHERE id = 1`); n != m.world.ledger {
		m.Fatalf("the ledger says %d, should be %d", n, m.world.ledger)
	}
	floors := make(map[uint32]int64)
	raised, err := m.db.QueryContext(m.ctx, `SELECT shard, floor_epoch FROM helix_lock_floor WHERE floor_epoch <> 0`)
	m.must(err)
	defer raised.Close() //nolint:errcheck // read to the end
	for raised.Next() {
		var shard uint32
		var floor int64
		m.must(raised.Scan(&shard, &floor))
		floors[shard] = floor
	}
	m.must(raised.Err())
	if !maps.Equal(floors, m.world.floors) {
		m.Fatalf("the floors are %v, should be %v", floors, m.world.floors)
	}
}

func (m *machine) number(query string, args ...any) (n int64) {
	m.Helper()
	m.must(m.db.QueryRowContext(m.ctx, query, args...).Scan(&n))
	return n
}

// begun is the caller's transaction, begun where there is none.
func (m *machine) begun(t *rapid.T) *opened {
	if m.caller == nil {
		level := rapid.SampledFrom([]sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead}).Draw(t, "isolation")
		m.caller = m.open(level)
	}
	return m.caller
}

func (m *machine) open(level sql.IsolationLevel) *opened {
	tx, err := m.db.BeginTx(m.ctx, &sql.TxOptions{Isolation: level})
	m.must(err)
	o := &opened{newView(m.world), tx}
	o.repeatable = level == sql.LevelRepeatableRead
	return o
}

// locked is how certain it is that an open transaction, but for one, has a key's row
// locked.
func (m *machine) locked(key string, but *opened) (c certainty) {
	for _, o := range []*opened{m.caller, m.rival} {
		if o != nil && o != but {
			c = max(c, o.locks[key])
		}
	}
	return c
}

// mayInsert reports whether no other transaction can be in the way of an insert.
func (m *machine) mayInsert(but *opened) bool {
	for _, o := range []*opened{m.caller, m.rival} {
		if o != nil && o != but && o.gaps {
			return false
		}
	}
	return true
}

// anywhere is a key's row if it is there for a reader of what is not committed.
func (m *machine) anywhere(key string) bool {
	for _, o := range []*opened{m.caller, m.rival} {
		if o != nil {
			if _, there := o.row(key); there {
				return true
			}
		}
	}
	_, there := m.world.rows[key]
	return there
}

func drawKey(t *rapid.T) string { return rapid.SampledFrom(keysOfMachine()).Draw(t, "key") }

func (m *machine) drawActor(t *rapid.T) *actor {
	return m.actors[rapid.IntRange(0, len(m.actors)-1).Draw(t, "actor")]
}

// drawHandle is a lease, one of the latest.
func (m *machine) drawHandle(t *rapid.T) *handle {
	if len(m.handles) == 0 {
		t.Skip("no lease")
	}
	latest := m.handles[max(0, len(m.handles)-6):]
	return latest[len(latest)-1-rapid.IntRange(0, len(latest)-1).Draw(t, "lease")]
}

// request is what an acquisition asks for.
type request struct {
	ttl             time.Duration
	reclaim, noWait bool
}

func drawRequest(t *rapid.T) request {
	return request{
		ttl:     hour * time.Duration(rapid.IntRange(1, 3).Draw(t, "hours")),
		reclaim: rapid.IntRange(0, 2).Draw(t, "reclaim") == 2,
		noWait:  rapid.Bool().Draw(t, "no wait"),
	}
}

func (r request) options() []txlock.AcquireOption {
	opts := []txlock.AcquireOption{txlock.TTL(r.ttl)}
	if r.reclaim {
		opts = append(opts, txlock.Reclaim())
	}
	if r.noWait {
		opts = append(opts, txlock.NoWait())
	}
	return opts
}

// granted is the row of a key that was acquired.
func (m *machine) granted(a *actor, before row, r request) row {
	m.nextID++
	return row{owner: a.Owner(), epoch: before.epoch + 1, status: txlock.StatusActive, lease: m.nextID, ttl: r.ttl}
}

// lockKind is how a key is locked for a transaction.
type lockKind struct {
	newEpoch, shared, noWait bool
	writes                   bool // also a row that is there and free
}

// drawLock draws a kind of lock that the actor can have.
func drawLock(t *rapid.T, a *actor) (k lockKind) {
	switch rapid.SampledFrom([]string{"plain", "plain", "no wait", "new epoch", "shared"}).Draw(t, "lock") {
	case "no wait":
		k.noWait = true
	case "new epoch":
		k.newEpoch, k.noWait = true, rapid.Bool().Draw(t, "no wait")
	case "shared":
		k.shared = !a.multi
	}
	k.writes = k.newEpoch || a.multi
	return k
}

func (k lockKind) options() (opts []txlock.AcquireOption) {
	if k.noWait {
		opts = append(opts, txlock.NoWait())
	}
	if k.newEpoch {
		opts = append(opts, txlock.NewEpoch())
	}
	if k.shared {
		opts = append(opts, txlock.Shared())
	}
	return opts
}

func (k lockKind) String() string {
	return fmt.Sprintf("(new epoch %v, shared %v, no wait %v)", k.newEpoch, k.shared, k.noWait)
}

// lockedRow is the row of a key that was locked for a transaction, free, and whether the
// lock writes it: with an epoch of its own, over a lease that has expired, or anew.
func (k lockKind) lockedRow(a *actor, before row, there bool) (r row, writes bool) {
	if k.writes || before.status == txlock.StatusActive {
		return row{owner: a.Owner(), epoch: before.epoch + 1, status: txlock.StatusInactive}, true
	}
	return before, !there
}

// remember is what the actor remembers of a key that it has asked to lock.
func (k lockKind) remember(a *actor, key string, r row, there bool) {
	if k.writes {
		a.remember(key, r, there)
	} else {
		a.rememberLock(key, r, there)
	}
}

// isLease fails the test unless a lease is as the model says, and keeps it.
func (m *machine) isLease(lease *txlock.Lease, a *actor, key string, r row) {
	m.Helper()
	if lease.Key() != key || lease.Owner() != a.Owner() || lease.Epoch() != r.epoch {
		m.Fatalf("a lease of %q by %q, epoch %d; want %q by %q, epoch %d", lease.Key(), lease.Owner(), lease.Epoch(), key, a.Owner(), r.epoch)
	}
	m.handles = append(m.handles, &handle{r.lease, lease, a, key})
}

// isHeld fails the test unless err says that one of these keys is held, and for how
// long.
func (m *machine) isHeld(err error, v *view, keys ...string) {
	m.Helper()
	var held *txlock.HeldError
	if !errors.As(err, &held) || !errors.Is(err, txlock.ErrHeld) || txlock.IsRetryable(err) || !slices.Contains(keys, held.Key) {
		m.Fatalf("got %v; one of %q is held", err, keys)
	}
	r, _ := v.row(held.Key)
	if most := r.ttl; held.RetryAfter > most || held.RetryAfter < most-hour/2 {
		m.Fatalf("got %v; it has about %v left", err, most)
	}
}

func (m *machine) isBusy(err error, key string) {
	m.Helper()
	var busy *txlock.BusyError
	var fromServer *mysql.MySQLError
	if !errors.As(err, &busy) || busy.Key != key || txlock.IsRetryable(err) || errors.As(err, &fromServer) {
		m.Fatalf("got %v; %q is locked", err, key)
	}
}

// isLost fails the test unless err says that of this lease.
func (m *machine) isLost(err error, h *handle) {
	m.Helper()
	var lost *txlock.LostError
	if !errors.As(err, &lost) || lost.Key != h.key || lost.Owner != h.lease.Owner() || lost.Epoch != h.lease.Epoch() || lost.Err != nil {
		m.Fatalf("got %v; lease %d of %q is lost", err, h.lease.Epoch(), h.key)
	}
}

// firstOf is the first of keys, by bytes, for which what holds; "" for none.
func firstOf(keys []string, what func(key string) bool) (first string) {
	for _, key := range keys {
		if what(key) && (first == "" || cmp.Less(key, first)) {
			first = key
		}
	}
	return first
}
