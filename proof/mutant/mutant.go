// Package mutant breaks one rule of the library at a time, so that the proof shows
// that it would have noticed: the same load, with workers that are built with some
// of the library's source text replaced, must be found wrong.
package mutant

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Mutant is one broken rule.
type Mutant struct {
	Name string
	// About says what is wrong with it.
	About string
	// Engines are those that it is tried on; none: every single server.
	Engines []string
	// Faults are those of the rounds to try, in turns; none: rounds
	// without one.
	Faults []string

	edits []edit
}

// edit replaces text in one file of the library.
type edit struct {
	file     string // from the root of the repository
	from, to string // only between these, if not empty
	old, new string // every occurrence; there must be one
	change   func(text string) (string, error)
}

func (e edit) apply(text string) (string, error) {
	begin, end := 0, len(text)
	if e.from != "" {
		if begin = strings.Index(text, e.from); begin < 0 {
			return "", fmt.Errorf("%s: no %q", e.file, e.from)
		}
		n := strings.Index(text[begin:], e.to)
		if n < 0 {
			return "", fmt.Errorf("%s: no %q after %q", e.file, e.to, e.from)
		}
		end = begin + n
	}
	part := text[begin:end]
	var err error
	switch {
	case e.change != nil:
		part, err = e.change(part)
	case !strings.Contains(part, e.old):
		err = fmt.Errorf("no %q", e.old)
	default:
		part = strings.ReplaceAll(part, e.old, e.new)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", e.file, err)
	}
	return text[:begin] + part + text[end:], nil
}

// Build builds the program with the mutant's library, in dir, and returns its path.
// Root is the repository.
func (m Mutant) Build(ctx context.Context, root, dir string) (string, error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	texts := map[string]string{}
	for _, e := range m.edits {
		text, ok := texts[e.file]
		if !ok {
			read, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return "", fmt.Errorf("mutant %s: %w", m.Name, err)
			}
			text = string(read)
		}
		text, err := e.apply(text)
		if err != nil {
			return "", fmt.Errorf("mutant %s no longer fits the source: %w", m.Name, err)
		}
		texts[e.file] = text
	}
	for file, text := range texts {
		path := filepath.Join(dir, m.Name+"-"+filepath.Base(file))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("mutant %s: %w", m.Name, err)
		}
		overlay.Replace[filepath.Join(root, file)] = path
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	path := filepath.Join(dir, m.Name+".json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		return "", fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	program := filepath.Join(dir, m.Name)
	build := exec.CommandContext(ctx, "go", "build", "-overlay", path, "-o", program, ".")
	build.Dir = filepath.Join(root, "proof")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mutant %s does not compile: %w: %s", m.Name, err, out)
	}
	return program, nil
}

// On reports whether the mutant is tried on an engine.
func (m Mutant) On(engine string) bool {
	if len(m.Engines) == 0 {
		return engine == "mysql" || engine == "mariadb"
	}
	return slices.Contains(m.Engines, engine)
}

// Fault is that of its i-th round.
func (m Mutant) Fault(i int) string {
	if len(m.Faults) == 0 {
		return "none"
	}
	return m.Faults[i%len(m.Faults)]
}
