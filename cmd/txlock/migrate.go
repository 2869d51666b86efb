package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pressly/goose/v3"
	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
)

type migrateFlags struct {
	dryRun   bool
	lock     string
	lockWait time.Duration
	force    bool
}

func (a *app) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create, change and check the tables of the locks",
		Long: `Create, change and check the tables of the locks, with the migrations of this
version. They have a table of versions of their own, ` + migrations.VersionTable + `, and never
meet those of your application. Many processes may do this at once: one migrates,
the others wait and find it done. What was interrupted the next run finishes.`,
		Example: `  txlock migrate up --dry-run
  txlock migrate up
  txlock migrate verify`,
	}
	cmd.AddCommand(
		a.migrateUpCommand(), a.migrateUpToCommand(), a.migrateDownCommand(), a.migrateDownToCommand(),
		a.migrateStatusCommand(), a.migrateVersionCommand(), a.migrateVerifyCommand(), a.migrateExportCommand(),
	)
	return cmd
}

const migratingHelp = `

On a cluster whose processes migrate through several nodes (Galera, Group
Replication) give --lock lease: the default, a named lock, is one node's. Where
another process goes on migrating for longer than --lock-wait: exit status 75.`

func (a *app) migrateUpCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Apply every migration that the database does not have yet",
		Long:    `Apply every migration that the database does not have yet, and take an older helix_locks over.` + migratingHelp,
		Example: "  txlock migrate up --dry-run\n  txlock migrate up",
		Args:    cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return a.migrate(ctx, f, func(db *sql.DB, opts ...migrations.Option) ([]*goose.MigrationResult, error) {
				return migrations.Up(ctx, db, opts...)
			})
		}),
	}
	a.addMigrateFlags(cmd, &f)
	return cmd
}

func (a *app) migrateUpToCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:     "up-to VERSION",
		Short:   "Apply migrations up to a version",
		Long:    `Apply the migrations up to a version, as status lists them.` + migratingHelp,
		Example: "  txlock migrate up-to 4",
		Args:    cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			version, err := parseVersion(args[0])
			if err != nil {
				return err
			}
			return a.migrate(ctx, f, func(db *sql.DB, opts ...migrations.Option) ([]*goose.MigrationResult, error) {
				return migrations.UpTo(ctx, db, version, opts...)
			})
		}),
	}
	a.addMigrateFlags(cmd, &f)
	return cmd
}

const downHelp = `

Where that drops helix_locks, every lease and every epoch is forgotten, and fencing
tokens start again from 1: end all users of the locks first. (A table that was taken
over from an older client is given back to it instead.) So it is refused while
leases are active (exit status 75), unless --force is given; and it asks first, and
needs --yes where there is no terminal to ask on.`

func (a *app) migrateDownCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "Take the latest migration back",
		Long:    `Take the latest migration back.` + downHelp,
		Example: "  txlock migrate down --dry-run\n  txlock migrate down",
		Args:    cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return a.migrateDown(ctx, f, func(db *sql.DB, opts ...migrations.Option) ([]*goose.MigrationResult, error) {
				return migrations.Down(ctx, db, opts...)
			})
		}),
	}
	a.addDownFlags(cmd, &f)
	return cmd
}

func (a *app) migrateDownToCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:     "down-to VERSION",
		Short:   "Take every migration above a version back",
		Long:    `Take every migration above a version back; above 0: all.` + downHelp,
		Example: "  txlock migrate down-to 0",
		Args:    cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			version, err := parseVersion(args[0])
			if err != nil {
				return err
			}
			return a.migrateDown(ctx, f, func(db *sql.DB, opts ...migrations.Option) ([]*goose.MigrationResult, error) {
				return migrations.DownTo(ctx, db, version, opts...)
			})
		}),
	}
	a.addDownFlags(cmd, &f)
	return cmd
}

func (a *app) addMigrateFlags(cmd *cobra.Command, f *migrateFlags) {
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only say what would be done")
	cmd.Flags().StringVar(&f.lock, "lock", "session", "what lets one process migrate at a time: session (a named lock), lease (on clusters) or `none`")
	cmd.Flags().Lookup("lock").DefValue = "session"
	cmd.Flags().DurationVar(&f.lockWait, "lock-wait", 5*time.Minute, "how long to wait for another process that migrates")
	_ = cmd.RegisterFlagCompletionFunc("lock", cobra.FixedCompletions([]string{"session", "lease", "none"}, cobra.ShellCompDirectiveNoFileComp)) // fails for flags that are not there
	a.addJSONFlag(cmd)
}

func (a *app) addDownFlags(cmd *cobra.Command, f *migrateFlags) {
	a.addMigrateFlags(cmd, f)
	cmd.Flags().BoolVar(&f.force, "force", false, "also while leases are active, which are lost")
	a.addYesFlag(cmd)
}

