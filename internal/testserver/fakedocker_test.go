//go:build unix

package testserver_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

const (
	fakeDockerState   = "TESTSERVER_DOCKER_STATE"   // a directory
	fakeDockerBackend = "TESTSERVER_DOCKER_BACKEND" // a server's address
)

// fakeDocker is what docker is to our code, without containers: a container's
// server is another server behind a proxy on the published port.
func fakeDocker(args []string) error {
	state := os.Getenv(fakeDockerState)
	log, err := os.OpenFile(filepath.Join(state, "calls"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(log, strings.Join(args, " ")); err != nil {
		return err
	}
	last := args[len(args)-1]
	switch args[0] {
	case "run":
		name := args[slices.Index(args, "--name")+1]
		publish := args[slices.Index(args, "--publish")+1]
		return fakeContainer(filepath.Join(state, name), strings.TrimSuffix(publish, ":3306"))
	case "kill":
		text, err := os.ReadFile(filepath.Join(state, last))
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(string(text))
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	return nil
}

func fakeContainer(pidFile, addr string) error {
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		os.Exit(0)
	}()
	for {
		front, err := listener.Accept()
		if err != nil {
			return err
		}
		back, err := net.Dial("tcp", os.Getenv(fakeDockerBackend))
		if err != nil {
			return err
		}
		go func() { _, _ = io.Copy(back, front); _ = back.Close() }()
		go func() { _, _ = io.Copy(front, back); _ = front.Close() }()
	}
}

// The whole life of a container's server.
func TestDockerLife(t *testing.T) {
	servertest.Each(t, func(t *testing.T, backend *servertest.Instance) {
		bin, state := t.TempDir(), t.TempDir()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, filepath.Join(bin, "docker")); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin)
		t.Setenv(fakeDockerState, state)
		t.Setenv(fakeDockerBackend, backend.Config().Addr)
		s, err := testserver.StartByDocker(t.Context(), backend.Engine, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		if s.Pid() != 0 {
			t.Errorf("pid %d of a server in a container", s.Pid())
		}
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := connect(t, s).Ping(); err != nil {
			t.Error(err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		calls, err := os.ReadFile(filepath.Join(state, "calls"))
		if err != nil {
			t.Fatal(err)
		}
		var verbs []string
		volumes := make(map[string]bool)
		for line := range strings.Lines(string(calls)) {
			words := strings.Fields(line)
			verbs = append(verbs, words[0])
			if i := slices.Index(words, "--volume"); i > 0 {
				volumes[words[i+1]] = true
			}
		}
		want := []string{"info", "image", "run", "kill", "run", "rm", "rm", "volume"}
		if !slices.Equal(verbs, want) {
			t.Errorf("docker was told %q, want %q", verbs, want)
		}
		if len(volumes) != 1 {
			t.Errorf("the restarted container has another volume: %v", volumes)
		}
	})
}
