package measure

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"runtime"
	"time"
)

// Meter counts what contenders cause.
type Meter struct {
	Wire     *Wire
	Database *sql.DB // for the server's counters; not on the wire
	// Servers are the processes that serve: the database, and whatever else.
	Servers []int
}

// Counts is what has been counted so far, or between two moments.
type Counts struct {
	Traffic Traffic
	Status  Status
	// Of the client's process, which is ours.
	Allocs    int64
	ClientCPU time.Duration
	ServerCPU time.Duration // of all servers
}

// Since counts what was caused since before, but for the questions of this package.
func (m *Meter) Since(ctx context.Context, before Counts) (Counts, error) {
	c, err := m.count(ctx, false)
	if err != nil {
		return c, err
	}
	c.Status.Statements-- // the question for the counters
	return c.plus(before, -1), nil
}

// Now counts all so far.
func (m *Meter) Now(ctx context.Context) (Counts, error) { return m.count(ctx, true) }

// count asks the database first, at the beginning, and last, at the end: what that
// costs is in no other counter.
func (m *Meter) count(ctx context.Context, beginning bool) (c Counts, err error) {
	asked := func() (err error) {
		c.Status, err = statusOf(ctx, m.Database)
		return err
	}
	if beginning {
		if err := asked(); err != nil {
			return c, err
		}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	c.Allocs = int64(memory.Mallocs)
	c.Traffic = m.Wire.Now()
	var errs []error
	c.ClientCPU, err = cpuOf(os.Getpid())
	errs = append(errs, err)
	for _, pid := range m.Servers {
		cpu, err := cpuOf(pid)
		c.ServerCPU += cpu
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return c, err
	}
	if !beginning {
		return c, asked()
	}
	return c, nil
}

// plus adds what another has, so many times.
func (c Counts) plus(d Counts, times int64) Counts {
	return Counts{
		Traffic: Traffic{
			Trips:    c.Traffic.Trips + times*d.Traffic.Trips,
			Sent:     c.Traffic.Sent + times*d.Traffic.Sent,
			Received: c.Traffic.Received + times*d.Traffic.Received,
		},
		Status: Status{
			Statements: c.Status.Statements + times*d.Status.Statements,
			Commits:    c.Status.Commits + times*d.Status.Commits,
			Redo:       c.Status.Redo + times*d.Status.Redo,
		},
		Allocs:    c.Allocs + times*d.Allocs,
		ClientCPU: c.ClientCPU + time.Duration(times)*d.ClientCPU,
		ServerCPU: c.ServerCPU + time.Duration(times)*d.ServerCPU,
	}
}

// Plus adds what another has.
func (c Counts) Plus(d Counts) Counts { return c.plus(d, 1) }
