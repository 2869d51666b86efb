package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/proof/model"
)

// runCheck is the command check.
func runCheck(_ context.Context, args []string) error {
	f := flag.NewFlagSet("proof check", flag.ContinueOnError)
	rules := model.Rules{}
	f.BoolVar(&rules.Clock, "clock", true, "judge the times of expiry (not where clocks were set)")
	f.BoolVar(&rules.Fresh, "fresh", true, "judge reads and refusals (not of a cluster, where they may be old)")
	patience := f.Duration("patience", 5*time.Minute, "for each key at most")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if f.NArg() != 1 {
		return badUsage("check wants one directory")
	}
	dir := f.Arg(0)
	ops, err := history.Read(dir)
	if err != nil {
		return err
	}
	violations := rules.Check(ops, *patience)
	fmt.Printf("%d operations, %d keys that no order explains\n", len(ops), len(violations))
	for i, v := range violations {
		page := filepath.Join(dir, fmt.Sprintf("violation%d.html", i+1))
		if err := rules.Draw(v, *patience, page); err != nil {
			return err
		}
		fmt.Printf("%s\n    %s\n", v, page)
	}
	if len(violations) > 0 {
		return errFound
	}
	return nil
}
