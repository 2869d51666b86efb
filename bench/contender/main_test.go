package contender_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/gox-helix/gox-helix/bench/peer"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// The test binary is also the etcd that some tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == peer.EtcdSubcommand {
		if err := peer.RunEtcd(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	servertest.Main(m, func() error {
		if notFetched.Load() {
			servertest.Announce("contender.test: not tested: Redis: there is no redis-server; run `make test` (fetches what it needs)")
		}
		return nil
	})
}

// notFetched is that a test was skipped that would have fetched Redis.
var notFetched atomic.Bool

func needRedis(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil && os.Getenv(servertest.RequiredVariable) != "required" {
		notFetched.Store(true)
		t.Skip("there is no redis-server, and it may not be fetched: run `make test`")
	}
}
