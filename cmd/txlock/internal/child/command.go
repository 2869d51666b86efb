package child

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Command is what is to run.
type Command struct {
	Path  string // of the program, as [Find] returns it
	Args  []string
	Env   []string
	Files [3]*os.File // standard input, output and error

	// Grace is how long the command has between SIGTERM and SIGKILL.
	Grace time.Duration
}

// Lease is what the command runs under: a *txlock.Lease that is kept alive.
type Lease interface {
	Done() <-chan struct{} // closed when the lease is or may be lost
	Cause() error          // why
	Deadline() time.Time   // up to when nobody else can have it
}

// ErrNotExecutable says that there is a file, and that it is no program that we
// may run.
var ErrNotExecutable = errors.New("it is there, but not a program that may be run")

// Find looks a program up as a shell does. It fails with exec.ErrNotFound or
// fs.ErrNotExist where there is none, and with [ErrNotExecutable].
func Find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) { // a shell takes it, if PATH says so
		return path, nil
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EISDIR) {
		return "", errors.Join(ErrNotExecutable, err)
	}
	return path, err
}

// Exit is how a command ended.
type Exit struct {
	// Code is its exit status, or 128 and the number of the signal that ended it, as
	// shells have it.
	Code int
	// Lost is why the command was told to end, nil if it was not.
	Lost error
}
