package round

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/proof/load"
)

// Subcommand is how the program is called to be a worker.
const Subcommand = "worker"

// crew is the worker processes of a round.
type crew struct {
	program string // what is run to be a worker
	dir     string // of their histories

	mu      sync.Mutex
	members []*member // one for each place; a replaced one is gone
	number  int       // of the last worker
	acked   int64     // of all that are gone
	failed  error
	all     sync.WaitGroup
}

// member is one worker process.
type member struct {
	config load.Config
	cmd    *exec.Cmd
	in     io.WriteCloser
	ended  chan struct{}

	mu     sync.Mutex // guards what follows
	acked  int64
	killed bool // on purpose
}

// start starts a worker in the place, in place of one that is gone.
func (c *crew) start(place int, config load.Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	config.Worker = c.number
	config.History = filepath.Join(c.dir, fmt.Sprintf("worker%d%s", c.number, history.Suffix))

	var stderr bytes.Buffer
	cmd := exec.Command(c.program, Subcommand)
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	m := &member{config: config, cmd: cmd, in: in, ended: make(chan struct{})}
	for len(c.members) <= place {
		c.members = append(c.members, nil)
	}
	c.members[place] = m
	c.all.Go(func() {
		defer close(m.ended)
		m.follow(out)
		err := cmd.Wait()
		m.mu.Lock()
		killed := m.killed
		m.mu.Unlock()
		if err != nil && !killed {
			c.fail(fmt.Errorf("worker %d: %w: %s", config.Worker, err, strings.TrimSpace(stderr.String())))
		}
	})
	// Where it does not get through, the worker ends, and says why. Its end of the
	// pipe closes when we end, however we end: then it ends as well.
	_ = json.NewEncoder(in).Encode(config)
	return nil
}

func (c *crew) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = errors.Join(c.failed, err)
}

// err is what workers failed with.
func (c *crew) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func (m *member) follow(out io.Reader) {
	reports := json.NewDecoder(out)
	for {
		var r load.Report
		if reports.Decode(&r) != nil {
			return // it has ended
		}
		m.mu.Lock()
		m.acked = r.Acknowledged
		m.mu.Unlock()
	}
}

func (m *member) order(o load.Order) {
	_ = json.NewEncoder(m.in).Encode(o) // or it has ended
}

func (m *member) signal(s syscall.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killed = m.killed || s == syscall.SIGKILL
	_ = m.cmd.Process.Signal(s) // or it has ended
}

// acknowledged is how many operations all workers have done.
func (c *crew) acknowledged() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.acked
	for _, m := range c.members {
		m.mu.Lock()
		sum += m.acked
		m.mu.Unlock()
	}
	return sum
}

// at is the worker in a place.
func (c *crew) at(place int) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[place]
}

func (c *crew) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members)
}

// replace ends the worker in a place with SIGKILL, and starts another one, which
// has its name.
func (c *crew) replace(place int) error {
	m := c.at(place)
	m.signal(syscall.SIGKILL)
	<-m.ended
	c.mu.Lock()
	c.acked += m.acked
	m.acked = 0
	c.mu.Unlock()
	return c.start(place, m.config)
}

// each gives an order to all.
func (c *crew) each(o load.Order) {
	for place := range c.size() {
		c.at(place).order(o)
	}
}

// stop has all workers end what they are at, and ends those that do not within
// patience. It returns how many these were.
func (c *crew) stop(patience time.Duration) (killed int) {
	c.each(load.Order{Stop: true})
	late := time.NewTimer(patience)
	defer late.Stop()
	for place := range c.size() {
		m := c.at(place)
		m.signal(syscall.SIGCONT)
		select {
		case <-m.ended:
			continue
		case <-late.C:
			late.Reset(0)
		}
		m.signal(syscall.SIGKILL)
		<-m.ended
		killed++
	}
	c.all.Wait()
	return killed
}

// self is this program.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("starting workers: %w", err)
	}
	return path, nil
}
