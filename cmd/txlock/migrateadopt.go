package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/migrations"
)

// adoptionJSON is an adoption as programs read it.
type adoptionJSON struct {
	Rows       int64           `json:"rows"`
	Holders    []holderJSON    `json:"holders"`
	Collisions [][]string      `json:"collisions"`
	Migrations []migrationJSON `json:"migrations"`
}

type holderJSON struct {
	Key         string  `json:"key"`
	Owner       string  `json:"owner"`
	LeftSeconds float64 `json:"left_seconds"`
}

type adoptFlags struct {
	dryRun   bool
	zone     string
	lockWait time.Duration
}

func (a *app) migrateAdoptCommand() *cobra.Command {
	var f adoptFlags
	cmd := &cobra.Command{
		Use:   "adopt",
		Short: "Take a helix_locks of an older version over, with its locks",
		Long: `Take a helix_locks of an older version over, with its locks, and migrate. Every lock
stays with its holder until it expires, and no epoch is lower than it was. What does
not fit is refused before that table is touched. Meanwhile helix_locks is closed to all
programs; a run that was interrupted is finished by the next. The older table stays, as
helix_locks_older. On a cluster run it on one node.

Older programs wrote the text of a time in UTC into a column that takes it for a time of
the session's zone. If their sessions were not in UTC, name their zone: the dry run shows
what time each holder would have left, which should be less than the TTL of its program.`,
		Example: "  txlock migrate adopt --dry-run\n  txlock migrate adopt --writer-time-zone=-08:00",
		Args:    cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			opts, err := f.options()
			if err != nil {
				return err
			}
			return a.withDatabase(ctx, func(db *sql.DB) error {
				adoption, err := migrations.Adopt(ctx, db, opts...)
				if adoption != nil {
					err = errors.Join(a.printAdoption(adoption, f.dryRun), err)
				}
				return err
			})
		}),
	}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only say what would be taken over")
	cmd.Flags().StringVar(&f.zone, "writer-time-zone", "", "the time zone of the older programs' sessions, such as -08:00")
	cmd.Flags().DurationVar(&f.lockWait, "lock-wait", 5*time.Minute, "how long to wait for another process that migrates")
	a.addJSONFlag(cmd)
	return cmd
}

func (f *adoptFlags) options() (opts []migrations.Option, err error) {
	locker, err := migrations.NewSessionLocker(migrations.LockWait(f.lockWait))
	if err != nil {
		return nil, usageErrorf("%w", err)
	}
	opts = append(opts, migrations.WithSessionLocker(locker))
	if f.dryRun {
		opts = append(opts, migrations.WithDryRun())
	}
	if f.zone != "" {
		opts = append(opts, migrations.WithWriterTimeZone(f.zone))
	}
	return opts, nil
}

func (a *app) printAdoption(adoption *migrations.Adoption, dryRun bool) error {
	for _, c := range adoption.Collisions {
		var keys []string
		for _, key := range c.Keys {
			keys = append(keys, quote(key))
		}
		a.say("warning: the older helix_locks takes these keys for one lock, and they become locks of their own: use one spelling in all programs: %s", strings.Join(keys, ", "))
	}
	if a.flags.json {
		out := adoptionJSON{adoption.Rows, []holderJSON{}, [][]string{}, listMigrations(adoption.Migrations, dryRun)}
		for _, h := range adoption.Holders {
			out.Holders = append(out.Holders, holderJSON{h.Key, h.Owner, h.Left.Seconds()})
		}
		for _, c := range adoption.Collisions {
			out.Collisions = append(out.Collisions, c.Keys)
		}
		return a.printJSON(out)
	}
	var out strings.Builder
	if adoption.Older {
		verb := "took over"
		if dryRun {
			verb = "would take over"
		}
		fmt.Fprintf(&out, "%s %d rows of the older helix_locks, %d of them active\n", verb, adoption.Rows, len(adoption.Holders))
	}
	for _, h := range adoption.Holders {
		left := h.Left.Round(time.Second)
		if left < 0 {
			fmt.Fprintf(&out, "%s: %s, over for %v\n", quote(h.Key), quote(h.Owner), -left)
		} else {
			fmt.Fprintf(&out, "%s: %s, %v left\n", quote(h.Key), quote(h.Owner), left)
		}
	}
	if err := a.print(out.String()); err != nil {
		return err
	}
	if adoption.Older && len(adoption.Migrations) == 0 {
		return nil
	}
	return a.printResults(adoption.Migrations, dryRun, false)
}
