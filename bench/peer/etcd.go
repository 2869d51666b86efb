package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// EtcdSubcommand is the first argument that this program gives to itself to
// become an etcd: main must call [RunEtcd] then.
const EtcdSubcommand = "etcd"

// Etcd is the only member of its cluster, in a process of its own.
type Etcd struct{ *server }

// StartEtcd starts an etcd, and returns when it answers. When ctx ends, so does
// the start, but not a server that has started.
func StartEtcd(ctx context.Context) (*Etcd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("peer: etcd: which program to run again is unknown: %w", err)
	}
	dir, err := testserver.NewDirectory(ctx, "etcd")
	if err != nil {
		return nil, err
	}
	s := &server{name: "etcd", dir: dir}
	fail := func(err error) (*Etcd, error) { return nil, errors.Join(err, s.Stop()) }
	// Ours alone: were it cmd's, Wait would close it under us.
	stdin, hold, err := os.Pipe()
	if err != nil {
		return fail(fmt.Errorf("peer: etcd: no pipe for its input: %w", err))
	}
	defer stdin.Close() //nolint:errcheck // the child has its own
	s.stdin = hold
	if _, err := io.WriteString(hold, dir.Path+"\n"); err != nil {
		return fail(fmt.Errorf("peer: etcd: its input: %w", err))
	}
	cmd := exec.Command(self, EtcdSubcommand)
	cmd.Stdin = stdin
	ready := func(line string) bool {
		addr, ok := strings.CutPrefix(strings.TrimSpace(line), readyPrefix)
		if ok {
			s.addr = addr
		}
		return ok
	}
	if err := s.launch(ctx, cmd, ready); err != nil {
		return fail(err)
	}
	return &Etcd{server: s}, nil
}
