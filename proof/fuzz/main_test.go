package fuzz_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// No goroutine is left when all tests have ended.
func TestMain(m *testing.M) {
	// rapid's own default of a hundred histories meets rare steps too seldom; the
	// command line, which is read later, says how many it is to be.
	if err := flag.Set("rapid.checks", "300"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	servertest.Main(m, func() error { return goleak.Find() })
}
