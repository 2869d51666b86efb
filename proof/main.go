// The proof drives the public API of gox-helix from several processes while
// faults are injected, and checks what they saw. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/gox-helix/gox-helix/proof/load"
	"github.com/gox-helix/gox-helix/proof/round"
)

const usage = `Proves gox-helix: load from several processes, faults, and what was seen, checked.

  proof run [flags]       rounds with faults on some engines, again with other seeds for as long as -for says
  proof mutants [flags]   the same load with a library in which one rule is broken: each must be found
  proof report [flags]    all of it, and REPORT.md
  proof check DIR         judge a history that was kept, again, and draw it

Each has -h. The exit status is 0 where nothing was found, 1 where something was or could not be run, 2 for usage.
`

// errUsage is a command line that makes no sense, and about which it has been said.
var errUsage = errors.New("usage")

// errFound is something that was found, and that has been printed.
var errFound = errors.New("something was found")

func main() {
	if len(os.Args) > 1 && os.Args[1] == round.Subcommand {
		// Who runs us ends us, by the end of our input: Ctrl-C is for it to act on.
		signal.Ignore(os.Interrupt)
		exit(load.Run(context.Background(), os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(dispatch(ctx, os.Args[1:]))
}

func exit(err error) {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case errors.Is(err, errUsage):
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "proof: "+err.Error())
	os.Exit(1)
}

func dispatch(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, []string) error{
		"run": runRounds, "mutants": runMutants, "report": runReport, "check": runCheck,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(os.Stderr, usage)
		return errUsage
	}
	return commands[args[0]](ctx, args[1:])
}
