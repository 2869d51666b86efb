package migrations

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/internal/schema"
	"github.com/gox-helix/gox-helix/lockdb"
)

// Adoption is what [Adopt] has taken over, or with [WithDryRun] would take over.
type Adoption struct {
	Older      bool        // there was an older table
	Rows       int64       // in it
	Holders    []Holder    // of its active locks
	Collisions []Collision // keys that become locks of their own
	Migrations []*goose.MigrationResult
}

// Holder is whoever holds a lock of an older table.
type Holder struct {
	Key, Owner string
	Left       time.Duration // until the expiry; negative: since then
}

// Collision is a set of keys that the collation of an older helix_locks takes for one lock
// (which differ in case, accents or trailing spaces, say), in the order of their bytes. Now
// they are different locks, and each gets the holder and the epoch that they shared: let
// all programs use one spelling.
type Collision struct{ Keys []string }

// Adopt takes over a helix_locks of an older version, of a column id and one row for each
// key and status, and then calls [Up]. Every lock stays with its holder until it expires,
// and no epoch is lower than it was. Where there is no such table it only calls Up.
//
// It looks before it changes anything, and refuses what does not fit. Then it closes
// helix_locks to every program, old and new, copies, and opens the new table. The older one
// stays, as helix_locks_older. A call that was interrupted at any point is finished by the
// next; until then helix_locks stays closed, and Up fails with [ErrOlder]. See the package's
// documentation for what to do before, and for the way back.
//
// It fails with an [Error]: with [ErrWriterTimeZone] in it where the expiries of active
// locks look as if their writers had not been in UTC, an hour or more ahead or just over:
// look at the Holders of a dry run, which does not ask, and give [WithWriterTimeZone]; with
// [ErrLockTimeout] as Up does. Where Up fails, what was taken over is returned beside the
// error. It excludes other processes by a named lock of the server, or by what
// WithSessionLocker gives: on a cluster call it on one node. The other options of Up for
// locks are refused. It takes one connection of the pool, and closes it.
func Adopt(ctx context.Context, db *sql.DB, opts ...Option) (*Adoption, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if c.unlocked || c.locker != nil {
		return nil, errors.New("migrations: Adopt with WithoutLock or WithLocker: it needs a session's lock, leave them out")
	}
	if db == nil {
		return nil, errors.New("migrations: adopt: no *sql.DB: give the pool of the database to migrate")
	}
	a, err := c.adopt(ctx, db)
	if err != nil {
		return nil, failed("adopt", nil, err)
	}
	if !c.dryRun {
		c.logAdoption(ctx, a)
	}
	a.Migrations, err = c.migrate(ctx, db, "up", latest())
	return a, err
}

func (c config) logAdoption(ctx context.Context, a *Adoption) {
	if c.logger == nil || !a.Older {
		return
	}
	c.logger.InfoContext(ctx, "migrations: took an older helix_locks over", "rows", a.Rows, "holders", len(a.Holders))
	for _, collision := range a.Collisions {
		c.logger.WarnContext(ctx, "migrations: keys of one older lock are locks of their own now: let all programs use one spelling", "keys", collision.Keys)
	}
}

// adopt is Adopt but for the migrations after it.
func (c config) adopt(ctx context.Context, db *sql.DB) (_ *Adoption, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	a := &adoption{conn: conn, zone: c.writerZone, dryRun: c.dryRun}
	defer func() { err = errors.Join(a.explain(err), a.close()) }()
	locker, err := c.sessionLockerOn(db)
	if err != nil {
		return nil, err
	}
	if !c.dryRun {
		if err := locker.SessionLock(ctx, conn); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, locker.SessionUnlock(context.WithoutCancel(ctx), conn)) }()
	}
	seen, err := a.look(ctx)
	if err != nil || !seen.Older || c.dryRun {
		return seen, err
	}
	return a.run(ctx, seen)
}

// adoption is one that is under way.
type adoption struct {
	conn   *sql.Conn
	shape  schema.Shape
	zone   string // of whoever wrote the expiries, empty: not told
	dryRun bool
	since  time.Time // the first look
}

