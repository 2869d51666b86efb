package mutant

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// Each mutant changes what it says it does: a mutant whose text is no longer there
// would survive, and prove nothing.
func TestMutantsFitTheSource(t *testing.T) {
	root, err := testserver.Root()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range All() {
		if names[m.Name] || m.About == "" || len(m.edits) == 0 {
			t.Errorf("%s: twice, or says nothing, or does nothing", m.Name)
		}
		names[m.Name] = true
		for _, e := range m.edits {
			text, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Fatal(err)
			}
			changed, err := e.apply(string(text))
			if err != nil || changed == string(text) {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
	}
}

func TestEditThatDoesNotFit(t *testing.T) {
	for _, e := range []edit{
		{old: "absent"},
		{from: "absent", to: "d", old: "b"},
		{from: "a", to: "absent", old: "b"},
	} {
		if text, err := e.apply("a b c d"); err == nil {
			t.Errorf("%+v gives %q", e, text)
		}
	}
	if text, err := (edit{from: "b", to: "d", old: " ", new: "-"}).apply("a b c d"); err != nil || text != "a b-c-d" {
		t.Errorf("%q, %v", text, err)
	}
}
