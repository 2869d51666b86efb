package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) addYesFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&a.flags.yes, "yes", "y", false, "do not ask; needed where there is no terminal to ask on")
}

// confirm asks whether to go on.
func (a *app) confirm(ctx context.Context, what string) error {
	if a.flags.yes {
		return nil
	}
	if !isTerminal(a.stdin) || !isTerminal(a.stderr) {
		return usageErrorf("%s: this wants to be confirmed, and there is no terminal to ask on: give --yes", what)
	}
	_, _ = fmt.Fprintf(a.stderr, "%s Go on? [y/N] ", what)
	answers := make(chan string, 1)
	go func() { // ends with the line, or with the program
		line, _ := bufio.NewReader(a.stdin).ReadString('\n') // what was read before its end is the answer
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answers:
		if answer == "y" || answer == "yes" {
			return nil
		}
		return &exitError{exitNo, fmt.Errorf("not confirmed: nothing was done")}
	case <-ctx.Done():
		_, _ = fmt.Fprintln(a.stderr)
		return context.Cause(ctx)
	}
}
