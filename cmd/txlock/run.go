package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/cmd/txlock/internal/child"
	"github.com/gox-helix/gox-helix/txlock"
)

type runFlags struct {
	key     string
	owner   string
	ttl     time.Duration
	wait    time.Duration
	noWait  bool
	reclaim bool
	grace   time.Duration
	verbose bool
}

const (
	minRunTTL    = time.Second
	defaultGrace = 5 * time.Second

	// graceShare of the TTL is the most that the grace may be: heartbeats come after a
	// third, and two of them should have been tried before the command is told to end.
	graceShare = 3

	releasePatience = 10 * time.Second
)

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run --key KEY [flags] -- CMD [ARG...]",
		Short: "Run a command while holding a lease",
		Long: `Acquire the lease of a key, waiting for it if need be, run a command, and release
the lease when the command has ended. While it runs the lease is renewed after each
third of its TTL. The exit status is the command's own; txlock's are listed below.

If the lease is lost (revoked, or not renewed because the database cannot be reached),
the command and what it has started (its process group) get SIGTERM, and SIGKILL after
the grace period. A lease that cannot be renewed is given up so early that the grace
period is over before anyone else can have it. Where txlock itself is killed, so is the
command (on Linux); what that has started itself may go on. SIGHUP, SIGINT, SIGQUIT,
SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP and SIGCONT are passed on to the group. A
job that is stopped (Ctrl-Z) is not renewed, and is ended if it goes on too late.

No timing protects what a command has already sent. The command can fence what it
writes, and then a late write is refused. It finds in its environment

  TXLOCK_KEY      the key
  TXLOCK_KEY_HEX  the same in hexadecimal, which needs no quoting in SQL
  TXLOCK_OWNER    the owner
  TXLOCK_EPOCH    the epoch of the lease, its fencing token: greater at every acquisition
  TXLOCK_TTL      the TTL of the lease, in seconds

and begins each transaction that is to be fenced with a look at the lease, which it
locks until COMMIT. If it finds no row, the lease is lost: ROLLBACK.

  START TRANSACTION;
  SELECT epoch FROM helix_locks
  WHERE lock_key = x'$TXLOCK_KEY_HEX' AND epoch = $TXLOCK_EPOCH AND status = 1
  LOCK IN SHARE MODE;

The mysql client stops at an error, which this makes of a lost lease, in a script as
  mysql app <<END
  START TRANSACTION;
  SET @held = (SELECT COUNT(*) FROM helix_locks
    WHERE lock_key = x'$TXLOCK_KEY_HEX' AND epoch = $TXLOCK_EPOCH AND status = 1
    LOCK IN SHARE MODE);
  SET sql_mode = IF(@held = 1, @@sql_mode, 'the lease is lost');
  UPDATE accounts SET cents = cents - 100 WHERE id = 7;
  COMMIT;
  END
Renewals skip a lease that a transaction has locked. So keep each of these shorter than
a third of the TTL. On a cluster with several writers, and where such transactions
follow each other without a pause, use instead of the SELECT what renews the lease, too:
  UPDATE helix_locks SET expires_at = UTC_TIMESTAMP(6) + INTERVAL $TXLOCK_TTL SECOND
  WHERE lock_key = x'$TXLOCK_KEY_HEX' AND epoch = $TXLOCK_EPOCH AND status = 1;
which must have changed a row (SET @held = ROW_COUNT()).

` + exitHelp,
		Example: `  txlock run --key nightly-report -- ./report.sh
  txlock run --key tenant:7/import --no-wait -- ./import --tenant 7   # or exit with 75
  txlock run --key deploy --wait 5m --ttl 1m -- make deploy`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no command to run: txlock run --key KEY -- CMD [ARG...]")
			}
			return nil
		},
		RunE: verb(func(ctx context.Context, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.run(ctx, f, args)
		}),
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // flags behind CMD are its own
	flags.StringVarP(&f.key, "key", "k", "", "what to lock, 1 to 255 bytes (needed)")
	flags.DurationVar(&f.ttl, "ttl", txlock.DefaultTTL, "how long after its last renewal others may take the lease over, 1s or more")
	flags.DurationVar(&f.wait, "wait", 0, "how long to wait for the lease; 0: as long as it takes")
	flags.BoolVar(&f.noWait, "no-wait", false, "do not wait: exit with 75 if somebody else has it")
	flags.StringVar(&f.owner, "owner", "", "who holds it, as others see it (default: host, process id and a random part)")
	flags.BoolVar(&f.reclaim, "reclaim", false, "also take the lease from an earlier run of this --owner that died")
	flags.DurationVar(&f.grace, "grace", 0, "time from SIGTERM to SIGKILL when the lease is lost, at most a third of the TTL (default 5s, or a sixth of the TTL if that is less)")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "say on standard error what happens to the lease")
	a.addMultiWriterFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("key", a.completeKeys) // fails for flags that are not there
	return cmd
}

func (a *app) addMultiWriterFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.flags.multiWriter, "multi-writer", false, "the database is a cluster, more than one server of which takes writes")
}

