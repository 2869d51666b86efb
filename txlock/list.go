package txlock

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/gox-helix/gox-helix/lockdb"
)

const (
	// DefaultListLimit is how many keys [Locker.List] returns where
	// [ListOptions].Limit is zero.
	DefaultListLimit = 100

	// MaxListLimit is how many it returns at most.
	MaxListLimit = 1000
)

// ListOptions say which keys to list. Its zero value lists the first hundred.
type ListOptions struct {
	// Prefix is what the keys begin with, byte for byte.
	Prefix string
	// Statuses are those that the keys may have; none: all.
	Statuses []Status
	// Expired lists only leases that are active and have expired: their holders did
	// not release them, and nobody has acquired the key since.
	Expired bool
	// After lists only keys that come after this one, which need not exist: to get
	// the next page, give the last key of the one before.
	After string
	// Limit is how many keys to list, up to [MaxListLimit]; zero:
	// [DefaultListLimit]. For [Locker.All] it is how many a statement reads.
	Limit int
}

// List returns one page of keys, in the order of their bytes, as committed. It
// locks nothing and waits for nobody. A page that has fewer keys than the limit is
// the last.
//
// It fails with [ErrInvalidArgument] for options that make no sense, and otherwise
// as [Locker.Inspect] does; that nothing is found is no error.
//
// It is one statement in a transaction of its own, in READ COMMITTED, which is
// rolled back. The statement reads rows from After on until the page is full: with
// Statuses or Expired that few rows have, up to the prefix's last.
func (l *Locker) List(ctx context.Context, opts ListOptions) ([]Info, error) {
	p, err := opts.params()
	if err != nil {
		return nil, err
	}
	var rows []*lockdb.ListKeysRow
	err = l.read(ctx, "list", opts.After, sql.LevelReadCommitted, func(q *lockdb.Queries) (err error) {
		rows, err = q.ListKeys(ctx, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	infos := make([]Info, len(rows))
	for i, row := range rows {
		infos[i] = newInfo(*row)
	}
	return infos, nil
}

// All returns an iterator over every key of the options, in the order of their
// bytes, as [Locker.List] finds them page by page:
//
//	for info, err := range locker.All(ctx, txlock.ListOptions{Prefix: "tenant:7/"}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(info.Key, info.Status)
//	}
//
// It keeps one page in memory, and no connection while the loop's body runs. Each
// page is a reading of its own: keys that come and go meanwhile may be seen or not,
// and none is seen twice. An error is what List fails with; it ends the iteration.
// To go on from there, give the last key seen as After.
func (l *Locker) All(ctx context.Context, opts ListOptions) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		page := opts // the iterator may be used again
		for {
			infos, err := l.List(ctx, page)
			if err != nil {
				yield(Info{}, err)
				return
			}
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
			}
			if len(infos) < page.limit() {
				return
			}
			page.After = infos[len(infos)-1].Key
		}
	}
}

// anyStatus is the set of all statuses.
const anyStatus = -1

func (o ListOptions) limit() int {
	if o.Limit == 0 {
		return DefaultListLimit
	}
	return o.Limit
}

// params validates the options.
func (o ListOptions) params() (lockdb.ListKeysParams, error) {
	invalid := func(value, reason string) (lockdb.ListKeysParams, error) {
		return lockdb.ListKeysParams{}, &InvalidError{Kind: ErrInvalidArgument, Value: "ListOptions{" + value + "}", Reason: reason}
	}
	for name, value := range map[string]string{"Prefix": o.Prefix, "After": o.After} {
		if len(value) > MaxKeyBytes {
			return invalid(name+": "+quoteName(value), fmt.Sprintf("has %d bytes: no key has more than %d", len(value), MaxKeyBytes))
		}
	}
	if o.Limit < 0 || o.Limit > MaxListLimit {
		return invalid("Limit: "+strconv.Itoa(o.Limit), fmt.Sprintf("must be from 1 to %d, or 0 for %d", MaxListLimit, DefaultListLimit))
	}
	if o.Expired && len(o.Statuses) > 0 && !slices.Contains(o.Statuses, StatusActive) {
		return invalid("Expired: true", "only an active lease expires: leave Statuses out, or add StatusActive")
	}
	p := lockdb.ListKeysParams{Limit: int32(o.limit()), Statuses: anyStatus, MaxRemainingMicros: math.MaxInt64}
	p.FromHex, p.BeforeHex = keyRange(o.Prefix, o.After)
	if len(o.Statuses) > 0 {
		p.Statuses = 0
	}
	for _, s := range o.Statuses {
		if s < StatusInactive || s > StatusDeletable {
			return invalid("Statuses: "+s.String(), "there is no such status")
		}
		p.Statuses |= 1 << s
	}
	if o.Expired {
		p.Statuses, p.MaxRemainingMicros = 1<<StatusActive, 0
	}
	return p, nil
}
