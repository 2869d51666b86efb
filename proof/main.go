// The proof drives the public API of gox-helix from several processes while
// faults are injected, and checks what they saw.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/proof/load"
	"github.com/gox-helix/gox-helix/proof/round"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "proof: "+err.Error())
		os.Exit(1)
	}
}

type single struct{ *testserver.Server }

func (s single) Name() string                             { return string(s.Engine) }
func (s single) Version() string                          { return s.Server.Version }
func (s single) MultiWriter() bool                        { return false }
func (s single) Nodes() int                               { return 1 }
func (s single) Config(int) *mysql.Config                 { return s.Server.Config() }
func (s single) Writers(context.Context) ([]int, error)   { return []int{0}, nil }
func (s single) Kill(context.Context, int) error          { return s.Server.Kill() }
func (s single) Restart(ctx context.Context, _ int) error { return s.Server.Restart(ctx) }
func (s single) Pause(int) error                          { return nil }
func (s single) Resume(int) error                         { return nil }
func (s single) Isolate(context.Context, int) error       { return nil }
func (s single) Heal(context.Context, int) error          { return nil }
func (s single) Wait(context.Context) error               { return nil }

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == round.Subcommand {
		return load.Run(context.Background(), os.Stdin, os.Stdout)
	}
	engine := flag.String("engine", "mysql", "")
	faults := flag.String("faults", "", "")
	seed := flag.Uint64("seed", 1, "")
	flag.Parse()
	os.Setenv("TZ", "Europe/Berlin")
	s, err := testserver.Start(ctx, testserver.Engine(*engine), testserver.Options{Install: true, ServerArgs: testserver.FastArgs()})
	if err != nil {
		return err
	}
	defer s.Stop()
	for _, f := range round.Faults() {
		if f.Cluster || *faults != "" && !strings.Contains(","+*faults+",", ","+f.Name+",") {
			continue
		}
		p := round.Usual(f, *seed)
		p.Logf = func(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) }
		r, err := round.Run(ctx, single{s}, p)
		if err != nil {
			fmt.Println("ERROR", f.Name, err)
			continue
		}
		fmt.Println(r)
		fmt.Println("   ", r.Before, r.During, r.After, r.Took, "keys", r.Keys, "resolved", r.Resolved, "cuts", r.Cuts, r.Counters)
		for _, x := range r.Findings {
			fmt.Println("   FINDING", x.Check, x.After, x.Text, r.Dir)
		}
	}
	return nil
}
