package engine

import (
	"context"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// single is a server without a group.
type single struct {
	cluster *Cluster
}

func newSingle(ctx context.Context, c *Cluster) (group, error) {
	if c.kind.script != "" {
		// Without TLS it need not make a key at each start.
		_, err := c.scriptServers(ctx, 1, func(int, [][]int) []string { return []string{"skip-ssl"} })
		return &single{cluster: c}, err
	}
	c.nodes[0].server = &testServer{
		engine: testserver.Engine(c.kind.name),
		options: testserver.Options{
			Install:    true,
			Logf:       c.options.Logf,
			ServerArgs: c.serverArgs(),
			Env:        c.env(0),
		},
	}
	return &single{cluster: c}, nil
}

func (s *single) form(ctx context.Context) error { return s.start(ctx, 0) }

func (s *single) start(ctx context.Context, _ int) error { return s.cluster.nodes[0].server.start(ctx) }

func (s *single) view(ctx context.Context, _ int) (view, error) {
	var one int
	if err := queryRow(ctx, s.cluster.Config(0), "SELECT 1").Scan(&one); err != nil {
		return view{}, err
	}
	return view{in: true, writes: true, members: 1, state: "running"}, nil
}

func (s *single) rejoin(context.Context, int, view) error { return nil }

func (s *single) isolate(context.Context, int) error { return ErrNotPossible }

func (s *single) heal(context.Context, int) error { return nil }

func (s *single) close() error { return nil }
