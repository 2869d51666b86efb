package peer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gox-helix/gox-helix/bench/peer"
)

// temp is where the servers' directories go. Not t.TempDir, as with a long path
// they go elsewhere.
func temp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "peer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	return dir
}

func runs(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestStartStop(t *testing.T) {
	for name, start := range starters() {
		t.Run(name, func(t *testing.T) {
			dir := temp(t)
			s, err := start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if host, _, err := net.SplitHostPort(s.Addr()); err != nil || host != "127.0.0.1" {
				t.Errorf("it is at %s", s.Addr())
			}
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Error(err)
			} else {
				_ = conn.Close()
			}
			if s.Pid() == os.Getpid() || !runs(s.Pid()) {
				t.Errorf("it is not a process of its own: pid %d", s.Pid())
			}
			for range 2 {
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
			}
			if runs(s.Pid()) {
				t.Errorf("pid %d is left", s.Pid())
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestStartEnds(t *testing.T) {
	for name, start := range starters() {
		t.Run(name, func(t *testing.T) {
			dir := temp(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if s, err := start(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
				if err == nil {
					_ = s.Stop()
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestRedisPersistence(t *testing.T) {
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprint(durable), func(t *testing.T) {
			temp(t)
			r, err := peer.StartRedis(t.Context(), durable)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Stop() //nolint:errcheck // TestStartStop looks at it
			client := redis.NewClient(&redis.Options{Addr: r.Addr()})
			defer client.Close() //nolint:errcheck // nothing was written
			want := map[string]string{"save": "", "appendonly": "no"}
			if durable {
				want = map[string]string{"appendonly": "yes", "appendfsync": "always", "save": "3600 1 300 100 60 10000"}
			}
			for name, value := range want {
				got, err := client.ConfigGet(t.Context(), name).Result()
				if err != nil || got[name] != value {
					t.Errorf("%s is %q, %v; want %q", name, got[name], err, value)
				}
			}
		})
	}
}

// An etcd's process says why it does not start.
func TestRunEtcdWithoutDirectory(t *testing.T) {
	if err := peer.RunEtcd(t.Context(), strings.NewReader(""), nil); err == nil {
		t.Error("it started")
	}
}

// An etcd ends with its input, also where nothing kills it with its parent.
func TestEtcdEndsWithInput(t *testing.T) {
	dir := temp(t)
	cmd := exec.Command(os.Args[0], peer.EtcdSubcommand)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	_, writeErr := fmt.Fprintln(stdin, dir)
	_, readErr := bufio.NewReader(stdout).ReadString('\n')
	if err := errors.Join(writeErr, readErr, stdin.Close()); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended badly: %v", err)
	}
}

// No peer outlives a program that is killed.
func TestKilledParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	for name := range starters() {
		t.Run(name, func(t *testing.T) {
			dir := temp(t)
			parent := exec.Command(os.Args[0])
			parent.Env = append(os.Environ(), orphanVariable+"="+name)
			parent.Stderr = os.Stderr
			stdin, err := parent.StdinPipe() // held open, never written to
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close() //nolint:errcheck // its reader was killed
			stdout, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			var pid int
			var addr string
			_, scanErr := fmt.Fscanln(bufio.NewReader(stdout), &pid, &addr)
			if scanErr == nil && !runs(pid) {
				t.Errorf("pid %d does not run", pid)
			}
			killErr := parent.Process.Kill()
			_ = parent.Wait()
			if err := errors.Join(scanErr, killErr); err != nil {
				t.Fatal(err)
			}
			// Nothing tells the end of somebody else's child.
			for deadline := time.Now().Add(10 * time.Second); runs(pid); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("pid %d outlives its parent", pid)
				}
			}
			// What it could not remove, the next one does.
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
				t.Errorf("left: %v", left)
			}
			s, err := starters()[name](t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
