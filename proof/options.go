package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gox-helix/gox-helix/proof/engine"
	"github.com/gox-helix/gox-helix/proof/round"
)

// options are what the commands have in common.
type options struct {
	engines  []string
	faults   []round.Fault
	seed     uint64
	duration time.Duration
	short    bool
	verbose  bool
	dir      string
}

// list is a flag of names, separated by commas.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = strings.Split(s, ","); return nil }

func parse(command string, args []string, more func(*flag.FlagSet)) (options, error) {
	var o options
	var engines, faults list
	f := flag.NewFlagSet("proof "+command, flag.ContinueOnError)
	f.Var(&engines, "engines", "on these, of "+strings.Join(engine.Names(), ", ")+" (default: all; with -short, mysql and mariadb)")
	f.Var(&faults, "faults", "with these, of "+strings.Join(faultNames(), ", ")+" (default: all)")
	f.Uint64Var(&o.seed, "seed", 0, "of what is random in clients and faults (default: another one each time)")
	f.DurationVar(&o.duration, "for", 0, "go on with other seeds until so much time has passed, as 1h (default: once)")
	f.BoolVar(&o.short, "short", false, "shorter rounds, both single servers at once")
	f.BoolVar(&o.verbose, "v", false, "say what is done")
	f.StringVar(&o.dir, "dir", "", "keep what was found there (default: the directory for temporary files)")
	if more != nil {
		more(f)
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage
	}
	if f.NArg() > 0 {
		return o, badUsage("what is %s?", strings.Join(f.Args(), " "))
	}
	o.engines = engines
	switch {
	case len(engines) == 0 && o.short:
		o.engines = []string{"mysql", "mariadb"}
	case len(engines) == 0:
		o.engines = engine.Names()
	}
	for _, name := range o.engines {
		if !slices.Contains(engine.Names(), name) {
			return o, badUsage("no engine is called %q", name)
		}
	}
	o.faults = round.Faults()
	if len(faults) > 0 {
		o.faults = nil
	}
	for _, name := range faults {
		fault, err := round.FaultNamed(name)
		if err != nil {
			return o, badUsage("%v", err)
		}
		o.faults = append(o.faults, fault)
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	return o, nil
}

func badUsage(format string, args ...any) error {
	fmt.Fprintf(os.Stderr, "proof: "+format+" (-h shows how)\n", args...)
	return errUsage
}

func faultNames() []string {
	var names []string
	for _, f := range round.Faults() {
		names = append(names, f.Name)
	}
	return names
}

// plan is a round's, with these options.
func (o *options) plan(f round.Fault, seed uint64) round.Plan {
	p := round.Usual(f, seed)
	if o.short {
		p.Before, p.During, p.After, p.Least = 500*time.Millisecond, 2500*time.Millisecond, 500*time.Millisecond, 100
	}
	if o.verbose {
		p.Logf = func(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) }
	}
	return p
}

func (o *options) logf(format string, args ...any) {
	if o.verbose {
		fmt.Printf(format+"\n", args...)
	}
}
