package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// The two modules as a proxy has them once they are released: go install finds all
// it needs, and makes a program that knows its version.
func TestGoInstall(t *testing.T) {
	root, err := testserver.Root()
	must(t, err)
	const library, version = "github.com/gox-helix/gox-helix", "v0.1.0"
	proxy := t.TempDir()
	for path, dir := range map[string]string{library: root, library + "/cmd/txlock": filepath.Join(root, "cmd", "txlock")} {
		publish(t, proxy, module.Version{Path: path, Version: version}, dir)
	}
	goenv := func(name string) string {
		out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		must(t, err)
		return strings.TrimSpace(string(out))
	}
	bin := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install", "-modcacherw", library+"/cmd/txlock@"+version)
	cmd.Dir = bin
	cmd.Env = append(os.Environ(),
		"GOBIN="+bin, "GOMODCACHE="+t.TempDir(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0", "GOSUMDB=off",
		// What was downloaded for this test is a proxy, too.
		"GOPROXY=file://"+proxy+",file://"+filepath.Join(goenv("GOMODCACHE"), "cache", "download")+","+goenv("GOPROXY"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "txlock"), "--version").Output()
	if err != nil || string(out) != "txlock version "+version+"\n" {
		t.Errorf("%v, it says %q", err, out)
	}
}

// publish lays a module out as a proxy does.
func publish(t *testing.T, proxy string, m module.Version, dir string) {
	t.Helper()
	escaped, err := module.EscapePath(m.Path)
	must(t, err)
	at := filepath.Join(proxy, escaped, "@v")
	must(t, os.MkdirAll(at, 0o700))
	var packed bytes.Buffer
	must(t, zip.CreateFromDir(&packed, m, dir))
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	must(t, err)
	for name, content := range map[string][]byte{
		"list":              []byte(m.Version + "\n"),
		m.Version + ".info": []byte(`{"Version":"` + m.Version + `"}`),
		m.Version + ".mod":  gomod,
		m.Version + ".zip":  packed.Bytes(),
	} {
		must(t, os.WriteFile(filepath.Join(at, name), content, 0o600))
	}
}
