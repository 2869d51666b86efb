// The demo posts the payouts of a file into a ledger with several worker
// processes, kills some of them and pauses one on the way, and audits the result
// in SQL: with gox-helix, or (-unprotected) without it.
//
//	go run .              # every payout is posted exactly once
//	go run . -unprotected # the same run shows what goes wrong
//
// It uses the server that TXLOCK_TEST_DSN names, in a database of its own; else
// it starts a private one, which it may have to download. It leaves nothing
// behind but what it downloaded.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

const (
	exitOK          = 0
	exitFailed      = 1 // the audit, or the run
	exitUsage       = 2
	exitOrphaned    = 3
	exitInterrupted = 130
)

const (
	workerSubcommand   = "worker" // hidden: the coordinator starts it
	generateSubcommand = "generate"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // so that a second Ctrl-C ends the program at once
	}()

	err := dispatch(ctx, args)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		if usage.text != "" {
			fmt.Fprintln(os.Stderr, "demo: "+usage.text+" (-h shows how)")
		}
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		var left *cleanupError
		if errors.As(err, &left) {
			fmt.Fprintln(os.Stderr, "demo: "+left.Error())
		}
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "demo: "+err.Error())
	return exitFailed
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case workerSubcommand:
			return runWorker(ctx, os.Stdin, os.Stdout)
		case generateSubcommand:
			return runGenerate(args[1:])
		}
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	return runDemo(ctx, os.Stdout, o)
}

// usageError is a command line that cannot be obeyed.
type usageError struct{ text string } // empty where it has been said

func (e usageError) Error() string { return e.text }

// cleanupError is something that is left behind.
type cleanupError struct{ err error }

func (e *cleanupError) Error() string { return e.err.Error() }
func (e *cleanupError) Unwrap() error { return e.err }

func cleanupFailed(err error) error {
	if err == nil {
		return nil
	}
	return &cleanupError{err}
}

type options struct {
	file      string
	engine    testserver.Engine
	workers   int
	chunk     int
	kills     int
	pause     bool
	ttl       time.Duration
	unprotect bool
}

func parseOptions(args []string) (options, error) {
	var o options
	var engine string
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.StringVar(&o.file, "file", "", "the payouts to post, as CSV (default testdata/payouts.csv of the repository)")
	f.StringVar(&engine, "engine", "", "start this server, mysql or mariadb (default: what this machine has, MySQL first)")
	f.IntVar(&o.workers, "workers", 6, "worker processes, 2 to 64")
	f.IntVar(&o.chunk, "chunk", 50, "payouts in a chunk, which is what a worker takes at a time")
	f.IntVar(&o.kills, "kills", 3, "workers to kill with SIGKILL in the middle of a transaction, and to replace")
	f.BoolVar(&o.pause, "pause", true, "pause a worker with SIGSTOP until its chunk has been taken over")
	f.DurationVar(&o.ttl, "ttl", 1500*time.Millisecond, "time to live of the lease of a chunk, 200ms to 1m")
	f.BoolVar(&o.unprotect, "unprotected", false, "do without the library, to see what goes wrong")
	f.Usage = func() {
		w := f.Output()
		_, _ = fmt.Fprint(w, `Posts a file of payouts into a ledger with several worker processes, kills and
pauses some of them on the way, and audits the result in SQL.

  demo [flags]           run it
  demo generate FILE     write the payouts that testdata/payouts.csv has

It uses the server that `+testserver.DSNVariable+` names, in a database of its own, or else
starts a private one and removes it at the end.

The exit status is 0 when every check passes, and with -unprotected when at
least one fails, since that is what is to be shown; else 1. A command line that
makes no sense gives 2, Ctrl-C 130.

Flags:
`)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, usageError{}
	}
	o.engine = testserver.Engine(engine)
	switch {
	case f.NArg() > 0:
		return o, usageError{"what is " + strings.Join(f.Args(), " ") + "?"}
	case engine != "" && o.engine != testserver.MySQL && o.engine != testserver.MariaDB:
		return o, usageError{fmt.Sprintf("-engine %s: must be mysql or mariadb", engine)}
	case engine != "" && os.Getenv(testserver.DSNVariable) != "":
		return o, usageError{"-engine and " + testserver.DSNVariable + ": use one of them"}
	case o.workers < 2 || o.workers > 64:
		return o, usageError{fmt.Sprintf("-workers %d: must be 2 to 64", o.workers)}
	case o.chunk < 1:
		return o, usageError{fmt.Sprintf("-chunk %d: must be 1 or more", o.chunk)}
	case o.kills < 0 || o.kills > 100:
		return o, usageError{fmt.Sprintf("-kills %d: must be 0 to 100", o.kills)}
	case o.ttl < 200*time.Millisecond || o.ttl > time.Minute:
		return o, usageError{fmt.Sprintf("-ttl %s: must be 200ms to 1m", o.ttl)}
	}
	return o, nil
}
