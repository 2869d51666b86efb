package servertest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// tests is what a test binary has of servers. It is the package's only state,
// because tests have nothing but TestMain to share one by.
var tests suite

type suite struct {
	mu      sync.Mutex
	ctx     context.Context // nil until open, ends when closing begins
	cancel  context.CancelFunc
	dsn     string
	entries map[testserver.Engine]*entry
	fresh   []*testserver.Server

	closing  sync.Once
	closeErr error

	skips   int
	missing []testserver.Engine
}

// entry is one engine's server, started once.
type entry struct {
	once     sync.Once
	instance *Instance
	err      error
}

// namedEngine is the entry of the server that TXLOCK_TEST_DSN names.
const namedEngine = testserver.Engine("")

func (s *suite) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.dsn = os.Getenv(testserver.DSNVariable)
	s.entries = make(map[testserver.Engine]*entry)
}

// close stops the servers, and returns when they have stopped, whoever called
// it first. A start that is under way is given up.
func (s *suite) close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.cancel()
		entries, fresh := s.entries, s.fresh
		s.mu.Unlock()
		var stops []func() error
		for _, e := range entries {
			stops = append(stops, e.close)
		}
		for _, server := range fresh {
			stops = append(stops, server.Stop)
		}
		errs := make([]error, len(stops))
		var wg sync.WaitGroup
		for i, stop := range stops {
			wg.Go(func() { errs[i] = stop() })
		}
		wg.Wait()
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

func (e *entry) close() error {
	// Waits for a start, and keeps one from beginning.
	e.once.Do(func() { e.err = errEnding })
	if e.instance == nil {
		return nil
	}
	return e.instance.close()
}

var errEnding = errors.New("servertest: the test binary is ending")

// context ends when the test binary is told to end.
func (s *suite) context() (context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		return nil, errors.New("servertest: TestMain must call servertest.Main, which stops the servers")
	}
	if s.ctx.Err() != nil {
		return nil, errEnding
	}
	return s.ctx, nil
}

// start starts one more server, to be stopped at the latest by close.
func (s *suite) start(e testserver.Engine, o testserver.Options) (*testserver.Server, error) {
	ctx, err := s.context()
	if err != nil {
		return nil, err
	}
	server, err := testserver.Start(ctx, e, o)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil { // close has not seen it
		return nil, errors.Join(errEnding, server.Stop())
	}
	s.fresh = append(s.fresh, server)
	return server, nil
}

func required() bool { return os.Getenv(RequiredVariable) == "required" }

// engines are those to test: the named server's alone, or all.
func (s *suite) engines() ([]testserver.Engine, error) {
	if _, err := s.context(); err != nil {
		return nil, err
	}
	if !s.named() {
		return testserver.Engines(), nil
	}
	instance, err := s.instance(namedEngine)
	if err != nil {
		return nil, err
	}
	return []testserver.Engine{instance.Engine}, nil
}

// prefetch starts the engines side by side, unless the run was told to pick
// among subtests, which then may be of one engine.
func (s *suite) prefetch(engines []testserver.Engine) {
	if run := flag.Lookup("test.run"); s.named() || run != nil && strings.Contains(run.Value.String(), "/") {
		return
	}
	for _, e := range engines {
		go s.instance(e) //nolint:errcheck // the test of that engine gets the error
	}
}

func (s *suite) named() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dsn != ""
}

// instance starts an engine's server, or waits for who does.
func (s *suite) instance(e testserver.Engine) (*Instance, error) {
	ctx, err := s.context()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	dsn := s.dsn
	if dsn != "" {
		e = namedEngine
	}
	if s.entries[e] == nil {
		s.entries[e] = &entry{}
	}
	one := s.entries[e]
	s.mu.Unlock()
	one.once.Do(func() {
		var server *testserver.Server
		if dsn != "" {
			server, one.err = testserver.Named(ctx, dsn)
		} else {
			server, one.err = testserver.Start(ctx, e, options())
		}
		if one.err == nil {
			one.instance = &Instance{Server: server, suite: s}
		}
	})
	return one.instance, one.err
}

// options are those of every server for tests.
func options() testserver.Options {
	return testserver.Options{
		Install:    required(),
		ServerArgs: testserver.FastArgs(),
		Logf: func(format string, args ...any) {
			if required() || flag.Parsed() && testing.Verbose() {
				fmt.Fprintf(os.Stderr, format+"\n", args...)
			}
		},
	}
}

// skip notes one test as skipped for want of these engines, if that is what
// err is to lead to.
func (s *suite) skip(err error, missing ...testserver.Engine) bool {
	if required() || !errors.Is(err, testserver.ErrNoProgram) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skips++
	for _, e := range missing {
		if !slices.Contains(s.missing, e) {
			s.missing = append(s.missing, e)
		}
	}
	return true
}

const howToRun = "run `make test` (fetches what it needs) or set " + testserver.DSNVariable

// notice is one line about what was skipped, or nothing.
func (s *suite) notice() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.skips == 0 {
		return ""
	}
	var names []string
	for _, e := range testserver.Engines() {
		if slices.Contains(s.missing, e) {
			names = append(names, string(e))
		}
	}
	plural := "s"
	if s.skips == 1 {
		plural = ""
	}
	return fmt.Sprintf("%s: skipped %d integration test%s on %s: no server program found; %s", filepath.Base(os.Args[0]), s.skips, plural, strings.Join(names, ", "), howToRun)
}
