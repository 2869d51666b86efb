package child_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// As the first process of a container we are left with orphans, and wait for them.
func TestOrphansOfTheFirstProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const script = `orphan=$(sh -c 'sleep 1000 >/dev/null & echo $!'); kill $orphan; while kill -0 $orphan; do sleep 0.01; done; echo gone; exit 3`
	cmd := exec.CommandContext(ctx, self, "sh", "-c", script)
	cmd.Env = append(os.Environ(), helperVariable+"="+filepath.Join(t.TempDir(), "over"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Skipf("no namespace for processes: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := out.String(); got != "gone\nexit 3 lost <nil>\n" {
		t.Errorf("it wrote %q", got)
	}
}