func (f *runFlags) check() error {
	if f.grace == 0 {
		f.grace = min(defaultGrace, f.ttl/6)
	}
	switch {
	case f.key == "":
		return usageErrorf("run: no key: give --key KEY")
	case f.noWait && f.wait != 0:
		return usageErrorf("run: --wait and --no-wait: give one")
	case f.wait < 0:
		return usageErrorf("run: --wait %v is negative", f.wait)
	case f.ttl < minRunTTL:
		return usageErrorf("run: --ttl %v: give %v or more", f.ttl, minRunTTL)
	case f.grace < 0 || f.grace > f.ttl/graceShare:
		return usageErrorf("run: --grace %v: give at most a third of the TTL, which is %v", f.grace, f.ttl/graceShare)
	case f.reclaim && f.owner == "":
		return usageErrorf("run: --reclaim takes what this owner had: give --owner NAME, too")
	}
	return nil
}

func (f *runFlags) options() (opts []txlock.Option) {
	opts = append(opts, txlock.WithTTL(f.ttl))
	if f.owner != "" {
		opts = append(opts, txlock.WithOwner(f.owner))
	}
	return opts
}

// run finds the command before it locks anything.
func (a *app) run(ctx context.Context, f runFlags, args []string) error {
	path, err := child.Find(args[0])
	switch {
	case errors.Is(err, child.ErrNotExecutable):
		return &exitError{exitNotExecutable, fmt.Errorf("cannot run %s: %w", args[0], err)}
	case err != nil:
		return &exitError{exitNotFound, fmt.Errorf("cannot run %s: %w", args[0], err)}
	}
	// With a handler a pipe that nobody reads any more is an error of the write, and
	// not the end of this program, which has a lease to release. The command has no
	// part in that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return a.withLocker(ctx, func(_ *sql.DB, locker *txlock.Locker) error {
		lease, err := a.acquire(ctx, locker, f)
		if err != nil {
			return err
		}
		if err := lease.KeepAlive(context.WithoutCancel(ctx)); err != nil {
			return errors.Join(err, lease.Release(ctx))
		}
		if f.verbose {
			a.say("%s is held as %s, epoch %d", quote(f.key), quote(lease.Owner()), lease.Epoch())
		}
		return a.runUnder(ctx, lease, f, child.Command{Path: path, Args: args, Env: environment(lease, f.ttl)})
	}, f.options()...)
}

func environment(lease *txlock.Lease, ttl time.Duration) []string {
	return append(os.Environ(),
		"TXLOCK_KEY="+lease.Key(),
		"TXLOCK_KEY_HEX="+hex.EncodeToString([]byte(lease.Key())),
		"TXLOCK_OWNER="+lease.Owner(),
		fmt.Sprintf("TXLOCK_EPOCH=%d", lease.Epoch()),
		fmt.Sprint("TXLOCK_TTL=", ttl.Seconds()),
	)
}

// acquire waits as it was told to, and says for whom.
func (a *app) acquire(ctx context.Context, locker *txlock.Locker, f runFlags) (*txlock.Lease, error) {
	var opts []txlock.AcquireOption
	if f.reclaim {
		opts = append(opts, txlock.Reclaim())
	}
	lease, err := locker.Acquire(ctx, f.key, append(opts, txlock.NoWait())...)
	if f.noWait || !errors.Is(err, txlock.ErrHeld) && !errors.Is(err, txlock.ErrBusy) {
		return lease, err
	}
	if f.verbose || isTerminal(a.stderr) {
		a.say("waiting: %s", strings.TrimPrefix(err.Error(), "txlock: "))
	}
	waiting := ctx
	if f.wait > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, f.wait)
		defer cancel()
	}
	lease, err = locker.Acquire(waiting, f.key, opts...)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = &exitError{exitHeld, err} // also if nobody could be asked who has it
	}
	return lease, err
}

// runUnder runs the command, releases the lease, and says how all that ended.
func (a *app) runUnder(ctx context.Context, lease *txlock.Lease, f runFlags, c child.Command) error {
	c.Files = [3]*os.File{a.stdin, a.stdout, a.stderr}
	c.Grace = f.grace
	signals, done := a.interrupts.take(child.Forwarded()...)
	defer done()
	if ctx.Err() != nil { // before the command has started
		return errors.Join(context.Cause(ctx), a.release(ctx, lease))
	}
	exit, err := child.Run(c, heldLease{lease}, signals)
	released := a.release(ctx, lease)
	switch {
	case err != nil:
		return &exitError{cannotRun(err), errors.Join(err, released)}
	case exit.Lost != nil:
		return &exitError{exitLost, fmt.Errorf("the lease of %s is lost, so the command was ended, with status %d: %w", quote(f.key), exit.Code, exit.Lost)}
	case errors.Is(released, txlock.ErrLost):
		return &exitError{exitLost, fmt.Errorf("the lease was lost while the command ran, which has ended with status %d: %w", exit.Code, released)}
	case released != nil: // the command was protected all the same
		a.say("warning: the lease could not be released: it runs out after %v at most: %v", f.ttl, released)
	}
	if exit.Code != 0 {
		return &exitError{status: exit.Code}
	}
	return nil
}

func (a *app) release(ctx context.Context, lease *txlock.Lease) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	return lease.Release(ctx)
}

// cannotRun is the exit status for a command that could not be started.
func cannotRun(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
}
