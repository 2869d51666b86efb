package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// fleet is the worker processes of a run.
type fleet struct {
	ctx       context.Context // its end kills every worker
	config    workerConfig
	onClaimed func(m *member, r report)

	mu      sync.Mutex
	members []*member
	wg      sync.WaitGroup
}

// member is one worker process, as the coordinator sees it.
type member struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	stopped chan report   // it stands at a stop
	wentOn  chan report   // what came of that
	ended   chan struct{} // closed when the process is gone

	picked bool // for a fault; under the fleet's mu

	mu     sync.Mutex
	tally  tally
	killed bool // by us, on purpose
	err    error
}

func newFleet(ctx context.Context, c workerConfig, onClaimed func(*member, report)) *fleet {
	return &fleet{ctx: ctx, config: c, onClaimed: onClaimed}
}

// start starts one more worker.
func (f *fleet) start() (*member, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	config := f.config
	config.Name = fmt.Sprintf("w%d", len(f.members)+1)

	var stderr bytes.Buffer
	cmd := exec.CommandContext(f.ctx, exe, workerSubcommand)
	cmd.Stderr = &stderr
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	m := &member{
		name: config.Name, cmd: cmd, in: in,
		stopped: make(chan report, 1), wentOn: make(chan report, 1), ended: make(chan struct{}),
	}
	f.members = append(f.members, m)
	f.wg.Go(func() {
		defer close(m.ended)
		followErr := f.follow(m, out)
		waitErr := cmd.Wait()
		m.ends(followErr, waitErr, stderr.String())
	})
	// The configuration, with the DSN, goes by pipe: everybody can read a command line.
	if err := json.NewEncoder(in).Encode(config); err != nil {
		return nil, fmt.Errorf("configuring worker %s: %w", m.name, err)
	}
	return m, nil
}

// follow reads a worker's reports until it ends.
func (f *fleet) follow(m *member, out io.Reader) error {
	reports := json.NewDecoder(out)
	for {
		var r report
		if err := reports.Decode(&r); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil // cut off in a line, if it was killed
			}
			_, _ = io.Copy(io.Discard, out) // so that it does not block
			return err
		}
		switch r.Kind {
		case reportClaimed:
			f.onClaimed(m, r)
		case reportStopped:
			m.stopped <- r
		case reportWentOn:
			m.wentOn <- r
		case reportTally:
			m.mu.Lock()
			m.tally = *r.Tally
			m.mu.Unlock()
		}
	}
}

func (m *member) ends(followErr, waitErr error, stderr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.killed {
		return
	}
	if err := errors.Join(followErr, waitErr); err != nil {
		m.err = fmt.Errorf("worker %s failed: %w: %s", m.name, err, strings.TrimSpace(stderr))
	}
}

func (m *member) order(o order) error {
	if err := json.NewEncoder(m.in).Encode(o); err != nil {
		return fmt.Errorf("ordering worker %s: %w", m.name, err)
	}
	return nil
}

// standAt has the worker stand still the next time it comes to a stop. It
// returns false when the worker ended before.
func (m *member) standAt(ctx context.Context, s stop) (report, bool, error) {
	// Where the order does not get through, the worker is ending.
	_ = m.order(order{StopAt: s})
	select {
	case r := <-m.stopped:
		return r, true, nil
	case <-m.ended:
		return report{}, false, nil
	case <-ctx.Done():
		return report{}, false, ctx.Err()
	}
}

// kill ends the worker with SIGKILL, and returns when the process is gone.
func (m *member) kill() error {
	m.mu.Lock()
	m.killed = true
	m.mu.Unlock()
	if err := m.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("killing worker %s: %w", m.name, err)
	}
	<-m.ended
	return nil
}

func (m *member) alive() bool {
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// victim returns a worker that works and that nothing was done to yet.
func (f *fleet) victim() (*member, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		if m.alive() && !m.picked {
			m.picked = true
			return m, true
		}
	}
	return nil, false
}

func (f *fleet) alive() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.members, (*member).alive)
}

// err returns what the workers failed with, apart from those that were killed.
func (f *fleet) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, m := range f.members {
		m.mu.Lock()
		errs = append(errs, m.err)
		m.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (f *fleet) tally() tally {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all tally
	for _, m := range f.members {
		m.mu.Lock()
		all.add(m.tally)
		m.mu.Unlock()
	}
	return all
}

// killAll ends every worker, paused ones too, and waits for them.
func (f *fleet) killAll() {
	f.mu.Lock()
	members := slices.Clone(f.members)
	f.mu.Unlock()
	for _, m := range members {
		if m.alive() {
			_ = m.kill() // it may have ended by itself
		}
	}
	f.wg.Wait()
}
