package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/cmd/txlock/internal/doctor"
)

// findingJSON is a finding as programs read it.
type findingJSON struct {
	Level   string `json:"level"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
	Cure    string `json:"cure,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong or risky with the database",
		Long: `Look at the database as the locks depend on it, and say in plain words what is
wrong or risky, and what to do: the server's version, the tables, isolation and
InnoDB's settings, whether it takes writes, clusters, its clock against this
machine's, named locks through a proxy, and the privileges of this user.

It changes nothing. Exit status 1 says that there is a problem; warnings and notes
are for you to judge.`,
		Example: `  txlock doctor
  txlock doctor --json | jq -r '.[] | select(.level == "problem") | .text'`,
		Args: cobra.NoArgs,
		RunE: verb(a.doctor),
	}
	a.addJSONFlag(cmd)
	a.addMultiWriterFlag(cmd)
	cmd.Flags().BoolVar(&a.flags.singleWriter, "single-writer", false, "all programs write to this server, also if others of its cluster take writes")
	cmd.MarkFlagsMutuallyExclusive("multi-writer", "single-writer")
	return cmd
}

func (a *app) doctor(ctx context.Context, _ []string) (err error) {
	db, config, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	findings, err := doctor.Examine(ctx, db, doctor.Options{MultiWriter: a.flags.multiWriter, SingleWriter: a.flags.singleWriter, Config: config})
	if err != nil {
		return err
	}
	var out strings.Builder
	list, worst := []findingJSON{}, doctor.OK
	for _, f := range findings {
		worst = max(worst, f.Level)
		list = append(list, findingJSON{f.Level.String(), f.Subject, f.Text, f.Cure})
		level := fmt.Sprintf("%-8s", f.Level)
		fmt.Fprintf(&out, "%s %s: %s\n", a.color(levelColor(f.Level), level), f.Subject, f.Text)
		if f.Cure != "" {
			fmt.Fprintf(&out, "%8s -> %s\n", "", strings.ReplaceAll(f.Cure, "\n", "\n            "))
		}
	}
	if a.flags.json {
		err = a.printJSON(list)
	} else {
		err = a.print(out.String())
	}
	if err == nil && worst == doctor.Problem {
		err = no()
	}
	return err
}

func levelColor(l doctor.Level) text.Color {
	switch l {
	case doctor.Problem:
		return text.FgRed
	case doctor.Warning:
		return text.FgYellow
	case doctor.Note:
		return text.FgCyan
	case doctor.OK:
	}
	return text.FgGreen
}
