// Package engine starts private database engines to inject faults into: single
// servers and clusters of three nodes, on free ports of 127.0.0.1 and in a
// directory that is removed at the end. What they need is fetched once, as
// packages of Debian, into the user's cache directory (or the one that
// TXLOCK_SERVER_CACHE names).
//
// What a server has committed survives its own death, but not that of the
// machine. On Linux a server is killed with SIGKILL when the program that
// started it ends, however that ends; a later start removes what it has left.
package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// ErrNotPossible is the error of a fault that the engine has no way to inject.
var ErrNotPossible = errors.New("not possible on this engine")

// Options say how to start an engine. The zero value starts one with its
// defaults, but for what makes it fast.
type Options struct {
	// Logf is told what is done. May be nil.
	Logf func(string, ...any)
	// ServerArgs are appended to each server's command line.
	ServerArgs []string
	// Env are variables of the servers' environment beyond our own, as
	// TZ=Europe/Berlin.
	Env []string
	// FakeClock gives each server a clock that [Cluster.SetClock] moves.
	FakeClock bool
}

// kind is what there is to know of an engine before it is started.
type kind struct {
	name        string
	nodes       int
	multiWriter bool
	script      string // of package scripts; empty for testserver's engines
	group       func(ctx context.Context, c *Cluster) (group, error)
}

func kinds() []kind {
	return []kind{
		{name: "mysql", nodes: 1, group: newSingle},
		{name: "mariadb", nodes: 1, group: newSingle},
		{name: "mariadb11", nodes: 1, script: "mariadb11.sh", group: newSingle},
		{name: "galera", nodes: 3, multiWriter: true, script: "galera.sh", group: newGalera},
		{name: "gr-single", nodes: 3, script: "groupreplication.sh", group: newGroupReplication},
		{name: "gr-multi", nodes: 3, multiWriter: true, script: "groupreplication.sh", group: newGroupReplication},
	}
}

// Names returns every engine that can be started.
func Names() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// Start starts an engine, and returns when all its nodes answer and are in the
// group. When ctx ends, so does the start, but not what has started.
func Start(ctx context.Context, name string, o Options) (*Cluster, error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	for _, k := range kinds() {
		if k.name == name {
			return start(ctx, k, o)
		}
	}
	return nil, fmt.Errorf("engine: unknown engine %q: use one of %s", name, strings.Join(Names(), ", "))
}

func start(ctx context.Context, k kind, o Options) (*Cluster, error) {
	dir, err := testserver.NewDirectory(ctx, k.name)
	if err != nil {
		return nil, err
	}
	c := &Cluster{kind: k, options: o, dir: dir}
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}
