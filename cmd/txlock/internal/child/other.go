//go:build !unix

package child

import (
	"errors"
	"os"
)

// Forwarded are the signals that a command is to be passed on.
func Forwarded() []os.Signal { return []os.Signal{os.Interrupt} }

// Run needs process groups, to be sure that a whole command has ended.
func Run(Command, Lease, <-chan os.Signal) (Exit, error) {
	return Exit{}, errors.New("commands can be run under a lease on Unix only: use the library elsewhere")
}
