package peer

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

//go:embed redis.sh
var redisScript string

// redisProgram is a command that runs a redis-server: the machine's own, else
// one that is fetched once into the user's cache directory.
type redisProgram struct {
	argv []string
	env  []string
}

func findRedis(ctx context.Context) (redisProgram, error) {
	// It exits rather than start in a locale that its libc does not have.
	env := append(os.Environ(), "LC_ALL=C")
	if path, err := exec.LookPath("redis-server"); err == nil {
		return redisProgram{argv: []string{path}, env: env}, nil
	}
	cache, err := cacheDir()
	if err != nil {
		return redisProgram{}, err
	}
	script := []string{"bash", "-c", redisScript, "redis.sh"}
	p := redisProgram{argv: append(script, "serve"), env: append(env, "PEER_CACHE="+cache)}
	if err := run(ctx, p.env, append(script, "install")...); err != nil {
		return redisProgram{}, fmt.Errorf("peer: redis: no redis-server on PATH, and none could be fetched: %w", err)
	}
	return p, nil
}

// command is the server with arguments.
func (p redisProgram) command(args ...string) *exec.Cmd {
	argv := append(append([]string{}, p.argv...), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = p.env
	return cmd
}

// cacheDir is where downloaded servers are kept.
func cacheDir() (string, error) {
	if dir := os.Getenv(testserver.CacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("peer: no cache directory: %w: name one in %s", err, testserver.CacheVariable)
	}
	return filepath.Join(dir, "gox-helix", "peers"), nil
}

// run runs a command to its end, or to that of ctx.
func run(ctx context.Context, env []string, argv ...string) error {
	var said bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := testserver.StartProcess(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		err = p.Err()
	case <-ctx.Done():
		p.Kill() // with what it runs, as it has a process group of its own
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}
