//go:build unix

package testserver

import "context"

// StartByDocker starts a server as on a machine that has only Docker.
func StartByDocker(ctx context.Context, e Engine, logf func(string, ...any)) (*Server, error) {
	f := finder{cache: "/nonexistent", install: true, logf: orSilent(logf)}
	return start(ctx, e, Options{Logf: logf}, f)
}

// StartFromDebian starts a server as on a machine that has none, and no
// Docker, with an install of its own in cache.
func StartFromDebian(ctx context.Context, e Engine, cache string, o Options) (*Server, error) {
	f := finder{cache: cache, install: true, logf: orSilent(o.Logf)}
	return start(ctx, e, o, f)
}
