package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// Redis is one server, without replicas.
type Redis struct{ *server }

// StartRedis starts a server, and returns when it answers. With durable each
// write is on disk before it is acknowledged; else nothing is ever written.
// When ctx ends, so does the start, but not a server that has started.
func StartRedis(ctx context.Context, durable bool) (*Redis, error) {
	program, err := findRedis(ctx)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		r, err := startRedis(ctx, program, durable)
		// The port was free, but nothing held it for us.
		if failed := new(startError); errors.As(err, &failed) && attempt < 5 && ctx.Err() == nil &&
			bytes.Contains(bytes.ToLower(failed.said), []byte("address already in use")) {
			continue
		}
		return r, err
	}
}

func startRedis(ctx context.Context, program redisProgram, durable bool) (*Redis, error) {
	dir, err := testserver.NewDirectory(ctx, "redis")
	if err != nil {
		return nil, err
	}
	s := &server{name: "redis", dir: dir}
	addr, err := freeAddr()
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	s.addr = addr
	ready := func(line string) bool { return strings.Contains(line, "Ready to accept connections") }
	if err := s.launch(ctx, redisCommand(program, s, durable), ready); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return &Redis{server: s}, nil
}

func redisCommand(program redisProgram, s *server, durable bool) *exec.Cmd {
	host, port, _ := net.SplitHostPort(s.addr)
	args := []string{"--bind", host, "--port", port, "--dir", filepath.Join(s.dir.Path, "data")}
	if durable {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	} else {
		args = append(args, "--save", "", "--appendonly", "no")
	}
	return program.command(args...)
}

// freeAddr has a port that was free a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("peer: no free port on 127.0.0.1: %w", err)
	}
	return l.Addr().String(), l.Close()
}
