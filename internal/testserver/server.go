package testserver

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Options say how to start a server. The zero value downloads nothing and
// starts one with the engine's defaults.
type Options struct {
	// Install allows a server program to be fetched where the machine has
	// none: by Docker, or as a private copy of Debian's packages.
	Install bool
	// Logf is told what is done. May be nil.
	Logf func(string, ...any)
	// ServerArgs are appended to the server's command line, as [FastArgs].
	ServerArgs []string
	// Env are variables of the server's environment beyond our own, as
	// TZ=Europe/Berlin. In a container they are the container's.
	Env []string
}

const (
	startPatience = 3 * time.Minute
	stopPatience  = time.Minute
)

// Server is a database server: one that [Start] started, or one that only has
// been named to us.
type Server struct {
	Engine  Engine
	Version string // as VERSION() says

	config *mysql.Config
	own    *ownServer // nil for a server that is not ours
}

// ownServer is a server that we started.
type ownServer struct {
	program program
	dir     *Directory
	port    int
	args    []string
	env     []string
	logf    func(string, ...any)

	mu         sync.Mutex
	process    *Process
	launches   int
	containers []string // one a launch, the last is the current
	stopped    bool
}

// Start starts a private server, and returns when it answers. When ctx ends,
// so does the start, but not a server that has started. Where there is no
// program to start, the error is [ErrNoProgram].
func Start(ctx context.Context, e Engine, o Options) (*Server, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	f := finder{dirs: systemDirs(), cache: cache, install: o.Install, logf: orSilent(o.Logf)}
	return start(ctx, e, o, f)
}

// StartAny gives the server that TXLOCK_TEST_DSN names, else starts one of the
// engine that this machine has a program for, else of the first that can be
// fetched.
func StartAny(ctx context.Context, o Options) (*Server, error) {
	if dsn := os.Getenv(DSNVariable); dsn != "" {
		return Named(ctx, dsn)
	}
	without := o
	without.Install = false
	var errs []error
	for _, options := range []Options{without, o} {
		errs = nil
		for _, e := range Engines() {
			s, err := Start(ctx, e, options)
			if err == nil || ctx.Err() != nil {
				return s, err
			}
			errs = append(errs, err)
		}
		if !o.Install {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// Named is the server that a DSN names. Nothing is ever done to that server
// itself.
func Named(ctx context.Context, dsn string) (*Server, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("testserver: %s: %w: it should look like user:password@tcp(host:3306)/", DSNVariable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	version, _, err := ask(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("testserver: %s: the server at %s does not answer: %w: start it, or unset the variable", DSNVariable, config.Addr, err)
	}
	return &Server{Engine: engineOf(version), Version: version, config: config}, nil
}

func start(ctx context.Context, e Engine, o Options, f finder) (*Server, error) {
	p, err := f.find(ctx, e)
	if err != nil {
		return nil, err
	}
	logf := orSilent(o.Logf)
	if p.docker != nil {
		if err := p.docker.pull(ctx); err != nil {
			return nil, fmt.Errorf("testserver: %s: %w", e, err)
		}
	}
	dir, err := NewDirectory(ctx, string(e))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir.Path, "init.sql"), []byte(rootOverTCP), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("testserver: %s: %w", e, err), dir.Remove())
	}
	s := &Server{Engine: e, own: &ownServer{program: p, dir: dir, args: o.ServerArgs, env: o.Env, logf: logf}}
	began := time.Now()
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	logf("testserver: %s: started %s on 127.0.0.1:%d in %s", e, p.how, s.own.port, time.Since(began).Round(10*time.Millisecond))
	return s, nil
}

// begin makes the data directory and launches the server on a port.
func (s *Server) begin(ctx context.Context) error {
	o := s.own
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("not ready within %s", startPatience))
	defer cancel()
	if o.program.docker == nil {
		argv, stdin, err := o.program.initialize(o.dir.Path, o.args)
		if err != nil {
			return err
		}
		if err := o.withLog(argv, strings.NewReader(stdin), func(cmd *exec.Cmd) error { return runProcess(ctx, cmd) }); err != nil {
			return s.failed("could not make its data directory", err)
		}
	} else if err := markVolume(o.dir.Path); err != nil {
		return s.failed("could not start", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for attempt := 1; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return err
		}
		o.port = port
		s.config = ownConfig(port)
		err = s.launch(ctx, nil)
		// The port was free, but nothing held it for us.
		if err != nil && attempt < 5 && ctx.Err() == nil && portTaken(o.logTail(25)) {
			continue
		}
		return err
	}
}

