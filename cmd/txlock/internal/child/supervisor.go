//go:build unix

package child

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// ErrNotRenewed is why a command is told to end whose lease is about to end.
var ErrNotRenewed = errors.New("the lease could not be renewed in time")

// Forwarded are the signals that a command is to be passed on.
func Forwarded() []os.Signal {
	return []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT}
}

// Run runs c until it has ended, and passes signals on to its process group. Once
// the lease is lost, or if it has not been renewed [Command.Grace] before its
// deadline, the group gets SIGTERM, and SIGKILL after that time. Then Run returns
// when the group has ended or been killed, else when the command has ended. The
// error says that it could not be started.
func Run(c Command, lease Lease, signals <-chan os.Signal) (Exit, error) {
	t := openTerminal()
	defer t.close()
	p, err := start(c)
	if err != nil {
		return Exit{}, err
	}
	s := supervisor{process: p, lease: lease, grace: c.Grace, terminal: t}
	return s.run(signals), nil
}

type supervisor struct {
	*process

	lease    Lease
	grace    time.Duration
	terminal *terminal
	suspend  bool // SIGTSTP was passed on, and no stop has followed yet
	lost     error
	kill     <-chan time.Time
}

// groupPoll is how often a group is looked at whose leader has ended.
const groupPoll = 20 * time.Millisecond

func (s *supervisor) run(signals <-chan os.Signal) Exit {
	near := time.NewTimer(s.left())
	defer near.Stop()
	look := time.NewTicker(groupPoll)
	defer look.Stop()
	lost, exited, killed := s.lease.Done(), s.exited, false
	for {
		select {
		case sig := <-signals:
			if number, ok := sig.(syscall.Signal); ok {
				s.suspend = s.suspend || number == syscall.SIGTSTP
				s.signal(number)
			}
		case sig := <-s.stopped:
			s.stop(sig)
			near.Reset(s.left()) // we may have been stopped, too
		case <-near.C:
			if left := s.left(); left > 0 { // renewed meanwhile
				near.Reset(left)
			} else {
				s.end(ErrNotRenewed)
			}
		case <-lost:
			lost = nil
			s.end(s.lease.Cause())
		case <-s.kill:
			s.signal(syscall.SIGKILL)
			s.kill, killed = nil, true
		case <-exited:
			exited = nil
		case <-look.C:
			if exited != nil {
				continue
			}
		}
		if exited == nil && (s.lost == nil || killed || !s.signal(probe)) {
			return Exit{Code: s.code, Lost: s.lost}
		}
	}
}

// left is the time until the command must be told to end, if there is no renewal.
func (s *supervisor) left() time.Duration {
	return time.Until(s.lease.Deadline()) - s.grace
}

// end tells the group to end, and has it killed after the grace, but not after a
// deadline that is still to come.
func (s *supervisor) end(cause error) {
	if s.lost != nil {
		return
	}
	s.lost = cause
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGCONT) // what is stopped would not hear it
	grace := s.grace
	if left := time.Until(s.lease.Deadline()); left > 0 {
		grace = min(grace, left)
	}
	s.kill = time.After(grace)
}

// stop does for a command that was stopped what a shell does for its job, and as
// the job of one what that expects.
func (s *supervisor) stop(sig syscall.Signal) {
	reads := sig == syscall.SIGTTIN || sig == syscall.SIGTTOU
	if !s.terminal.ours() || !reads && sig != syscall.SIGTSTP {
		return // whoever has stopped it lets it go on
	}
	suspend := s.suspend && !orphaned() // SIGCONT would take back a SIGTSTP that came while it was stopped
	s.suspend = false
	if reads && !suspend && s.terminal.give(s.pid) {
		s.signal(syscall.SIGCONT)
		return
	}
	if !reads && orphaned() {
		s.signal(syscall.SIGCONT)
		return
	}
	had := s.terminal.takeBack()
	stopUs()
	// Somebody has let us go on. Nobody has renewed the lease meanwhile.
	if s.lost != nil || s.left() <= 0 || s.lease.Cause() != nil {
		return // it is told to end
	}
	if had || reads {
		s.terminal.give(s.pid)
	}
	s.signal(syscall.SIGCONT)
}

// stopUs stops this process and the rest of the pipeline that it is in, and returns
// when somebody has let it go on.
func stopUs() {
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	defer signal.Stop(goOn)
	if syscall.Kill(0, syscall.SIGSTOP) == nil {
		<-goOn // other threads may run for a moment before all are stopped
	}
}