func parseVersion(arg string) (int64, error) {
	version, err := strconv.ParseInt(arg, 10, 64)
	if err == nil && version == 0 {
		return 0, nil // before the first one
	}
	files, _ := fs.Glob(migrations.FS, fmt.Sprintf("%05d_*.sql", version)) // the pattern is right
	if err != nil || len(files) == 0 {
		return 0, usageErrorf("%q is no version: txlock migrate status lists them", arg)
	}
	return version, nil
}

func (f *migrateFlags) options() ([]migrations.Option, error) {
	opts := []migrations.Option{}
	wait := migrations.LockWait(f.lockWait)
	switch f.lock {
	case "session":
		locker, err := migrations.NewSessionLocker(wait)
		if err != nil {
			return nil, usageErrorf("%w", err)
		}
		opts = append(opts, migrations.WithSessionLocker(locker))
	case "lease":
		locker, err := migrations.NewLeaseLocker(wait)
		if err != nil {
			return nil, usageErrorf("%w", err)
		}
		opts = append(opts, migrations.WithLocker(locker))
	case "none":
		opts = append(opts, migrations.WithoutLock())
	default:
		return nil, usageErrorf("--lock %s: it is session, lease or none", f.lock)
	}
	if f.dryRun {
		opts = append(opts, migrations.WithDryRun())
	}
	return opts, nil
}

// withDatabase is for verbs that need no Locker.
func (a *app) withDatabase(ctx context.Context, do func(db *sql.DB) error) (err error) {
	db, _, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

// migrationJSON is a migration as programs read it.
type migrationJSON struct {
	Version   int64      `json:"version"`
	File      string     `json:"file"`
	Direction string     `json:"direction,omitempty"`
	State     string     `json:"state"`
	Seconds   float64    `json:"seconds,omitempty"`
	AppliedAt *time.Time `json:"applied_at,omitempty"`
}

type migrateFunc func(db *sql.DB, opts ...migrations.Option) ([]*goose.MigrationResult, error)

func (a *app) migrate(ctx context.Context, f migrateFlags, run migrateFunc) error {
	opts, err := f.options()
	if err != nil {
		return err
	}
	return a.withDatabase(ctx, func(db *sql.DB) error { return a.runMigrations(db, f, opts, run) })
}

func (a *app) runMigrations(db *sql.DB, f migrateFlags, opts []migrations.Option, run migrateFunc) error {
	results, err := run(db, opts...)
	var failed *migrations.Error
	if errors.As(err, &failed) {
		results = failed.Applied
	}
	return errors.Join(a.printResults(results, f.dryRun, err != nil), err)
}

func (a *app) printResults(results []*goose.MigrationResult, dryRun, failed bool) error {
	if a.flags.json {
		list := []migrationJSON{}
		for _, r := range results {
			state := "done"
			if dryRun {
				state = "to do"
			}
			list = append(list, migrationJSON{Version: r.Source.Version, File: r.Source.Path, Direction: r.Direction, State: state, Seconds: r.Duration.Seconds()})
		}
		return a.printJSON(list)
	}
	var out strings.Builder
	for _, r := range results {
		if dryRun {
			fmt.Fprintf(&out, "would go %s: %s\n", r.Direction, r.Source.Path)
		} else {
			fmt.Fprintf(&out, "%s: %s (%v)\n", r.Direction, r.Source.Path, r.Duration.Round(time.Millisecond))
		}
	}
	if len(results) == 0 && !failed {
		out.WriteString("nothing to do\n")
	}
	return a.print(out.String())
}

// migrateDown is migrate for what may forget leases.
func (a *app) migrateDown(ctx context.Context, f migrateFlags, run migrateFunc) error {
	opts, err := f.options()
	if err != nil {
		return err
	}
	return a.withDatabase(ctx, func(db *sql.DB) error {
		if !f.dryRun {
			if err := a.mayGoDown(ctx, db, f, run); err != nil {
				return err
			}
		}
		return a.runMigrations(db, f, opts, run)
	})
}

// mayGoDown refuses where leases are active, and asks.
func (a *app) mayGoDown(ctx context.Context, db *sql.DB, f migrateFlags, run migrateFunc) error {
	plan, err := run(db, migrations.WithDryRun())
	if err != nil || len(plan) == 0 {
		return err
	}
	held, err := heldKeys(ctx, db)
	if err != nil {
		return err
	}
	if len(held) > 0 && !f.force {
		return &exitError{exitHeld, fmt.Errorf("leases are active (%s): end their users first, or give --force, and they are lost", some(held))}
	}
	var files []string
	for _, r := range plan {
		files = append(files, r.Source.Path)
	}
	return a.confirm(ctx, "This takes back "+strings.Join(files, ", ")+", and may forget locks and epochs.")
}

// heldKeys lists the keys under leases that stand; none where there is no table.
func heldKeys(ctx context.Context, db *sql.DB) (keys []string, err error) {
	locker, err := txlock.New(db)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, locker.Close()) }()
	opts := txlock.ListOptions{Statuses: []txlock.Status{txlock.StatusActive}, Limit: txlock.MaxListLimit}
	for info, err := range locker.All(ctx, opts) {
		if errors.Is(err, txlock.ErrNotMigrated) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if info.Held() {
			keys = append(keys, info.Key)
		}
	}
	return keys, nil
}

