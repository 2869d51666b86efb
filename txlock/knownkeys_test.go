package txlock

import (
	"fmt"
	"testing"
)

func TestKnownKeysAreBounded(t *testing.T) {
	const limit = 100
	k := newKnownKeys(limit)
	k.add("in use")
	for i := range 10 * limit {
		k.add(fmt.Sprint(i))
		if !k.has("in use") {
			t.Fatalf("forgot a key in use after %d others", i+1)
		}
		if n := len(k.newer) + len(k.older); n > 2*limit {
			t.Fatalf("remembers %d keys, limit %d", n, limit)
		}
	}
	if k.has("0") || !k.has(fmt.Sprint(10*limit-1)) {
		t.Error("forgot the newest, or remembers the oldest")
	}
	k.forget("in use")
	if k.has("in use") {
		t.Error("remembers what it was told to forget")
	}
}
