package testserver

import (
	"context"
	"errors"
	"os"
	"testing"
)

// What a killed program left behind is removed; what is in use is not.
func TestSweep(t *testing.T) {
	base, ctx := t.TempDir(), context.Background()
	dead, err := newDirectory(ctx, base, "dead")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.lock.Close(); err != nil { // as the kernel does for the dead
		t.Fatal(err)
	}
	living, err := newDirectory(ctx, base, "living")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there (%v)", dead.Path, err)
	}
	sweep(ctx, base)
	if _, err := os.Stat(living.Path); err != nil {
		t.Error(err)
	}
	if err := living.Remove(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(base); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
