//go:build unix

package testserver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeProgram puts a shell script of that name into dir.
func fakeProgram(t *testing.T, dir, name, script string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	saysMySQL   = `echo "/usr/sbin/mysqld  Ver 9.7.4 for Linux on x86_64 (MySQL Community Server - GPL)"`
	saysMariaDB = `echo "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)"`
)

func TestFindOnMachine(t *testing.T) {
	type fake struct{ dir, name, script string }
	for name, tc := range map[string]struct {
		fakes     []fake
		engine    Engine
		want      string // dir/name, or empty for none
		installer string
	}{
		"MySQL": {
			fakes: []fake{{"a", "mysqld", saysMySQL}}, engine: MySQL, want: "a/mysqld",
		},
		"mysqld that is MariaDB is no MySQL": {
			fakes: []fake{{"a", "mysqld", saysMariaDB}, {"a", "mariadb-install-db", ""}}, engine: MySQL,
		},
		"mysqld that is MariaDB is one": {
			fakes:  []fake{{"a", "mysqld", saysMariaDB}, {"a", "mariadb-install-db", ""}},
			engine: MariaDB, want: "a/mysqld", installer: "a/mariadb-install-db",
		},
		"MySQL behind a mysqld that is MariaDB": {
			fakes: []fake{{"a", "mysqld", saysMariaDB}, {"b", "mysqld", saysMySQL}}, engine: MySQL, want: "b/mysqld",
		},
		"in a system directory": {
			fakes:  []fake{{"system", "mariadbd", saysMariaDB}, {"a", "mysql_install_db", ""}},
			engine: MariaDB, want: "system/mariadbd", installer: "a/mysql_install_db",
		},
		"MariaDB without its installer": {
			fakes: []fake{{"a", "mariadbd", saysMariaDB}}, engine: MariaDB,
		},
		"one that does not run": {
			fakes: []fake{{"a", "mysqld", "exit 127"}, {"b", "mysqld", saysMySQL}}, engine: MySQL, want: "b/mysqld",
		},
		"nothing": {engine: MySQL},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := func(name string) string { return filepath.Join(root, name) }
			for _, name := range []string{"a", "b", "system"} {
				if err := os.Mkdir(dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range tc.fakes {
				fakeProgram(t, dir(f.dir), f.name, f.script)
			}
			t.Setenv("PATH", dir("a")+string(os.PathListSeparator)+dir("b"))
			f := finder{dirs: []string{dir("system")}, cache: dir("cache"), logf: t.Logf}
			p, err := f.find(context.Background(), tc.engine)
			if tc.want == "" {
				if !errors.Is(err, ErrNoProgram) {
					t.Fatalf("found %+v, %v; want ErrNoProgram", p, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.path != dir(tc.want) {
				t.Errorf("found %s, want %s", p.path, dir(tc.want))
			}
			if tc.installer != "" && p.installer != dir(tc.installer) {
				t.Errorf("installer %s, want %s", p.installer, dir(tc.installer))
			}
		})
	}
}

func TestUnknownEngine(t *testing.T) {
	t.Setenv(CacheVariable, t.TempDir())
	_, err := Start(context.Background(), "oracle", Options{})
	if err == nil || !strings.Contains(err.Error(), `unknown engine "oracle"`) {
		t.Fatalf("got %v", err)
	}
}

// A server that ends before it is ready, or cannot make its data, gives its
// log, and leaves no directory.
func TestEarlyEndGivesLog(t *testing.T) {
	for name, script := range map[string]string{
		"making the data": `case "$*" in *--version*) ` + saysMySQL + ` ;; *) echo "[ERROR] no space left"; exit 1 ;; esac`,
		"starting":        `case "$*" in *--version*) ` + saysMySQL + ` ;; *--initialize*) ;; *) echo "[ERROR] no space left" >&2; exit 1 ;; esac`,
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			fakeProgram(t, path, "mysqld", script)
			t.Setenv("PATH", path)
			base := shortTemp(t)
			_, err := start(context.Background(), MySQL, Options{}, finder{cache: path, logf: t.Logf})
			if err == nil || !strings.Contains(err.Error(), "[ERROR] no space left") || !strings.Contains(err.Error(), "exit status 1") {
				t.Fatalf("the error does not have the log: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(base, directoryPrefix+"*")); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// shortTemp makes a TMPDIR that is short enough for servers to be put there.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ts-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
	return dir
}

func TestStartGivesUpWithContext(t *testing.T) {
	path := t.TempDir()
	// Blocks in opening a pipe that nobody writes to.
	pipe := filepath.Join(path, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	fakeProgram(t, path, "mysqld", `case "$*" in *--version*) `+saysMySQL+` ;; *--initialize*) ;; *) read -r never <`+pipe+` ;; esac`)
	t.Setenv("PATH", path)
	shortTemp(t)
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err := start(ctx, MySQL, Options{}, finder{cache: path, logf: t.Logf})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestServerArgsComeLast(t *testing.T) {
	for _, e := range Engines() {
		argv := program{engine: e, path: "/x/server"}.serve("/tmp/dir", 4711, []string{"--max-connections=7"})
		if argv[0] != "/x/server" || argv[1] != "--no-defaults" || argv[len(argv)-1] != "--max-connections=7" {
			t.Errorf("%s: %q", e, argv)
		}
		for _, want := range []string{"--bind-address=127.0.0.1", "--port=4711", "--datadir=/tmp/dir/data", "--max-connections=500"} {
			if !strings.Contains(strings.Join(argv, " ")+" ", " "+want+" ") {
				t.Errorf("%s: no %s in %q", e, want, argv)
			}
		}
	}
}
