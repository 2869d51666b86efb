package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrNoProgram is what [Start] returns when there is no server program and
// none may be fetched.
var ErrNoProgram = errors.New("no server program found")

// program is one way to run an engine's server.
type program struct {
	engine Engine
	how    string // for people
	path   string // the server program
	// installer is mariadb-install-db, beside a MariaDB of the machine's own.
	installer string
	// private is the root of a private Debian install.
	private *privateRoot
	docker  *docker
}

// finder looks for an engine's program.
type finder struct {
	dirs    []string // searched after PATH
	cache   string   // where private installs live
	install bool     // whether Docker and Debian may be used
	logf    func(string, ...any)
}

// systemDirs is where server programs are that PATH need not name.
func systemDirs() []string {
	return []string{"/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/mysql/bin", "/usr/bin"}
}

func (f finder) find(ctx context.Context, e Engine) (program, error) {
	if p, ok := f.onMachine(ctx, e); ok {
		return p, nil
	}
	release, known := debianReleases()[e]
	if !known {
		return program{}, fmt.Errorf("testserver: unknown engine %q: use %q or %q", e, MySQL, MariaDB)
	}
	deb := debian{engine: e, release: release, cache: f.cache, logf: f.logf}
	if p, ok := deb.installed(ctx); ok {
		return p, nil
	}
	if !f.install {
		return program{}, fmt.Errorf("testserver: %s: %w on PATH, in %s or in %s: install one, name a server in %s, or allow fetching one",
			e, ErrNoProgram, strings.Join(f.dirs, ", "), deb.dir(), DSNVariable)
	}
	d, dockerErr := findDocker(ctx, e, f.logf)
	if dockerErr == nil {
		return program{engine: e, how: "Docker image " + d.image, docker: d}, nil
	}
	f.logf("testserver: %s: no server program, and Docker cannot be used (%v): so Debian's packages", e, dockerErr)
	p, err := deb.install(ctx)
	if err != nil {
		return program{}, fmt.Errorf("%w (before that, Docker could not be used: %w)", err, dockerErr)
	}
	return p, nil
}

// onMachine finds a program that is installed on this machine.
func (f finder) onMachine(ctx context.Context, e Engine) (program, bool) {
	names := []string{"mysqld"}
	if e == MariaDB {
		names = []string{"mariadbd", "mysqld"}
	}
	for _, name := range names {
		for _, path := range f.executables(name) {
			version, err := programVersion(ctx, path)
			if err != nil {
				f.logf("testserver: %s: %s passed over: %v", e, path, err)
				continue
			}
			if engineOf(version) != e {
				continue
			}
			p := program{engine: e, path: path, how: path + " (" + version + ")"}
			if e == MariaDB {
				installers := append(f.executables("mariadb-install-db"), f.executables("mysql_install_db")...)
				if len(installers) == 0 {
					f.logf("testserver: %s: %s passed over: no mariadb-install-db beside it", e, path)
					continue
				}
				p.installer = installers[0]
			}
			return p, true
		}
	}
	return program{}, false
}

// executables are all programs of that name, not only the first: the first
// mysqld may be the other engine's.
func (f finder) executables(name string) []string {
	var found []string
	seen := make(map[string]bool)
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), f.dirs...) {
		path := filepath.Join(dir, name)
		if !filepath.IsAbs(path) || seen[path] {
			continue
		}
		seen[path] = true
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			found = append(found, path)
		}
	}
	return found
}

func programVersion(ctx context.Context, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], "--no-defaults", "--version")...)
	cmd.Env = append(os.Environ(), privateEnv)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w: %s", argv[0], err, lastLines(out, 3))
	}
	text := strings.TrimSpace(string(out))
	if i := strings.Index(text, "Ver "); i >= 0 {
		text = text[i+len("Ver "):]
	}
	text, _, _ = strings.Cut(text, "\n")
	text, _, _ = strings.Cut(text, " for ")
	return text, nil
}

// argv runs the server with args.
func (p program) argv(args ...string) []string {
	if p.private != nil {
		return append(p.private.argv("sbin/"+filepath.Base(p.path)), args...)
	}
	return append([]string{p.path}, args...)
}

// dirArgs are the arguments that keep a server to its directory.
func (p program) dirArgs(dir string) []string {
	args := []string{"--no-defaults"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	if p.private != nil {
		args = append(args, p.private.args()...)
	}
	if p.engine == MySQL {
		// Its compiled-in directory need not exist or be readable.
		args = append(args, "--secure-file-priv=NULL")
	}
	return append(args, "--datadir="+filepath.Join(dir, "data"), "--tmpdir="+filepath.Join(dir, "tmp"))
}

// initialize is the command that fills dir/data, and what it reads.
func (p program) initialize(dir string, extra []string) (argv []string, stdin string, err error) {
	switch {
	case p.engine == MySQL:
		return append(p.argv(append(p.dirArgs(dir), "--initialize-insecure")...), extra...), "", nil
	case p.installer != "":
		argv = append([]string{p.installer}, p.dirArgs(dir)...)
		argv = append(argv, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
		return append(argv, extra...), "", nil
	default:
		// mariadb-install-db would run its programs with the machine's loader.
		sql, err := p.private.mariadbSystemTables()
		if err != nil {
			return nil, "", err
		}
		argv = p.argv(append(p.dirArgs(dir), "--bootstrap", "--log-warnings=0",
			"--enforce-storage-engine=", "--max-allowed-packet=8M", "--net-buffer-length=16K")...)
		return append(argv, extra...), sql, nil
	}
}

// rootOverTCP lets root in from 127.0.0.1, which without name resolution is
// not localhost.
const rootOverTCP = `DROP USER IF EXISTS ''@'localhost';
CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY '';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
`

// serve is the command that runs the server on dir.
func (p program) serve(dir string, port int, extra []string) []string {
	args := append(p.dirArgs(dir),
		"--socket="+filepath.Join(dir, "server.sock"),
		"--pid-file="+filepath.Join(dir, "server.pid"),
		"--init-file="+filepath.Join(dir, "init.sql"),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--port=%d", port))
	args = append(args, p.engine.baseArgs()...)
	return p.argv(append(args, extra...)...)
}
