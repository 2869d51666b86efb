package contender_test

import (
	"context"
	"fmt"
	"os"
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
	servertest.Main(m)
}
