package engine

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

//go:embed scripts
var embedded embed.FS

// scripts are the files of directory scripts, written out to be run.
type scripts struct {
	dir   string
	cache string
	logf  func(string, ...any)
}

func newScripts(dir string, logf func(string, ...any)) (*scripts, error) {
	cache := os.Getenv(testserver.CacheVariable)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("engine: no cache directory: %w: name one in %s", err, testserver.CacheVariable)
		}
		cache = filepath.Join(user, "gox-helix", "engines")
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return nil, fmt.Errorf("engine: the cache directory %s: %w", cache, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("engine: no directory for the scripts: %w", err)
	}
	files, err := embedded.ReadDir("scripts")
	for _, f := range files {
		var text []byte
		if text, err = embedded.ReadFile("scripts/" + f.Name()); err != nil {
			break
		}
		if err = os.WriteFile(filepath.Join(dir, f.Name()), text, 0o600); err != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("engine: could not write the scripts: %w", err)
	}
	return &scripts{dir: dir, cache: cache, logf: logf}, nil
}

// command is a script that is to be started.
func (s *scripts) command(script string, args ...string) *exec.Cmd {
	cmd := exec.Command("bash", append([]string{filepath.Join(s.dir, script)}, args...)...)
	cmd.Env = append(os.Environ(), "ENGINE_CACHE="+s.cache)
	return cmd
}

// run runs a script to its end, or to that of ctx, and returns what it prints.
// What it says goes to the log.
func (s *scripts) run(ctx context.Context, script string, args ...string) (string, error) {
	var stdout, said bytes.Buffer
	var mu sync.Mutex
	cmd := s.command(script, args...)
	cmd.Stdout = &stdout
	cmd.Stderr = writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		s.logf("engine: %s", bytes.TrimSpace(p))
		return said.Write(p)
	})
	p, err := testserver.StartProcess(cmd, syscall.SIGKILL)
	if err != nil {
		return "", fmt.Errorf("engine: could not run %s: %w", script, err)
	}
	select {
	case <-p.Done():
		err = p.Err()
	case <-ctx.Done():
		p.Kill()
		err = context.Cause(ctx)
	}
	if err != nil {
		mu.Lock()
		defer mu.Unlock()
		return "", fmt.Errorf("engine: %s %s: %w\n%s", script, strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// errEnded is how waiting for a server ends that has ended.
var errEnded = errors.New("it ended")
