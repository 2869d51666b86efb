//go:build unix

package testserver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// The test binary is also the programs that some tests run.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "docker" {
		if err := fakeDocker(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if e := os.Getenv(orphanVariable); e != "" {
		if err := startAndWait(e); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	servertest.Main(m)
}
