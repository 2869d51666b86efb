package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// app is one run of the program.
type app struct {
	stdin          *os.File
	stdout, stderr *os.File
	getenv         func(string) string

	flags      flags
	interrupts interrupts
}

// flags are those that several verbs share.
type flags struct {
	database     databaseFlags
	multiWriter  bool
	singleWriter bool
	json         bool
	yes          bool
	quoted       bool
}

func execute(args []string) int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	ctx, done := a.interrupts.listen(context.Background())
	defer done()
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var verb *verbError
	if errors.As(err, &verb) {
		err = verb.error
	} else if err != nil { // cobra has refused it
		err = usageErrorf("%w (--help shows how)", err)
	}
	err = notMigrated(err)
	var exit *exitError
	silent := errors.As(err, &exit) && exit.cause == nil
	if err != nil && !silent {
		a.say("%s", strings.TrimPrefix(err.Error(), "txlock: "))
	}
	return statusOf(ctx, err)
}

// interrupts ends a context with the first signal that tells the program to end;
// a second one ends the program at once.
type interrupts struct {
	signals   chan os.Signal
	handOver  chan struct{}
	listening sync.WaitGroup
}

func (i *interrupts) listen(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	i.signals, i.handOver = make(chan os.Signal, 1), make(chan struct{})
	notify(i.signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	i.listening.Go(func() {
		select {
		case sig := <-i.signals:
			signal.Stop(i.signals)
			cancel(&signalError{sig})
		case <-i.handOver:
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(nil)
		signal.Stop(i.signals)
		i.listening.Wait()
	}
}

// take has signals come to the caller instead, until done is called. A context
// that has ended by then stays so.
func (i *interrupts) take(which ...os.Signal) (signals chan os.Signal, done func()) {
	signals = make(chan os.Signal, 16)
	notify(signals, which...)
	signal.Stop(i.signals)
	close(i.handOver)
	i.listening.Wait()
	select {
	case sig := <-i.signals:
		signals <- sig
	default:
	}
	return signals, func() { signal.Stop(signals) }
}

// notify leaves alone what the program was started to ignore, as by nohup.
func notify(c chan<- os.Signal, signals ...os.Signal) {
	for _, sig := range signals {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
}

// verbError is what a verb returned, as opposed to what cobra says of its usage.
type verbError struct{ error }

func (e *verbError) Unwrap() error { return e.error }

// verb is what a command runs.
func verb(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := run(cmd.Context(), args); err != nil {
			return &verbError{err}
		}
		return nil
	}
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "txlock",
		Short: "Run commands under a lease in MySQL or MariaDB, and look after leases",
		Long: `txlock runs commands under a lease in MySQL or MariaDB, shows and revokes
leases, and creates their tables. It is the command of gox-helix.

` + databaseHelp + `

` + exitHelp,
		Example: `  txlock migrate up
  txlock run --key nightly-report -- ./report.sh
  txlock ls
  txlock doctor`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	a.flags.database.add(root.PersistentFlags())
	root.AddCommand(a.runCommand(), a.lsCommand(), a.showCommand(), a.revokeCommand(), a.retireCommand(), a.purgeCommand(), a.migrateCommand(), a.doctorCommand())
	return root
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

// say tells a person something, on standard error.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, "txlock: "+format+"\n", args...) // there is no other place to say it
}

// print writes to standard output.
func (a *app) print(s string) error {
	if _, err := io.WriteString(a.stdout, s); err != nil {
		return &exitError{exitOutput, fmt.Errorf("cannot write to standard output: %w", err)}
	}
	return nil
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// color is the text in a color, if it goes to a terminal that is to have any.
func (a *app) color(c text.Color, s string) string {
	if !isTerminal(a.stdout) || a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" {
		return s
	}
	return c.EscapeSeq() + s + text.Reset.EscapeSeq()
}
