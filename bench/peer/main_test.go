package peer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/gox-helix/gox-helix/bench/peer"
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
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
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
