package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/txlock"
)

type lsFlags struct {
	statuses []string
	expired  bool
	sort     string
	reverse  bool
	limit    int
	quiet    bool
	watch    time.Duration
}

func (a *app) lsCommand() *cobra.Command {
	var f lsFlags
	cmd := &cobra.Command{
		Use:   "ls [PREFIX]",
		Short: "List keys, and who holds them",
		Long: `List the keys that begin with PREFIX, or all, with their status, epoch (the
fencing token), what is left of their leases on the server's clock, and their
owners. A key is "active" under a lease, "expired" if that was not released and
nobody has taken the key over, "inactive" if it is free, and "deletable" if it was
retired. Keys that cannot be printed are shown quoted. It reads, a thousand keys a
statement, and locks nothing.

The JSON is one array of objects; their times are in seconds.`,
		Example: `  txlock ls
  txlock ls tenant:7/ --status active --sort remaining
  txlock ls --watch
  txlock ls --expired --quiet
  txlock ls --json | jq -r '.[] | select(.held) | .owner'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: verb(func(ctx context.Context, args []string) error {
			opts := txlock.ListOptions{Prefix: strings.Join(args, ""), Expired: f.expired, Limit: txlock.MaxListLimit}
			for _, name := range f.statuses {
				status, err := parseStatus(name)
				if err != nil {
					return err
				}
				opts.Statuses = append(opts.Statuses, status)
			}
			order, err := f.order()
			if err != nil {
				return err
			}
			switch {
			case f.limit < 0:
				return usageErrorf("--limit %d is negative", f.limit)
			case f.watch < 0:
				return usageErrorf("--watch=%v is negative", f.watch)
			case f.quiet && a.flags.json:
				return usageErrorf("--quiet and --json: give one")
			}
			return a.withLocker(ctx, func(_ *sql.DB, locker *txlock.Locker) error {
				list := func() (string, error) {
					infos, err := collect(ctx, locker, opts, order, f.limit)
					if err != nil {
						return "", err
					}
					return a.listing(infos, f.quiet)
				}
				if f.watch > 0 {
					return a.watch(ctx, f.watch, list)
				}
				out, err := list()
				if err != nil {
					return err
				}
				return a.print(out)
			})
		}),
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.statuses, "status", nil, "only keys of these `statuses`: active (expired ones, too), inactive, deletable")
	flags.BoolVar(&f.expired, "expired", false, "only leases that have expired, and that nobody has taken over")
	flags.StringVar(&f.sort, "sort", "key", "by `what`: key, remaining, epoch, owner or changed (latest first)")
	flags.BoolVar(&f.reverse, "reverse", false, "the other way round")
	flags.IntVar(&f.limit, "limit", 0, "at most so `many`; 0: all")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "only the keys, one a line")
	flags.DurationVar(&f.watch, "watch", 0, "list again and again, each `interval` (--watch alone: 2s)")
	flags.Lookup("watch").NoOptDefVal = "2s"
	a.addJSONFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(statusNames(), cobra.ShellCompDirectiveNoFileComp)) // fails for flags that are not there
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions([]string{"key", "remaining", "epoch", "owner", "changed"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func statuses() []txlock.Status {
	return []txlock.Status{txlock.StatusActive, txlock.StatusInactive, txlock.StatusDeletable}
}

func statusNames() (names []string) {
	for _, s := range statuses() {
		names = append(names, s.String())
	}
	return names
}

func parseStatus(name string) (txlock.Status, error) {
	for _, s := range statuses() {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, usageErrorf("--status %s: it is %s", name, strings.Join(statusNames(), ", "))
}

type order func(x, y txlock.Info) int

// order is nil for that of the database: by key.
func (f *lsFlags) order() (order, error) {
	var by order
	switch f.sort {
	case "key":
		if f.reverse {
			by = func(x, y txlock.Info) int { return cmp.Compare(x.Key, y.Key) }
		}
	case "remaining": // those without a lease come last
		by = func(x, y txlock.Info) int {
			return cmp.Or(-cmp.Compare(active(x), active(y)), cmp.Compare(x.Remaining, y.Remaining))
		}
	case "epoch":
		by = func(x, y txlock.Info) int { return cmp.Compare(x.Epoch, y.Epoch) }
	case "owner":
		by = func(x, y txlock.Info) int { return cmp.Compare(x.Owner, y.Owner) }
	case "changed":
		by = func(x, y txlock.Info) int { return cmp.Compare(x.SinceUpdated, y.SinceUpdated) }
	default:
		return nil, usageErrorf("--sort %s: it is key, remaining, epoch, owner or changed", f.sort)
	}
	if f.reverse {
		forward := by
		by = func(x, y txlock.Info) int { return -forward(x, y) }
	}
	return by, nil
}

func active(i txlock.Info) int {
	if i.Status == txlock.StatusActive {
		return 1
	}
	return 0
}

// collect reads the keys in order, up to a limit.
func collect(ctx context.Context, locker *txlock.Locker, opts txlock.ListOptions, by order, limit int) ([]txlock.Info, error) {
	var infos []txlock.Info
	for info, err := range locker.All(ctx, opts) {
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
		if by == nil && len(infos) == limit {
			break
		}
	}
	if by != nil {
		slices.SortStableFunc(infos, by)
	}
	if limit > 0 && len(infos) > limit {
		infos = infos[:limit]
	}
	return infos, nil
}

// listing is what is written of keys.
func (a *app) listing(infos []txlock.Info, quiet bool) (string, error) {
	switch {
	case quiet:
		var b strings.Builder
		for _, info := range infos {
			b.WriteString(quote(info.Key) + "\n")
		}
		return b.String(), nil
	case a.flags.json:
		list := make([]infoJSON, len(infos))
		for i := range infos {
			list[i] = newInfoJSON(&infos[i])
		}
		return jsonLine(list)
	}
	rows := make([]table.Row, len(infos))
	for i := range infos {
		info := &infos[i]
		rows[i] = table.Row{quote(info.Key), a.status(info), fmt.Sprint(info.Epoch), remaining(info), ago(info.SinceUpdated), quote(info.Owner)}
	}
	return render(table.Row{"KEY", "STATUS", "EPOCH", "REMAINING", "CHANGED", "OWNER"}, rows), nil
}

// status is a key's in a word, which tells expired leases from those that stand.
func (a *app) status(i *txlock.Info) string {
	switch {
	case i.Held():
		return a.color(text.FgGreen, "active")
	case expired(i):
		return a.color(text.FgRed, "expired")
	case i.Status == txlock.StatusDeletable:
		return a.color(text.FgHiBlack, i.Status.String())
	}
	return i.Status.String()
}