// some names a few of many keys.
func some(keys []string) string {
	const few = 3
	var names []string
	for _, key := range keys[:min(few, len(keys))] {
		names = append(names, quote(key))
	}
	if more := len(keys) - few; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

func (a *app) migrateStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List the migrations, and which of them the database has",
		Long: `List the migrations, and which of them the database has. Those that ran as exported
files, among your application's own, are not seen here: ask verify.`,
		Example: "  txlock migrate status\n  txlock migrate status --json",
		Args:    cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return a.withDatabase(ctx, func(db *sql.DB) error {
				all, err := migrations.Status(ctx, db)
				if err != nil {
					return err
				}
				return a.printStatus(all)
			})
		}),
	}
	a.addJSONFlag(cmd)
	return cmd
}

func (a *app) printStatus(all []*goose.MigrationStatus) error {
	list, rows := []migrationJSON{}, []table.Row{}
	for _, m := range all {
		one := migrationJSON{Version: m.Source.Version, File: m.Source.Path, State: string(m.State)}
		at := "-"
		if m.State == goose.StateApplied {
			one.AppliedAt = &m.AppliedAt
			at = m.AppliedAt.Format(time.DateTime)
		}
		list = append(list, one)
		rows = append(rows, table.Row{strconv.FormatInt(one.Version, 10), one.State, at, one.File})
	}
	if a.flags.json {
		return a.printJSON(list)
	}
	return a.print(render(table.Row{"VERSION", "STATE", "APPLIED AT (SERVER)", "FILE"}, rows))
}

func (a *app) migrateVersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the latest migration that the database has",
		Long:    `Show the number of the latest migration that the database has, 0 if none.`,
		Example: "  txlock migrate version",
		Args:    cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return a.withDatabase(ctx, func(db *sql.DB) error {
				version, err := migrations.Version(ctx, db)
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.printJSON(map[string]int64{"version": version})
				}
				return a.print(fmt.Sprintln(version))
			})
		}),
	}
	a.addJSONFlag(cmd)
	return cmd
}

// differenceJSON is a difference as programs read it.
type differenceJSON struct {
	Table  string `json:"table"`
	Column string `json:"column,omitempty"`
	Got    string `json:"got"`
	Want   string `json:"want"`
	Cure   string `json:"cure"`
}

func (a *app) migrateVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the live tables with what this version needs",
		Long: `Compare the live tables with what this version needs, whoever made them, and name
each difference and its cure. Exit status 1 says that there are some.`,
		Example: "  txlock migrate verify\n  txlock migrate verify --json | jq -r '.[].cure'",
		Args:    cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return a.withDatabase(ctx, func(db *sql.DB) error {
				err := migrations.Verify(ctx, db)
				var drift *migrations.DriftError
				if err != nil && !errors.As(err, &drift) {
					return err
				}
				return a.printDrift(drift)
			})
		}),
	}
	a.addJSONFlag(cmd)
	return cmd
}

func (a *app) printDrift(drift *migrations.DriftError) error {
	list, lines := []differenceJSON{}, "the tables are as they should be\n"
	if drift != nil {
		lines = ""
		for _, d := range drift.Differences {
			list = append(list, differenceJSON{d.Table, d.Column, d.Got, d.Want, d.Cure})
			lines += d.String() + "\n"
		}
	}
	var err error
	if a.flags.json {
		err = a.printJSON(list)
	} else {
		err = a.print(lines)
	}
	if err == nil && drift != nil {
		err = no()
	}
	return err
}

func (a *app) migrateExportCommand() *cobra.Command {
	var sequential bool
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write the migrations into a directory of your application's own",
		Long: `Write the migrations into DIR, a directory of your application's own goose
migrations, numbered by time, or on from its own numbers. After an upgrade export
again: only what is new is written. No database is needed.`,
		Example: "  txlock migrate export db/migrations\n  txlock migrate export --sequential db/migrations",
		Args:    cobra.ExactArgs(1),
		RunE: verb(func(_ context.Context, args []string) error {
			var opts []migrations.ExportOption
			if sequential {
				opts = append(opts, migrations.ExportSequential())
			}
			files, err := migrations.Export(args[0], opts...)
			if err != nil {
				err = usageErrorf("%w", err)
			}
			if a.flags.json {
				return errors.Join(a.printJSON(append([]string{}, files...)), err)
			}
			out := ""
			for _, file := range files {
				out += "wrote " + file + "\n"
			}
			if out == "" && err == nil {
				out = "nothing to do: all of them are there\n"
			}
			return errors.Join(a.print(out), err)
		}),
	}
	cmd.Flags().BoolVar(&sequential, "sequential", false, "number on from the highest number there, instead of by time")
	a.addJSONFlag(cmd)
	return cmd
}