// explain says what has become of helix_locks.
func (a *adoption) explain(err error) error {
	switch {
	case err == nil || a.shape.State == schema.Missing || a.shape.State == schema.Current:
		return err
	case a.shape.State == schema.Closed:
		return fmt.Errorf("%w (helix_locks stays closed until this has succeeded)", err)
	}
	return fmt.Errorf("%w (helix_locks stays as it was)", err)
}

// close ends the connection, whose session has changed.
func (a *adoption) close() error {
	err := a.conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return nil // which is how a pool is told
	}
	return err
}

// writerZone is UTC unless it was told.
func (a *adoption) writerZone() string { return cmp.Or(a.zone, "+00:00") }

// older are the statements about the older table, by whatever name and of whatever shape.
func (a *adoption) older(db lockdb.DBTX) *lockdb.Queries {
	names := []string{}
	if a.shape.State == schema.Older {
		names = append(names, "helix_locks_older", "helix_locks")
	}
	if !a.shape.HasEpoch {
		names = append(names, "older.epoch", "0")
	}
	return lockdb.New(renamed{db, strings.NewReplacer(names...)})
}

// look finds out what there is to adopt, and refuses what it cannot.
func (a *adoption) look(ctx context.Context) (*Adoption, error) {
	var err error
	if a.shape, err = schema.Look(ctx, a.conn); err != nil {
		return nil, err
	}
	switch {
	case a.shape.State == schema.Missing && a.shape.HasAside:
		return nil, errors.New("there is a helix_locks_older, and no helix_locks: " +
			"RENAME TABLE helix_locks_older TO helix_locks and call this again, or call Up to begin without its locks")
	case a.shape.State == schema.Missing || a.shape.State == schema.Current:
		return &Adoption{}, nil
	case a.shape.State == schema.Unknown:
		return nil, errors.New("helix_locks is a table of a shape that is not known here: rename it")
	case a.shape.State == schema.Older && a.shape.HasAside:
		return nil, errors.New("there is a helix_locks_older, too: see which has the locks, and rename the other")
	case a.shape.Foreign:
		return nil, errors.New("helix_locks_closed is a table of a shape that is not known here: rename it")
	}
	zone := a.writerZone()
	q := a.older(a.conn)
	found, err := q.CheckOlder(ctx, zone)
	switch {
	case err != nil:
		return nil, err
	case found.ZoneKnown == 0:
		return nil, fmt.Errorf("the server does not know the time zone %q: give a difference, such as \"-08:00\", or load its time zones", zone)
	case found.UnfitRows > 0:
		return nil, fmt.Errorf("%d rows have a lock_key or an owner_id that is empty or longer than 255 bytes in UTF-8: delete or shorten them", found.UnfitRows)
	}
	seen := &Adoption{Older: true, Rows: found.AllRows}
	if seen.Holders, err = holders(ctx, q, zone); err != nil {
		return nil, err
	}
	if seen.Collisions, err = collisions(ctx, q); err != nil {
		return nil, err
	}
	if a.zone != "" || a.dryRun {
		return seen, nil
	}
	if a.since.IsZero() {
		a.since = time.Now()
	}
	return seen, a.zoneError(seen.Holders)
}

func holders(ctx context.Context, q *lockdb.Queries, zone string) (all []Holder, err error) {
	rows, err := q.OlderHolders(ctx, zone)
	for _, row := range rows {
		key, keyErr := hex.DecodeString(row.KeyHex)
		owner, ownerErr := hex.DecodeString(row.OwnerHex)
		if err := errors.Join(keyErr, ownerErr); err != nil {
			return nil, err
		}
		all = append(all, Holder{string(key), string(owner), time.Duration(row.RemainingMicros) * time.Microsecond})
	}
	return all, err
}

func collisions(ctx context.Context, q *lockdb.Queries) (all []Collision, err error) {
	rows, err := q.OlderCollisions(ctx)
	last := int64(-1)
	for _, row := range rows {
		key, err := hex.DecodeString(row.KeyHex)
		if err != nil {
			return nil, err
		}
		if row.Nth != last {
			all = append(all, Collision{})
		}
		last = row.Nth
		c := &all[len(all)-1]
		c.Keys = append(c.Keys, string(key))
	}
	return all, err
}

