package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// clockSlack is what two clocks may differ by without a word.
	clockSlack = time.Second

	// clockOff is more than clocks that are set at all differ by.
	clockOff = time.Minute

	clockSamples = 3
)

// reading is one of the server's clock.
type reading struct {
	ahead time.Duration // of this machine's, in the middle of the round trip
	trip  time.Duration
}

func (e *examination) clock(ctx context.Context) []Finding {
	var best reading
	err := e.on(ctx, func(ctx context.Context, conn *sql.Conn) error {
		for i := range clockSamples {
			r, err := readClock(ctx, conn)
			if err != nil {
				return err
			}
			if i == 0 || r.trip < best.trip {
				best = r
			}
		}
		return nil
	})
	if err != nil {
		return []Finding{unseen(subjectClock, "the server's clock", err)}
	}
	return []Finding{judgeClock(best)}
}

func readClock(ctx context.Context, conn *sql.Conn) (reading, error) {
	var micros int64
	before := time.Now()
	if err := conn.QueryRowContext(ctx, queryClock).Scan(&micros); err != nil {
		return reading{}, err
	}
	trip := time.Since(before)
	return reading{time.UnixMicro(micros).Sub(before.Add(trip / 2)), trip}, nil
}

func judgeClock(r reading) Finding {
	off, which := r.ahead, "ahead of"
	if off < 0 {
		off, which = -off, "behind"
	}
	exact := r.trip / 2 // or better
	figure := fmt.Sprintf("the server's clock is %v %s this machine's", round(off), which)
	const means = ": the locks compare no two machines' clocks, so that this alone does no harm, but logs do not line up, and a server's clock that is set right with a jump ends leases early, or late"
	const cure = "let both machines' clocks be kept by NTP, and set slowly, not by a jump (chronyc tracking, timedatectl timesync-status)"
	switch {
	case off > clockOff+exact:
		return Finding{Warning, subjectClock, figure + means, cure}
	case off > clockSlack+exact:
		return Finding{Note, subjectClock, figure + means, cure}
	}
	return Finding{Level: OK, Subject: subjectClock, Text: fmt.Sprintf("the server's clock and this machine's differ by no more than %v", (off+exact).Truncate(time.Millisecond)+time.Millisecond)}
}

// round leaves as many digits as a person looks at.
func round(d time.Duration) time.Duration {
	if d >= time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(10 * time.Millisecond)
}
