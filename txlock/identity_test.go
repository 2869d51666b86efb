package txlock_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/gox-helix/gox-helix/txlock"
)

// A lease is its row's key, epoch and number: where one of them is another's, whatever
// the rest say, nothing is renewed, verified or released.
func TestEveryPartOfALeaseCounts(t *testing.T) {
	for fence, opts := range map[string][]txlock.Option{"shared": nil, "written": {txlock.WithMultiWriter()}} {
		for name, other := range map[string]string{
			"epoch":  `epoch = epoch + 1`,
			"number": `lease_id = lease_id ^ 1`,
		} {
			t.Run(fence+" fence/"+name, func(t *testing.T) {
				onServers(t, func(l *live) {
					ctx := l.Context()
					lease := l.try(l.locker(l.db, opts...))
					l.exec(`UPDATE helix_locks SET `+other+` WHERE lock_key = ?`, l.key)
					before := l.row()
					for op, err := range map[string]error{
						"InTx":    lease.InTx(ctx, func(context.Context, *sql.Tx) error { l.Error("ran"); return nil }),
						"Renew":   lease.Renew(ctx),
						"Release": lease.Release(ctx),
					} {
						if !errors.Is(err, txlock.ErrLost) {
							l.Errorf("%s: got %v", op, err)
						}
					}
					if r := l.row(); r != before {
						l.Errorf("changed to %+v, was %+v", r, before)
					}
				})
			})
		}
	}
}