func portTaken(log string) bool {
	log = strings.ToLower(log)
	return strings.Contains(log, "address already in use") || strings.Contains(log, "port is already allocated")
}

// launch runs the server and waits until it answers. The caller holds mu.
func (s *Server) launch(ctx context.Context, extra []string) error {
	o := s.own
	o.launches++
	extra = append(append([]string{}, o.args...), extra...)
	var argv []string
	orphaned := syscall.SIGKILL
	if d := o.program.docker; d != nil {
		volume := filepath.Base(o.dir.Path)
		container := fmt.Sprintf("%s-%d", volume, o.launches)
		o.containers = append(o.containers, container)
		argv = d.serve(container, volume, o.port, o.env, extra)
		orphaned = syscall.SIGTERM // which the client forwards
	} else {
		// A killed server leaves these, and the pid in them may be in use again.
		for _, name := range []string{"server.sock", "server.sock.lock", "server.pid"} {
			_ = os.Remove(filepath.Join(o.dir.Path, name))
		}
		argv = o.program.serve(o.dir.Path, o.port, extra)
	}
	err := o.withLog(argv, nil, func(cmd *exec.Cmd) (err error) {
		if o.program.docker == nil {
			cmd.Env = append(cmd.Env, o.env...)
		}
		o.process, err = StartProcess(cmd, orphaned)
		return err
	})
	if err != nil {
		return s.failed("could not start", err)
	}
	if err := s.waitReady(ctx); err != nil {
		if killErr := o.kill(context.WithoutCancel(ctx)); killErr != nil {
			err = errors.Join(err, killErr)
		}
		return s.failed("did not get ready", err)
	}
	return nil
}

