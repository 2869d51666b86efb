package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Directory is a private directory of a server, or of several. Its lock file is held for as
// long as the directory is in use, and the kernel lets go of it when we die,
// however: so the next start can tell, and remove, what was left behind.
type Directory struct {
	Path string
	lock *os.File // nil once it is removed
}

const directoryPrefix = "gox-helix-"

// directoryBase is where the directories are. A Unix socket's path is limited
// to some 100 bytes, so not under a long TMPDIR.
func directoryBase() string {
	if base := os.TempDir(); len(base) <= 50 {
		return base
	}
	return "/tmp"
}

// NewDirectory makes a directory, with data and tmp in it, and removes those
// that killed programs have left: first data, so that is where servers write.
// Its path is short enough for sockets.
func NewDirectory(ctx context.Context, name string) (*Directory, error) {
	return newDirectory(ctx, directoryBase(), name)
}

func newDirectory(ctx context.Context, base, name string) (*Directory, error) {
	sweep(ctx, base)
	path, err := os.MkdirTemp(base, directoryPrefix+name+"-")
	if err != nil {
		return nil, fmt.Errorf("testserver: %s: no directory for the server: %w: set TMPDIR", name, err)
	}
	d := &Directory{Path: path}
	fail := func(err error) (*Directory, error) {
		_ = d.Remove()
		return nil, fmt.Errorf("testserver: %s: no directory for the server: %w", name, err)
	}
	// Locked before it has its name, so that no sweep finds it unlocked.
	made := filepath.Join(path, "lock.new")
	if d.lock, err = os.Create(made); err != nil {
		return fail(err)
	}
	if ok, err := tryLock(d.lock); err != nil {
		return fail(fmt.Errorf("lock on %s: %w", made, err))
	} else if !ok {
		return fail(fmt.Errorf("somebody else has locked %s", made))
	}
	if err := os.Rename(made, filepath.Join(path, "lock")); err != nil {
		return fail(err)
	}
	for _, name := range []string{"data", "tmp"} {
		if err := os.Mkdir(filepath.Join(path, name), 0o700); err != nil {
			return fail(err)
		}
	}
	return d, nil
}

// Remove removes the directory and all in it.
func (d *Directory) Remove() error {
	err := os.RemoveAll(d.Path)
	if d.lock != nil {
		_ = d.lock.Close()
		d.lock = nil
	}
	if err != nil {
		return fmt.Errorf("testserver: could not remove the server's directory: %w", err)
	}
	return nil
}

// sweep removes the directories of programs that were killed.
func sweep(ctx context.Context, base string) {
	locks, _ := filepath.Glob(filepath.Join(base, directoryPrefix+"*-*", "lock"))
	for _, name := range locks {
		if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			continue // somebody else's
		}
		if ok, err := tryLock(file); err == nil && ok {
			dir := filepath.Dir(name)
			// The server may still be dying, and make files. The lock goes last,
			// so that what cannot be removed yet is left to a later sweep.
			if hasVolume(dir) {
				err = removeVolume(ctx, filepath.Base(dir))
			}
			if errors.Join(err, os.RemoveAll(filepath.Join(dir, "data"))) == nil {
				_ = os.RemoveAll(dir)
			}
		}
		_ = file.Close()
	}
}
