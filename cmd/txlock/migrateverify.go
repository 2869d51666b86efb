package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/migrations"
)

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