// waitReady returns when the server answers, or as soon as it never will.
func (s *Server) waitReady(ctx context.Context) error {
	o := s.own
	var last error
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		version, datadir, err := ask(try, s.config)
		cancel()
		if err == nil && o.program.docker == nil && filepath.Clean(datadir) != filepath.Join(o.dir.Path, "data") {
			err = fmt.Errorf("another server, on %s, answers at %s", datadir, s.config.Addr)
		}
		if err == nil {
			s.Version = version
			return nil
		}
		last = err
		select {
		case <-o.process.done:
			return errors.Join(errors.New("it ended"), o.process.err)
		case <-ctx.Done():
			return fmt.Errorf("%w; the last answer was: %w", context.Cause(ctx), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ask asks a server who it is.
func ask(ctx context.Context, config *mysql.Config) (version, datadir string, err error) {
	config = config.Clone()
	config.DBName = ""
	config.Logger = &mysql.NopLogger{} // it is no news that a starting server refuses
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return "", "", err
	}
	db := sql.OpenDB(connector)
	err = db.QueryRowContext(ctx, "SELECT VERSION(), @@datadir").Scan(&version, &datadir)
	return version, datadir, errors.Join(err, db.Close())
}

// failed says what happened to this server, with the end of its log.
func (s *Server) failed(what string, err error) error {
	text := fmt.Sprintf("testserver: %s: %s %s", s.Engine, s.own.program.how, what)
	if tail := s.own.logTail(25); tail != "" {
		return fmt.Errorf("%s: %w; its log ends:\n%s", text, err, tail)
	}
	return fmt.Errorf("%s: %w (its log is empty)", text, err)
}

func (o *ownServer) logFile() string { return filepath.Join(o.dir.Path, "server.log") }

func (o *ownServer) logTail(lines int) string {
	text, err := os.ReadFile(o.logFile())
	if err != nil {
		return err.Error()
	}
	return lastLines(text, lines)
}

// withLog runs a command that writes to the server's log.
func (o *ownServer) withLog(argv []string, stdin io.Reader, run func(*exec.Cmd) error) error {
	log, err := os.OpenFile(o.logFile(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = o.dir.Path
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, log, log
	cmd.Env = os.Environ()
	if o.program.private != nil {
		cmd.Env = append(cmd.Env, privateEnv)
	}
	return errors.Join(run(cmd), log.Close())
}

func ownConfig(port int) *mysql.Config {
	config := mysql.NewConfig()
	config.User = "root"
	config.Net = "tcp"
	config.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	return config
}

// Config is how to connect to the server, without a database for one of ours.
// The caller may change it.
func (s *Server) Config() *mysql.Config { return s.config.Clone() }

// DSN names a database on the server, as user@tcp(host:port)/database.
func (s *Server) DSN(database string) string {
	config := s.Config()
	config.DBName = database
	return config.FormatDSN()
}

// Ours reports whether we started the server.
func (s *Server) Ours() bool { return s.own != nil }

// Pid is the server's process, or 0 where that is not ours to signal: a named
// server, one in a container, one that does not run.
func (s *Server) Pid() int {
	if s.own == nil || s.own.program.docker != nil {
		return 0
	}
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	if p := s.own.process; p != nil && !p.Ended() {
		return p.pid
	}
	return 0
}

var errNotOurs = errors.New("testserver: " + DSNVariable + " names this server: it is not ours to kill or restart")

// Kill ends the server with SIGKILL, and returns when it has ended.
func (s *Server) Kill() error {
	if s.own == nil {
		return errNotOurs
	}
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	return s.own.kill(ctx)
}

// kill is Kill for who holds mu.
func (o *ownServer) kill(ctx context.Context) error {
	if o.process == nil || o.process.Ended() {
		return nil
	}
	if d := o.program.docker; d != nil {
		if err := d.kill(ctx, o.containers[len(o.containers)-1]); err != nil && !o.process.Ended() {
			o.process.Kill()
			return fmt.Errorf("testserver: %s: %w", d.engine, err)
		}
		select {
		case <-o.process.done:
			return nil
		case <-ctx.Done():
		}
	}
	o.process.Kill()
	return nil
}

// Restart starts the server again on the same data and port, after Kill or
// after it has shut down for this.
func (s *Server) Restart(ctx context.Context) error {
	o := s.own
	if o == nil {
		return errNotOurs
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped {
		return fmt.Errorf("testserver: %s: the server is stopped and its data removed: start another", s.Engine)
	}
	if o.process != nil {
		if err := o.process.Stop(stopPatience); err != nil {
			return s.failed("did not stop", err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("not ready within %s", startPatience))
	defer cancel()
	// Somebody may have the port for a moment, but a new one would not do.
	return s.launch(ctx, []string{"--loose-port-open-timeout=10"})
}

// Stop stops the server and removes its data. A second time, and for a server
// that is not ours, it does nothing.
func (s *Server) Stop() error {
	o := s.own
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped {
		return nil
	}
	o.stopped = true
	var errs []error
	if o.process != nil {
		if err := o.process.Stop(stopPatience); err != nil {
			errs = append(errs, s.failed("did not stop", err))
		}
	}
	if o.program.docker != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		for _, container := range o.containers {
			errs = append(errs, removeContainer(ctx, container))
		}
		errs = append(errs, removeVolume(ctx, filepath.Base(o.dir.Path)))
	}
	errs = append(errs, o.dir.Remove())
	return errors.Join(errs...)
}

// Log is what the server has written to its log.
func (s *Server) Log() ([]byte, error) {
	if s.own == nil {
		return nil, nil
	}
	text, err := os.ReadFile(s.own.logFile())
	if err != nil {
		return nil, fmt.Errorf("testserver: %s: its log: %w", s.Engine, err)
	}
	return bytes.TrimSpace(text), nil
}

func orSilent(logf func(string, ...any)) func(string, ...any) {
	if logf == nil {
		return func(string, ...any) {}
	}
	return logf
}
