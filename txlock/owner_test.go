package txlock

import (
	"strings"
	"testing"
)

func TestOwnerOfAHostWithALongName(t *testing.T) {
	a, b := ownerName(strings.Repeat("h", 300)), ownerName(strings.Repeat("h", 300))
	if len(a) > MaxKeyBytes || a == b {
		t.Errorf("%q and %q", a, b)
	}
}
