//go:build download && unix

package testserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver"
)

// A private install from nothing, by two at once, and what a cached install
// then costs. It downloads some 100 MB, so it is only built on demand:
//
//	go test -tags download -run DebianInstall -v ./internal/testserver
func TestDebianInstall(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin") // apt-get, but no server
	for _, e := range testserver.Engines() {
		t.Run(string(e), func(t *testing.T) {
			cache := t.TempDir()
			o := testserver.Options{Logf: t.Logf, ServerArgs: testserver.FastArgs()}
			startStop := func() error {
				s, err := testserver.StartFromDebian(t.Context(), e, cache, o)
				if err != nil {
					return err
				}
				if s.Engine != e {
					t.Errorf("got %s %s", s.Engine, s.Version)
				}
				return s.Stop()
			}
			var wg sync.WaitGroup
			var errs [2]error
			for i := range errs {
				wg.Go(func() { errs[i] = startStop() })
			}
			wg.Wait()
			if err := errors.Join(errs[:]...); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			s, err := testserver.StartFromDebian(t.Context(), e, cache, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("a cached start: %s of %s", time.Since(began), s.Version)
			checkRestartKeepsData(t, s)
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(cache)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				if name := entry.Name(); entry.IsDir() == (filepath.Ext(name) == ".lock") {
					t.Errorf("unexpected %s", name)
				}
			}
			if len(entries) != 2 {
				t.Errorf("%d entries in the cache, want the install and its lock", len(entries))
			}
		})
	}
}
