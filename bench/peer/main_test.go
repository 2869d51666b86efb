package peer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/gox-helix/gox-helix/bench/peer"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// server is what all peers are.
type server interface {
	Addr() string
	Pid() int
	Stop() error
}

// starters are the peers by name.
func starters() map[string]func(context.Context) (server, error) {
	return map[string]func(context.Context) (server, error){
		"redis":         func(ctx context.Context) (server, error) { return peer.StartRedis(ctx, false) },
		"durable redis": func(ctx context.Context) (server, error) { return peer.StartRedis(ctx, true) },
		"etcd":          func(ctx context.Context) (server, error) { return peer.StartEtcd(ctx) },
	}
}

// The test binary is also the programs that some tests run.
func TestMain(m *testing.M) {
	var err error
	switch name := os.Getenv(orphanVariable); {
	case len(os.Args) > 1 && os.Args[1] == peer.EtcdSubcommand:
		err = peer.RunEtcd(context.Background(), os.Stdin, os.Stdout)
	case name != "":
		err = startAndWait(name)
	default:
		code := m.Run()
		if notFetched.Load() {
			servertest.Announce("peer.test: not tested: Redis: there is no redis-server; run `make test` (fetches what it needs)")
		}
		os.Exit(code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// notFetched is that a test was skipped that would have fetched Redis.
var notFetched atomic.Bool

func needs(t *testing.T, name string) {
	t.Helper()
	if name == "etcd" || os.Getenv(servertest.RequiredVariable) == "required" {
		return
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		notFetched.Store(true)
		t.Skip("there is no redis-server, and it may not be fetched: run `make test`")
	}
}

// orphanVariable names the peer that a re-executed test binary starts, to be
// killed itself.
const orphanVariable = "PEER_ORPHAN"

func startAndWait(name string) error {
	s, err := starters()[name](context.Background())
	if err != nil {
		return err
	}
	fmt.Println(s.Pid(), s.Addr())
	_, err = bufio.NewReader(os.Stdin).ReadByte() // until killed
	return errors.Join(err, s.Stop())
}
