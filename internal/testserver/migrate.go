package testserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const modulePath = "github.com/gox-helix/gox-helix"

// Root is the root directory of this repository, found upwards from the
// working directory.
func Root() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("testserver: no working directory: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && moduleOf(text) == modulePath {
			return dir, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("testserver: looking for the repository: %w", err)
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("testserver: no go.mod of %s in %s or above: run inside the repository", modulePath, wd)
		}
	}
}

func moduleOf(gomod []byte) string {
	for line := range strings.Lines(string(gomod)) {
		if words := strings.Fields(line); len(words) >= 2 && words[0] == "module" {
			return strings.Trim(words[1], `"`)
		}
	}
	return ""
}

// Goose runs the goose command that tools/go.mod pins, on the migrations under
// root and the database that dsn names, and returns its output. Without args
// it runs "up".
func Goose(ctx context.Context, root, dsn string, args ...string) ([]byte, error) {
	if len(args) == 0 {
		args = []string{"up"}
	}
	argv := append([]string{"go", "-C", filepath.Join(root, "tools"), "run",
		"-tags", "no_clickhouse no_libsql no_mssql no_postgres no_sqlite3 no_vertica no_ydb",
		"github.com/pressly/goose/v3/cmd/goose",
		"-env", "none", "-dir", filepath.Join(root, "migrations", "sql"), "-table", "helix_goose_db_version"}, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	// By environment, as everybody can read a command line.
	cmd.Env = append(os.Environ(), "GOOSE_DRIVER=mysql", "GOOSE_DBSTRING="+dsn)
	var buf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &buf, &buf
	err := runProcess(ctx, cmd)
	out := bytes.ReplaceAll(buf.Bytes(), []byte(dsn), []byte("<dsn>"))
	if err != nil {
		return out, fmt.Errorf("testserver: goose %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return out, nil
}
