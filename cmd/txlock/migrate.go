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

	"github.com/pressly/goose/v3"
	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/migrations"
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
		a.migrateUpCommand(), a.migrateUpToCommand(), a.migrateAdoptCommand(), a.migrateDownCommand(), a.migrateDownToCommand(),
		a.migrateStatusCommand(), a.migrateVersionCommand(), a.migrateVerifyCommand(), a.migrateExportCommand(),
	)
	return cmd
}

func (a *app) addMigrateFlags(cmd *cobra.Command, f *migrateFlags) {
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only say what would be done")
	cmd.Flags().StringVar(&f.lock, "lock", "session", "what lets one process migrate at a time: session (a named lock), lease (on clusters) or none")
	cmd.Flags().DurationVar(&f.lockWait, "lock-wait", 5*time.Minute, "how long to wait for another process that migrates")
	_ = cmd.RegisterFlagCompletionFunc("lock", cobra.FixedCompletions([]string{"session", "lease", "none"}, cobra.ShellCompDirectiveNoFileComp)) // fails for flags that are not there
	a.addJSONFlag(cmd)
}

func parseVersion(arg string) (int64, error) {
	version, err := strconv.ParseInt(arg, 10, 64)
	if err == nil && version == 0 {
		return 0, nil // before the first one
	}
	files, _ := fs.Glob(migrations.FS, fmt.Sprintf("%d_*.sql", version)) // the pattern is right
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

type migrateFunc func(db *sql.DB, opts ...migrations.Option) ([]*goose.MigrationResult, error)

func (a *app) migrate(ctx context.Context, f migrateFlags, run migrateFunc) error {
	opts, err := f.options()
	if err != nil {
		return err
	}
	return a.withDatabase(ctx, func(db *sql.DB) error {
		return a.runMigrations(db, f, opts, run)
	})
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
		return a.printJSON(listMigrations(results, dryRun))
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

func listMigrations(results []*goose.MigrationResult, dryRun bool) []migrationJSON {
	list := []migrationJSON{}
	for _, r := range results {
		state := "done"
		if dryRun {
			state = "to do"
		}
		list = append(list, migrationJSON{Version: r.Source.Version, File: r.Source.Path, Direction: r.Direction, State: state, Seconds: r.Duration.Seconds()})
	}
	return list
}