const (
	// A TTL of an older program is taken to be shorter than this.
	longTTL = time.Hour

	// No time zone is farther from UTC.
	farthestZone = 14 * time.Hour
)

// zoneError asks for the time zone where some expiry may be off by it.
func (a *adoption) zoneError(holders []Holder) error {
	var odd []Holder
	for _, h := range holders {
		over := h.Left + time.Since(a.since) // what ran out since the first look is not odd
		if h.Left > longTTL || over < 0 && h.Left > -farthestZone {
			odd = append(odd, h)
		}
	}
	if len(odd) == 0 {
		return nil
	}
	first := odd[0]
	return fmt.Errorf("%w: %d active locks look as if it mattered, such as %q of %q with %v left: "+
		`give WithWriterTimeZone (--writer-time-zone), "+00:00" if their sessions were in UTC, and see by a dry run what time each holder would have left`,
		ErrWriterTimeZone, len(odd), first.Key, first.Owner, first.Left.Round(time.Second))
}

// run takes the older table over, and returns what was in it at last. Between any two of
// its statements the process may be killed: what there is tells the next call where to go
// on.
func (a *adoption) run(ctx context.Context, seen *Adoption) (*Adoption, error) {
	if err := setTableWait(ctx, a.conn, tableWait); err != nil {
		return nil, err
	}
	if err := a.createImport(ctx); err != nil {
		return nil, err
	}
	if err := a.copy(ctx, true); err != nil {
		return nil, err
	}
	q := lockdb.New(a.conn)
	if a.shape.State == schema.Older {
		if err := q.CreateClosed(ctx); err != nil {
			return nil, err
		}
		// Waits for transactions that have used the table, read or written.
		if err := q.SetOlderAside(ctx); err != nil {
			if !errors.As(err, new(*mysql.MySQLError)) {
				a.shape.State = schema.Closed // for all that is known
			}
			return nil, err
		}
		var err error
		if seen, err = a.look(ctx); err != nil { // what was written meanwhile
			return nil, err
		}
	}
	if err := a.copy(ctx, false); err != nil {
		return nil, err
	}
	return seen, q.ImportBecomesLocks(ctx)
}

// createImport makes the table that is to be helix_locks, as the migration does, and
// helix_lock_floor.
func (a *adoption) createImport(ctx context.Context) error {
	text, err := fs.ReadFile(FS, names()[0])
	if err != nil {
		return err
	}
	up, _, _ := strings.Cut(string(text), "-- +goose Down")
	as := renamed{a.conn, strings.NewReplacer("helix_locks", "helix_locks_import")}
	for statement := range strings.SplitSeq(strings.TrimSpace(up), ";\n") {
		if _, err := as.ExecContext(ctx, strings.TrimSuffix(statement, ";")); err != nil {
			return err
		}
	}
	return nil
}

// copy fills it. To try copies no row, so that what the server refuses (a privilege that is
// missing, updates that it takes for unsafe) it refuses before the older table is closed.
func (a *adoption) copy(ctx context.Context, try bool) (err error) {
	tx, err := a.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if rollbackErr := tx.Rollback(); !errors.Is(rollbackErr, sql.ErrTxDone) {
			err = errors.Join(err, rollbackErr)
		}
	}()
	if err := lockdb.New(tx).ClearImport(ctx); err != nil {
		return err
	}
	var from lockdb.DBTX = tx
	if try {
		from = renamed{tx, strings.NewReplacer(
			"helix_locks AS older", "(SELECT * FROM helix_locks LIMIT 0) AS older",
			"helix_locks_older AS older", "(SELECT * FROM helix_locks_older LIMIT 0) AS older",
		)}
	}
	// One lease_id for all: older programs know none, and so nobody has a lease by it.
	p := lockdb.CopyOlderParams{TimeZone: a.writerZone(), LeaseID: rand.Int64N(math.MaxInt64) + 1}
	if _, err := a.older(from).CopyOlder(ctx, p); err != nil {
		return err
	}
	if err := lockdb.New(tx).RaiseAdoptedFloors(ctx); err != nil || try {
		return err
	}
	return tx.Commit()
}
