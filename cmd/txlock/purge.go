package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/txlock"
)

func (a *app) purgeCommand() *cobra.Command {
	var opts txlock.PurgeOptions
	cmd := &cobra.Command{
		Use:   "purge",
		Short: "Delete the rows of retired keys",
		Long: `Delete the rows of keys that were retired, and with --idle also of free keys that
nobody has locked for so long. The epochs of a purged key never go back: it goes
on from the highest that was deleted.

It runs beside all lock traffic, reads the table once, and deletes in small
transactions. It never waits for a lock: what is in use it leaves for the next
time. It can be interrupted and run again.`,
		Example: `  txlock purge
  txlock purge --idle 720h   # free for thirty days`,
		Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return a.withLocker(ctx, func(db *sql.DB, locker *txlock.Locker) error {
				bar, err := a.purgeBar(ctx, db)
				if err != nil {
					return err
				}
				var last txlock.PurgeProgress
				opts.Progress = func(p txlock.PurgeProgress) {
					last = p
					_ = bar.Set64(p.Scanned) // a bar that cannot be drawn is no reason to stop
				}
				purged, err := locker.Purge(ctx, opts)
				_ = bar.Exit()
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.printJSON(map[string]int64{"purged": purged, "skipped": last.Skipped, "scanned": last.Scanned})
				}
				out := fmt.Sprintf("purged %d of %d keys\n", purged, last.Scanned)
				if last.Skipped > 0 {
					out += fmt.Sprintf("left %d that were in use for the next time\n", last.Skipped)
				}
				return a.print(out)
			})
		}),
	}
	cmd.Flags().DurationVar(&opts.Idle, "idle", 0, "also free keys that have not changed for so `long`, as 720h")
	cmd.Flags().IntVar(&opts.BatchSize, "batch", txlock.DefaultPurgeBatch, "delete at most so `many` keys in one transaction")
	a.addJSONFlag(cmd)
	return cmd
}

// purgeBar shows on a terminal how much of the table has been looked at.
func (a *app) purgeBar(ctx context.Context, db *sql.DB) (*progressbar.ProgressBar, error) {
	if !isTerminal(a.stderr) {
		return progressbar.DefaultSilent(-1), nil
	}
	total, err := countKeys(ctx, db)
	if err != nil {
		return nil, err
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(io.Writer(a.stderr)),
		progressbar.OptionSetDescription("purging"),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
		progressbar.OptionFullWidth(),
		progressbar.OptionShowCount(),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionThrottle(50*time.Millisecond),
	), nil
}
