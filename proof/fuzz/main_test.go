package fuzz_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// No goroutine is left when all tests have ended.
func TestMain(m *testing.M) {
	servertest.Main(m, func() error { return goleak.Find() })
}
