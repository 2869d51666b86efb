package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
)

const downHelp = `

Where that drops helix_locks, every lease and every epoch is forgotten, and fencing
tokens start again from 1: end all users of the locks first. So it is refused while
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

func (a *app) addDownFlags(cmd *cobra.Command, f *migrateFlags) {
	a.addMigrateFlags(cmd, f)
	cmd.Flags().BoolVar(&f.force, "force", false, "also while leases are active, which are lost")
	a.addYesFlag(cmd)
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
	switch {
	case err != nil:
		return err
	case len(held) > 0 && !f.force:
		return &exitError{exitHeld, fmt.Errorf("leases are active (%s): end their users first, or give --force, and they are lost", some(held))}
	}
	var files []string
	for _, r := range plan {
		files = append(files, r.Source.Path)
	}
	return a.confirm(ctx, "This takes back "+strings.Join(files, ", ")+", and may forget locks and epochs.")
}

// heldKeys lists the keys under leases that stand; none where there is no table of
// them.
func heldKeys(ctx context.Context, db *sql.DB) (keys []string, err error) {
	locker, err := txlock.New(db)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, locker.Close()) }()
	opts := txlock.ListOptions{Statuses: []txlock.Status{txlock.StatusActive}, Limit: txlock.MaxListLimit}
	for info, err := range locker.All(ctx, opts) {
		switch {
		case errors.Is(err, txlock.ErrNotMigrated):
			return nil, nil
		case err != nil:
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
