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
	c, err := m.processes()
	if err != nil {
		return c, err
	}
	// After all else, as it comes before all else in Now: what it costs is in no
	// other counter.
	if c.Status, err = statusOf(ctx, m.Database); err != nil {
		return c, err
	}
	c.Status.Statements-- // the question for the counters
	if c.Status.BinaryLog, err = binaryLogOf(ctx, m.Database); err != nil {
		return c, err
	}
	return c.plus(before, -1), nil
}

// Now counts all so far.
func (m *Meter) Now(ctx context.Context) (Counts, error) {
	binaryLog, err := binaryLogOf(ctx, m.Database)
	if err != nil {
		return Counts{}, err
	}
	status, err := statusOf(ctx, m.Database)
	if err != nil {
		return Counts{}, err
	}
	c, err := m.processes()
	c.Status, c.Status.BinaryLog = status, binaryLog
	return c, err
}

// processes counts all but what the database itself counts.
func (m *Meter) processes() (c Counts, err error) {
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
	return c, errors.Join(errs...)
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
			BinaryLog:  c.Status.BinaryLog + times*d.Status.BinaryLog,
		},
		Allocs:    c.Allocs + times*d.Allocs,
		ClientCPU: c.ClientCPU + time.Duration(times)*d.ClientCPU,
		ServerCPU: c.ServerCPU + time.Duration(times)*d.ServerCPU,
	}
}

// Plus adds what another has.
func (c Counts) Plus(d Counts) Counts { return c.plus(d, 1) }
