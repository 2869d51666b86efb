package history

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Suffix is how the names of history files end.
const Suffix = ".history"

// Read reads the histories in a directory, and returns their operations in the
// order of their calls. One that did not return is Unknown and Pending.
func Read(dir string) ([]Op, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+Suffix))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	var all []Op
	for _, file := range files {
		ops, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("history: %s: %w", file, err)
		}
		all = append(all, ops...)
	}
	slices.SortFunc(all, func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	return all, nil
}

func readFile(path string) ([]Op, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// A killed process leaves a line without an end: that operation did not return.
	text = text[:bytes.LastIndexByte(text, '\n')+1]

	var ops []Op
	at := map[int64]int{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var op Op
		if err := json.Unmarshal(lines.Bytes(), &op); err != nil {
			return nil, fmt.Errorf("%w in %q", err, lines.Text())
		}
		i, called := at[op.ID]
		switch {
		case called && ops[i].Return != Pending:
			return nil, fmt.Errorf("operation %d returns twice", op.ID)
		case called:
			ops[i] = op
		case op.Outcome != "":
			return nil, fmt.Errorf("operation %d returns and was not called", op.ID)
		default:
			op.Return, op.Outcome = Pending, Unknown
			at[op.ID] = len(ops)
			ops = append(ops, op)
		}
	}
	return ops, lines.Err()
}
