package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/migrations"
)

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
