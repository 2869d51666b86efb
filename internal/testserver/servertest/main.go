// Package servertest gives tests the servers that package testserver starts:
// each engine's once per test binary, when the first test wants it. TestMain
// must call [Main] or [Run].
//
//   - TXLOCK_TEST_DSN names a server to use instead.
//   - TXLOCK_TEST_SERVERS=required makes a test that has no server fail rather
//     than be skipped, and allows servers to be fetched.
package servertest

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// RequiredVariable is the environment variable that, set to "required",
// forbids skipping.
const RequiredVariable = "TXLOCK_TEST_SERVERS"

// Main is for TestMain: it is [Run], and exits.
func Main(m interface{ Run() int }, checks ...func() error) {
	os.Exit(Run(m, checks...))
}

// Run runs the tests, stops the servers, also when interrupted, and says what was
// skipped. The checks run after the servers have stopped, and fail the run with
// their error. It returns the exit code.
func Run(m interface{ Run() int }, checks ...func() error) int {
	tests.open()
	return tests.run(m, checks)
}

func (s *suite) run(m interface{ Run() int }, checks []func() error) int {
	interrupted := s.stopOnSignal()
	code := m.Run()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	fail(s.close())
	interrupted()
	for _, check := range checks {
		fail(check())
	}
	forbidCaching()
	if notice := s.notice(); notice != "" {
		Announce(notice)
	}
	return code
}

// stopOnSignal stops the servers when we are told to end. The function it
// returns ends that.
func (s *suite) stopOnSignal() (done func()) {
	signals, finished := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case sig := <-signals:
			fmt.Fprintf(os.Stderr, "servertest: %s: stopping the servers\n", sig)
			if err := s.close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			code := 1
			if number, ok := sig.(syscall.Signal); ok {
				code = 128 + int(number)
			}
			os.Exit(code)
		case <-finished:
		}
	})
	return func() {
		signal.Stop(signals)
		close(finished)
		wg.Wait()
	}
}
