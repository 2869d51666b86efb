package engine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/proof/engine"
)

// orphanVariable names the engine that a re-executed test binary starts, to be
// killed itself.
const orphanVariable = "ENGINE_ORPHAN"

func startAndWait(name string) error {
	c, err := engine.Start(context.Background(), name, engine.Options{})
	if err != nil {
		return err
	}
	fmt.Println("started")
	_, err = bufio.NewReader(os.Stdin).ReadByte() // until killed
	return errors.Join(err, c.Stop())
}

// No server outlives a program that is killed.
func TestKilledParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	for _, name := range engine.Names() {
		if isCluster(name) && !wanted(name) {
			continue // TestEngines says so
		}
		t.Run(name, func(t *testing.T) {
			// It cannot clean up, so its directory goes where we do.
			temp, err := os.MkdirTemp("/tmp", "engine-")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(temp) }()
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), orphanVariable+"="+name, "TMPDIR="+temp)
			child.Stderr = os.Stderr
			stdin, err := child.StdinPipe() // held open, never written to
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = stdin.Close() }()
			stdout, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			line, readErr := bufio.NewReader(stdout).ReadString('\n')
			if len(processes(temp)) == 0 {
				t.Errorf("there are no processes; it said %s", strings.TrimSpace(line))
			}
			if err := errors.Join(readErr, child.Process.Kill()); err != nil {
				t.Fatal(err)
			}
			_ = child.Wait()
			// Nothing tells the end of somebody else's child.
			for deadline := time.Now().Add(patience); len(processes(temp)) > 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("left: %v", processes(temp))
				}
			}
		})
	}
}
