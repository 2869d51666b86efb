package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// clock is a file that tells libfaketime, in a server, how far its clock is
// off. Monotonic time goes on as it is.
type clock struct {
	file    string
	library string
}

func newClock(ctx context.Context, s *scripts, file string) (*clock, error) {
	library, err := s.run(ctx, "faketime.sh", "install")
	if err != nil {
		return nil, err
	}
	c := &clock{file: file, library: library}
	return c, c.write(0)
}

func (c *clock) env() []string {
	return []string{
		"LD_PRELOAD=" + c.library,
		"FAKETIME_TIMESTAMP_FILE=" + c.file,
		"FAKETIME_NO_CACHE=1", // it would look at the file every ten seconds
		"FAKETIME_DONT_FAKE_MONOTONIC=1",
		"FAKETIME_FORCE_MONOTONIC_FIX=0", // with which MySQL's timed waits end at once, over and over
	}
}

func (c *clock) write(offset time.Duration) error {
	// Renamed, as the server may be reading.
	err := os.WriteFile(c.file+".new", fmt.Appendf(nil, "%+f\n", offset.Seconds()), 0o600)
	if err == nil {
		err = os.Rename(c.file+".new", c.file)
	}
	if err != nil {
		return fmt.Errorf("engine: the clock's file: %w", err)
	}
	return nil
}

// SetClock moves a node's clock, so that it is off by offset from the
// machine's, and returns when the node's statements see that. It wants
// [Options.FakeClock].
func (c *Cluster) SetClock(ctx context.Context, node int, offset time.Duration) error {
	clock := c.nodes[node].clock
	if clock == nil {
		return fmt.Errorf("engine: %s: setting the clock of node %d: %w: start it with Options.FakeClock", c.kind.name, node, errors.ErrUnsupported)
	}
	if err := clock.write(offset); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askPatience, fmt.Errorf("not done within %s", askPatience))
	defer cancel()
	ticker := time.NewTicker(pollInterval / 10)
	defer ticker.Stop()
	for {
		var micros int64
		asked := time.Now()
		err := queryRow(ctx, c.Config(node), "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)").Scan(&micros)
		// The server has looked at its clock between the question and the answer.
		now := time.UnixMicro(micros)
		const slack = time.Millisecond
		if err == nil && !now.Before(asked.Add(offset-slack)) && !now.After(time.Now().Add(offset+slack)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("engine: %s: the clock of node %d is not off by %s: %w (it says %s, %w)", c.kind.name, node, offset, context.Cause(ctx), now, err)
		case <-ticker.C:
		}
	}
}
