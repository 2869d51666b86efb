package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/proof/engine"
)

func TestSetClock(t *testing.T) {
	for _, name := range engine.Names() {
		if isCluster(name) && !wanted(name) {
			continue // TestEngines says so
		}
		t.Run(name, func(t *testing.T) {
			h := startHarness(t, name, engine.Options{FakeClock: true})
			h.step("start")
			ctx, last := t.Context(), h.Nodes()-1
			for _, offset := range []time.Duration{0, 3 * time.Second, -90*time.Minute - 500*time.Millisecond, time.Hour} {
				h.must(h.SetClock(ctx, last, offset))
				h.step("setting the clock to " + offset.String())
				var micros int64
				asked := time.Now()
				h.must(h.ask(last, "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)", &micros))
				const slack = time.Millisecond
				if now := time.UnixMicro(micros).Add(-offset); now.Before(asked.Add(-slack)) || now.After(time.Now().Add(slack)) {
					t.Errorf("off by %s and %s, or less", offset, now.Sub(asked))
				}
			}
			if last > 0 {
				if err := h.SetClock(ctx, 0, 0); err != nil {
					t.Errorf("the first node's clock was moved with the last's: %v", err)
				}
			}
			// Durations are as they were.
			began := time.Now()
			h.must(h.ask(last, "DO SLEEP(0.3)"))
			if took := time.Since(began); took < 300*time.Millisecond { // and it is an error if it takes too long
				t.Errorf("SLEEP(0.3) took %s", took)
			}
			h.must(h.Kill(ctx, last))
			h.must(h.Restart(ctx, last))
			h.step("restart")
			h.must(h.SetClock(ctx, last, time.Hour)) // still
			h.must(h.Wait(ctx))
		})
	}
}

func TestSetClockWithout(t *testing.T) {
	h := startHarness(t, "mariadb11", engine.Options{})
	if err := h.SetClock(t.Context(), 0, time.Hour); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
