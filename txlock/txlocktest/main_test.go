package txlocktest_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine is left when all tests have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
