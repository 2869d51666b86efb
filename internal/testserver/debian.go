package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// CacheVariable is the environment variable that names the directory of the
// private installs; without it, it is in the user's cache directory.
const CacheVariable = "TXLOCK_SERVER_CACHE"

// debianRelease is where Debian carries an engine.
type debianRelease struct {
	suite, pkg, server string
}

func debianReleases() map[Engine]debianRelease {
	return map[Engine]debianRelease{
		MySQL:   {suite: "sid", pkg: "mysql-server-core", server: "mysqld"}, // no release of Debian has MySQL
		MariaDB: {suite: "bookworm", pkg: "mariadb-server-core", server: "mariadbd"},
	}
}

func cacheDir() (string, error) {
	if dir := os.Getenv(CacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("testserver: no cache directory: %w: name one in %s", err, CacheVariable)
	}
	return filepath.Join(dir, "gox-helix", "servers"), nil
}

// privateRoot is a directory that Debian's packages were unpacked into.
type privateRoot struct {
	dir    string
	triple string // as in usr/lib/x86_64-linux-gnu
	loader string
}

func newPrivateRoot(dir string) (*privateRoot, error) {
	switch runtime.GOARCH {
	case "amd64":
		return &privateRoot{dir: dir, triple: "x86_64-linux-gnu", loader: "ld-linux-x86-64.so.2"}, nil
	case "arm64":
		return &privateRoot{dir: dir, triple: "aarch64-linux-gnu", loader: "ld-linux-aarch64.so.1"}, nil
	}
	return nil, fmt.Errorf("testserver: a private install is for amd64 and arm64, not for %s: install a server, or name one in %s", runtime.GOARCH, DSNVariable)
}

// privateEnv keeps a private server from the machine's OpenSSL configuration,
// which is for another OpenSSL.
const privateEnv = "OPENSSL_CONF=/dev/null"

// argv runs usr/<name> with the root's own loader and libraries, so that the
// machine's libc neither matters nor changes. Unlike LD_LIBRARY_PATH,
// --library-path is not inherited by what the program may start.
func (r *privateRoot) argv(name string) []string {
	program := filepath.Join(r.dir, "usr", name)
	libs := []string{filepath.Join(r.dir, "usr/lib", r.triple), filepath.Join(r.dir, "lib", r.triple)}
	loader := filepath.Join(libs[0], r.loader)
	if _, err := os.Stat(loader); err != nil {
		loader = filepath.Join(libs[1], r.loader) // before trixie libc is under /lib
	}
	return []string{loader, "--argv0", program, "--library-path", strings.Join(libs, ":"), program}
}

// args name what the server would look for under the machine's /usr.
func (r *privateRoot) args() []string {
	share := filepath.Join(r.dir, "usr/share/mysql") // of both, in their suites
	return []string{
		"--basedir=" + filepath.Join(r.dir, "usr"),
		"--plugin-dir=" + filepath.Join(r.dir, "usr/lib/mysql/plugin"),
		"--lc-messages-dir=" + share,
		"--character-sets-dir=" + filepath.Join(share, "charsets"),
	}
}

// mariadbSystemTables is what mariadb-install-db feeds to --bootstrap, but for
// the texts of HELP.
func (r *privateRoot) mariadbSystemTables() (string, error) {
	var sql strings.Builder
	// The bootstrap parser wants a statement a line.
	sql.WriteString("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n")
	for _, name := range []string{"mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data", "maria_add_gis_sp_bootstrap", "mysql_sys_schema"} {
		text, err := os.ReadFile(filepath.Join(r.dir, "usr/share/mysql", name+".sql"))
		if err != nil {
			return "", fmt.Errorf("testserver: mariadb: incomplete install: %w: remove %s and try again", err, r.dir)
		}
		sql.Write(text)
		sql.WriteByte('\n')
	}
	return sql.String(), nil
}

// debian installs an engine from Debian's packages without touching the
// system, so it needs no root.
type debian struct {
	engine  Engine
	release debianRelease
	cache   string
	logf    func(string, ...any)
}

