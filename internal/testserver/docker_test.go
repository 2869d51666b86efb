//go:build unix

package testserver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Docker is not asked where nothing may be fetched, and comes before Debian
// where it may.
func TestDockerNeedsInstall(t *testing.T) {
	path := t.TempDir()
	calls := filepath.Join(path, "calls")
	fakeProgram(t, path, "docker", `echo "$@" >>`+calls)
	t.Setenv("PATH", path)
	f := finder{cache: filepath.Join(path, "cache"), logf: t.Logf}
	if _, err := f.find(context.Background(), MySQL); !errors.Is(err, ErrNoProgram) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(calls); err == nil {
		t.Error("Docker was asked")
	}
	f.install = true
	for e, image := range map[Engine]string{MySQL: "mysql:9", MariaDB: "mariadb:10.11"} {
		p, err := f.find(context.Background(), e)
		if err != nil || p.docker == nil || p.docker.image != image {
			t.Errorf("%s: %+v, %v", e, p, err)
		}
	}
}

// A docker whose daemon does not answer is as good as none.
func TestDockerWithoutDaemon(t *testing.T) {
	path := t.TempDir()
	fakeProgram(t, path, "docker", `echo "Cannot connect to the Docker daemon"; exit 1`)
	t.Setenv("PATH", path)
	f := finder{cache: filepath.Join(path, "cache"), install: true, logf: t.Logf}
	_, err := f.find(context.Background(), MySQL)
	if err == nil || !strings.Contains(err.Error(), "no apt-get") || !strings.Contains(err.Error(), "Cannot connect to the Docker daemon") {
		t.Errorf("got %v", err)
	}
}

// A container that ends early gives its log, and leaves no container, volume
// or directory.
func TestDockerEarlyEnd(t *testing.T) {
	path, base := t.TempDir(), shortTemp(t)
	calls := filepath.Join(path, "calls")
	fakeProgram(t, path, "docker", `echo "$@" >>`+calls+`
case "$1" in image) exit 1 ;; run) echo "[ERROR] bad option"; exit 7 ;; esac`)
	t.Setenv("PATH", path)
	f := finder{cache: filepath.Join(path, "cache"), install: true, logf: t.Logf}
	_, err := start(context.Background(), MySQL, Options{ServerArgs: []string{"--sync-binlog=0"}}, f)
	if err == nil || !strings.Contains(err.Error(), "[ERROR] bad option") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("the error does not have the log: %v", err)
	}
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	var verbs []string
	var run string
	for line := range strings.Lines(string(text)) {
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		verbs = append(verbs, verb)
		if verb == "run" {
			run = line
		}
	}
	if want := []string{"info", "image", "pull", "run", "rm", "volume"}; !slices.Equal(verbs, want) {
		t.Errorf("docker was told %q, want %q", verbs, want)
	}
	for _, want := range []string{"--rm ", "--publish 127.0.0.1:", ":3306 ", " mysql:9 --max-connections=500 ", "--sync-binlog=0\n"} {
		if !strings.Contains(run, want) {
			t.Errorf("no %q in %q", want, run)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(base, "*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
