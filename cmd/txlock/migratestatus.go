package main

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pressly/goose/v3"
	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/migrations"
)

// migrationJSON is a migration as programs read it.
type migrationJSON struct {
	Version   int64      `json:"version"`
	File      string     `json:"file"`
	Direction string     `json:"direction,omitempty"`
	State     string     `json:"state"`
	Seconds   float64    `json:"seconds,omitempty"`
	AppliedAt *time.Time `json:"applied_at,omitempty"`
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
