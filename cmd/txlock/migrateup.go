package main

import (
	"context"
	"database/sql"

	"github.com/pressly/goose/v3"
	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/migrations"
)

const migratingHelp = `

On a cluster whose processes migrate through several nodes (Galera, Group
Replication) give --lock lease: the default, a named lock, is one node's. Where
another process goes on migrating for longer than --lock-wait: exit status 75.`

func (a *app) migrateUpCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Apply every migration that the database does not have yet",
		Long: `Apply every migration that the database does not have yet. A helix_locks of an older
version is refused: see txlock migrate adopt.` + migratingHelp,
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
		Example: "  txlock migrate up-to 20261128104500",
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
