package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/txlock"
)

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show KEY",
		Short: "Show who holds a key",
		Long: `Show what the database says of a key: who holds it or held it last, its epoch
(the fencing token), and what is left of its lease on the server's clock. It
reads, and locks nothing. A key that was never locked, or was purged, is not there:
exit status 1.`,
		Example: `  txlock show nightly-report
  txlock show --json nightly-report | jq .held
  txlock show --quoted '"\x00\x01"'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: verb(func(ctx context.Context, args []string) error {
			key, err := a.key(args[0])
			if err != nil {
				return err
			}
			return a.withLocker(ctx, func(_ *sql.DB, locker *txlock.Locker) error {
				info, err := locker.Inspect(ctx, key)
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.printJSON(newInfoJSON(info))
				}
				return a.print(a.describe(info))
			})
		}),
	}
	a.addJSONFlag(cmd)
	a.addQuotedFlag(cmd)
	return cmd
}

// describe has a line for each thing there is to say.
func (a *app) describe(i *txlock.Info) string {
	owner := quote(i.Owner)
	if i.Owner == "" {
		owner = "-"
	}
	return render(nil, []table.Row{
		{"key", quote(i.Key)},
		{"status", a.status(i)},
		{"remaining", remaining(i)},
		{"owner", owner},
		{"epoch", fmt.Sprint(i.Epoch)},
		{"acquired", ago(i.SinceAcquired)},
		{"changed", ago(i.SinceUpdated)},
		{"created", ago(i.SinceCreated)},
	})
}