func (d debian) dir() string {
	return filepath.Join(d.cache, string(d.engine)+"-"+d.release.suite)
}

// installed is the program of an earlier install. The directory only gets its
// name when complete.
func (d debian) installed(ctx context.Context) (program, bool) {
	if _, err := os.Stat(d.dir()); err != nil {
		return program{}, false
	}
	p, err := d.program(ctx, d.dir())
	if err != nil {
		d.logf("testserver: %s: %s passed over: %v", d.engine, d.dir(), err)
		return program{}, false
	}
	return p, true
}

func (d debian) program(ctx context.Context, dir string) (program, error) {
	root, err := newPrivateRoot(dir)
	if err != nil {
		return program{}, err
	}
	version, err := programVersion(ctx, root.argv("sbin/"+d.release.server)...)
	if err != nil {
		return program{}, err
	}
	return program{
		engine:  d.engine,
		path:    filepath.Join(dir, "usr/sbin", d.release.server),
		how:     dir + " (" + version + ")",
		private: root,
	}, nil
}

func (d debian) install(ctx context.Context) (program, error) {
	if _, err := newPrivateRoot(""); err != nil {
		return program{}, err
	}
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return program{}, fmt.Errorf("testserver: %s: no %s to fetch Debian's packages with: install a %s server, or name one in %s", d.engine, tool, d.engine, DSNVariable)
		}
	}
	keyring, err := debianKeyring()
	if err != nil {
		return program{}, err
	}
	if err := os.MkdirAll(d.cache, 0o755); err != nil {
		return program{}, fmt.Errorf("testserver: %s: no directory to install into: %w: name another in %s", d.engine, err, CacheVariable)
	}
	unlock, err := lockFile(ctx, d.dir()+".lock", func() {
		d.logf("testserver: %s: waiting for another program that installs into %s", d.engine, d.dir())
	})
	if err != nil {
		return program{}, fmt.Errorf("testserver: %s: lock on %s: %w", d.engine, d.dir(), err)
	}
	defer unlock()
	if p, ok := d.installed(ctx); ok {
		return p, nil // by whom we waited for
	}
	began := time.Now()
	// Under the lock, what has such a name is left from a killed install.
	leftovers, _ := filepath.Glob(d.dir() + ".tmp-*")
	for _, dir := range append(leftovers, d.dir()) {
		if err := os.RemoveAll(dir); err != nil {
			return program{}, fmt.Errorf("testserver: %s: leftovers of an earlier install: %w", d.engine, err)
		}
	}
	work, err := os.MkdirTemp(d.cache, filepath.Base(d.dir())+".tmp-")
	if err != nil {
		return program{}, fmt.Errorf("testserver: %s: no directory to install into: %w", d.engine, err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // the next install tries again
	root := filepath.Join(work, "root")
	if err := d.download(ctx, work, keyring); err != nil {
		return program{}, err
	}
	if err := d.unpack(ctx, work, root); err != nil {
		return program{}, err
	}
	if _, err := d.program(ctx, root); err != nil {
		return program{}, fmt.Errorf("testserver: %s: the server downloaded from Debian %s does not run here: %w", d.engine, d.release.suite, err)
	}
	if err := os.Rename(root, d.dir()); err != nil {
		return program{}, fmt.Errorf("testserver: %s: could not finish the install: %w", d.engine, err)
	}
	p, err := d.program(ctx, d.dir())
	if err == nil {
		d.logf("testserver: %s: installed in %s: %s", d.engine, time.Since(began).Round(time.Second), p.how)
	}
	return p, err
}

// debianKeyring holds the keys that the packages' index must be signed with.
func debianKeyring() (string, error) {
	for _, ext := range []string{".gpg", ".pgp"} {
		file := "/usr/share/keyrings/debian-archive-keyring" + ext
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", errors.New("testserver: no Debian keyring to check packages with: install the package debian-archive-keyring, or a server")
}

// download fetches the package and all that it depends on, down to libc, as
// the private apt believes that nothing is installed.
func (d debian) download(ctx context.Context, work, keyring string) error {
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return fmt.Errorf("testserver: %s: %w", d.engine, err)
		}
	}
	mirror := debianMirror("/etc/apt")
	if mirror == "" {
		return fmt.Errorf("testserver: %s: no Debian mirror in /etc/apt to fetch from: install a %s server, or name one in %s", d.engine, d.engine, DSNVariable)
	}
	files := map[string]string{
		"state/status": "",
		"sources.list": fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, mirror, d.release.suite),
		"apt.conf":     d.aptConf(work),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("testserver: %s: %w", d.engine, err)
		}
	}
	d.logf("testserver: %s: downloading %s of Debian %s", d.engine, d.release.pkg, d.release.suite)
	conf := "--config-file=" + filepath.Join(work, "apt.conf")
	for _, args := range [][]string{
		{"apt-get", conf, "update"},
		{"apt-get", conf, "--yes", "--download-only", "install", d.release.pkg},
	} {
		if err := d.run(ctx, args...); err != nil {
			return fmt.Errorf("%w\nis %s reachable? else install a %s server, or name one in %s", err, mirror, d.engine, DSNVariable)
		}
	}
	return nil
}

