package servertest

import (
	"errors"
	"sync"
	"testing"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// Each runs fn as a subtest for every engine.
func Each(t *testing.T, fn func(t *testing.T, s *Instance)) {
	t.Helper()
	for _, e := range begin(t) {
		t.Run(string(e), func(t *testing.T) { fn(t, use(t, e)) })
	}
}

// SideBySide is [Each] with all subtests at the same time, as their servers are not the
// same. It returns when they have ended. They must share nothing, such as
// environment variables.
func SideBySide(t *testing.T, fn func(t *testing.T, s *Instance)) {
	t.Helper()
	var wg sync.WaitGroup
	for _, e := range begin(t) {
		wg.Go(func() { t.Run(string(e), func(t *testing.T) { fn(t, use(t, e)) }) })
	}
	wg.Wait()
}

// All is an instance of every engine, for fuzz targets: their servers must run before
// the first input comes, which has ten seconds.
func All(tb testing.TB) []*Instance {
	tb.Helper()
	var all []*Instance
	for _, e := range begin(tb) {
		all = append(all, use(tb, e))
	}
	return all
}

// EachB runs fn as a sub-benchmark for every engine.
func EachB(b *testing.B, fn func(b *testing.B, s *Instance)) {
	b.Helper()
	for _, e := range begin(b) {
		var s *Instance
		b.Run(string(e), func(b *testing.B) {
			if s == nil { // it is called with ever more iterations
				s = use(b, e)
				b.ResetTimer()
			}
			fn(b, s)
		})
	}
}

// First is an instance of the first engine there is, for example tests, which
// have no testing.TB. Without any, it counts a skipped test, and the error is
// [testserver.ErrNoProgram].
func First() (*Instance, error) {
	engines, err := tests.engines()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, e := range engines {
		s, err := tests.instance(e)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, testserver.ErrNoProgram) {
			return nil, err
		}
		errs = append(errs, err)
	}
	err = errors.Join(errs...)
	tests.skip(err, engines...)
	return nil, err
}

func begin(tb testing.TB) []testserver.Engine {
	tb.Helper()
	engines, err := tests.engines()
	if err != nil {
		tb.Fatal(err)
	}
	tests.prefetch(engines)
	return engines
}

// use is the engine's instance, or the end of this test.
func use(tb testing.TB, e testserver.Engine) *Instance {
	tb.Helper()
	s, err := tests.instance(e)
	if err != nil {
		giveUp(tb, e, err)
	}
	return s
}

func giveUp(tb testing.TB, e testserver.Engine, err error) {
	tb.Helper()
	if tests.skip(err, e) {
		tb.Skipf("%v\nto run this test, %s", err, howToRun)
	}
	tb.Fatal(err)
}
