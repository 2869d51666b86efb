package lockdb_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// No statement names an argument twice: sqlc before 1.31 generates a second field for it,
// which nobody would set. And all of it can be read.
func TestQueries(t *testing.T) {
	files, err := filepath.Glob("queries/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	argument := regexp.MustCompile(`sqlc\.\w+\(\w+\)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "-- ") || strings.HasPrefix(string(text), "-- name:") {
			t.Errorf("%s has no header", file)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if len(line) > 120 {
				t.Errorf("%s:%d has %d columns", file, i+1, len(line))
			}
		}
		for _, statement := range strings.Split(string(text), "-- name: ")[1:] {
			name, _, _ := strings.Cut(statement, " ")
			seen := make(map[string]bool)
			for _, arg := range argument.FindAllString(statement, -1) {
				if seen[arg] {
					t.Errorf("%s has %s twice", name, arg)
				}
				seen[arg] = true
			}
		}
	}
}
