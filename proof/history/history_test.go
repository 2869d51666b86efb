package history

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrittenAndRead(t *testing.T) {
	dir := t.TempDir()
	for worker := range 2 {
		r, err := NewRecorder(filepath.Join(dir, string(rune('a'+worker))+Suffix))
		if err != nil {
			t.Fatal(err)
		}
		done := &Op{ID: int64(10*worker + 1), Key: "k", Kind: Renew, Lease: 7}
		r.Call(done)
		r.Call(&Op{ID: int64(10*worker + 2), Key: "k", Kind: Fence})
		done.Outcome, done.Error = Lost, "why"
		r.Return(done)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ops, err := Read(dir)
	if err != nil || len(ops) != 4 {
		t.Fatalf("%v, %v", ops, err)
	}
	for i := range ops {
		op := &ops[i]
		if i > 0 && op.Call < ops[i-1].Call {
			t.Errorf("not in the order of calls: %v", ops)
		}
		switch op.ID % 10 {
		case 1:
			if op.Outcome != Lost || op.Return < op.Call || op.Lease != 7 || op.Error != "why" {
				t.Errorf("returned: %+v", op)
			}
		case 2:
			if op.Outcome != Unknown || op.Return != Pending {
				t.Errorf("did not return: %+v", op)
			}
		}
	}
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct{ text, err string }{
		"cut off":               {`{"id":1,"call":1}` + "\n" + `{"id":1,"call":1,"ret`, ""},
		"nothing whole":         {`{"id":1`, ""},
		"no line of ours":       {"x\n", "invalid"},
		"returns uncalled":      {`{"id":1,"call":1,"return":2,"outcome":"ok"}` + "\n", "was not called"},
		"returns once too much": {`{"id":1,"call":1}` + "\n" + strings.Repeat(`{"id":1,"call":1,"return":2,"outcome":"ok"}`+"\n", 2), "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a"+Suffix), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			ops, err := Read(dir)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, %v", ops, err)
			}
		})
	}
}

func TestRecorderFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	r, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewRecorder(path); err == nil {
		t.Error("one history over another")
	}
	if err := r.file.Close(); err != nil {
		t.Fatal(err)
	}
	r.Call(&Op{ID: 1})
	if r.Close() == nil {
		t.Error("what was not written is not told")
	}
}