// aptConf is read after the machine's own configuration, so that a proxy set
// there holds and its hooks do not.
func (d debian) aptConf(work string) string {
	lines := []string{
		"#clear APT::Update::Pre-Invoke", "#clear APT::Update::Post-Invoke", "#clear APT::Update::Post-Invoke-Success",
		"#clear DPkg::Pre-Invoke", "#clear DPkg::Post-Invoke", "#clear DPkg::Pre-Install-Pkgs",
	}
	for _, o := range [][2]string{
		{"Dir::State", filepath.Join(work, "state")},
		{"Dir::State::status", filepath.Join(work, "state/status")},
		{"Dir::Cache", filepath.Join(work, "cache")},
		{"Dir::Cache::archives", "archives"},
		{"Dir::Cache::pkgcache", ""},
		{"Dir::Cache::srcpkgcache", ""},
		{"Dir::Etc::sourcelist", filepath.Join(work, "sources.list")},
		{"Dir::Etc::sourceparts", "/dev/null"},
		{"Dir::Etc::preferences", "/dev/null"},
		{"Dir::Etc::preferencesparts", "/dev/null"},
		{"Dir::Log", filepath.Join(work, "state")},
		{"APT::Architecture", runtime.GOARCH}, // Go's names for the two are Debian's
		{"APT::Sandbox::User", ""},            // _apt may not read our directories
		{"APT::Install-Recommends", "false"},
		{"APT::Get::AllowUnauthenticated", "false"},
		{"Acquire::AllowInsecureRepositories", "false"},
		{"Acquire::Languages", "none"},
		{"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false"},
		{"Acquire::IndexTargets::deb::CNF::DefaultEnabled", "false"},
		{"Acquire::Retries", "3"},
	} {
		lines = append(lines, fmt.Sprintf("%s %q", o[0], o[1]))
	}
	lines = append(lines, "#clear APT::Architectures", fmt.Sprintf("APT::Architectures:: %q", runtime.GOARCH))
	return strings.Join(lines, ";\n") + ";\n"
}

func (d debian) unpack(ctx context.Context, work, root string) error {
	packages, err := filepath.Glob(filepath.Join(work, "cache/archives/*.deb"))
	if err != nil {
		return fmt.Errorf("testserver: %s: %w", d.engine, err)
	}
	if len(packages) == 0 {
		return fmt.Errorf("testserver: %s: apt-get downloaded no package into %s: remove it and try again", d.engine, work)
	}
	for _, file := range packages {
		if name := filepath.Base(file); strings.HasPrefix(name, "perl") || strings.HasPrefix(name, "libperl") {
			continue // for scripts that we do not run
		}
		if err := d.run(ctx, "dpkg-deb", "--extract", file, root); err != nil {
			return err
		}
	}
	return nil
}

func (d debian) run(ctx context.Context, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("testserver: %s: %s: %w\n%s", d.engine, strings.Join(argv, " "), err, lastLines(out, 25))
	}
	return nil
}
