package round

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/proof/engine"
	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/proof/load"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Subcommand {
		if err := load.Run(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func start(t *testing.T) *engine.Cluster {
	t.Helper()
	c, err := engine.Start(t.Context(), "mariadb", engine.Options{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func plan(t *testing.T, fault string) Plan {
	t.Helper()
	f, err := FaultNamed(fault)
	if err != nil {
		t.Fatal(err)
	}
	p := Usual(f, 1)
	p.Before, p.During, p.After, p.Least = 500*time.Millisecond, time.Second, 500*time.Millisecond, 50
	p.Patience = time.Minute // with which a busy machine leaves no outcome unknown
	p.Logf = t.Logf
	p.Dir = filepath.Join(t.TempDir(), "history")
	return p
}

func TestRound(t *testing.T) {
	c := start(t)
	for _, fault := range []string{"none", "kill-workers", "cut-after-commit"} {
		t.Run(fault, func(t *testing.T) {
			p := plan(t, fault)
			r, err := Run(t.Context(), c, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				t.Errorf("found by the %s: %s", f.Check, f.Text)
			}
			if r.Before < p.Least || r.After < p.Least || r.Keys == 0 || r.Outcomes()[history.OK] == 0 || r.Counters.Fenced.Acknowledged == 0 {
				t.Errorf("%+v", r)
			}
			if unknown := r.Outcomes()[history.Unknown]; (unknown > 0) == (fault == "none") {
				t.Errorf("%d operations of unknown outcome: %v", unknown, r.Operations)
			}
			if _, err := os.Stat(p.Dir); !os.IsNotExist(err) {
				t.Errorf("the history of a round that found nothing was kept: %v", err)
			}
		})
	}
}

// A round whose load is too small does not count.
func TestRoundOfTooSmallALoad(t *testing.T) {
	p := plan(t, "none")
	p.Least = 1 << 40
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched := make(chan struct{})
	go func() { // until there is something to keep
		defer close(watched)
		for ops, err := history.Read(p.Dir); err == nil && len(ops) == 0 && ctx.Err() == nil; ops, err = history.Read(p.Dir) {
			time.Sleep(pollInterval)
		}
		cancel()
	}()
	r, err := Run(ctx, start(t), p)
	cancel()
	<-watched
	if err == nil || !strings.Contains(err.Error(), "too small to count") || !strings.Contains(err.Error(), p.Dir) {
		t.Errorf("%v, %v", r, err)
	}
	if ops, err := history.Read(p.Dir); err != nil || len(ops) == 0 {
		t.Errorf("its history was not kept: %d operations, %v", len(ops), err)
	}
}

// A worker that cannot work ends the round, and says why.
func TestRoundOfBrokenWorkers(t *testing.T) {
	p := plan(t, "none")
	p.Program = "/bin/false"
	if r, err := Run(t.Context(), start(t), p); err == nil || !strings.Contains(err.Error(), "worker 1") {
		t.Errorf("%v, %v", r, err)
	}
}

func TestFaults(t *testing.T) {
	names := map[string]bool{}
	for _, f := range Faults() {
		if names[f.Name] || f.About == "" || (f.Cluster && f.Single) {
			t.Errorf("%+v", f)
		}
		names[f.Name] = true
		if one, three := f.On("mysql", 1), f.On("galera", 3); one == f.Cluster && f.Engines == nil || three == f.Single {
			t.Errorf("%s happens on one node: %v, on three: %v", f.Name, one, three)
		}
	}
	if _, err := FaultNamed("rain"); err == nil {
		t.Error("rain")
	}
}
