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
			for _, offset := range []time.Duration{0, time.Hour, -90*time.Minute - 500*time.Millisecond, 3 * time.Second} {
				h.must(h.SetClock(ctx, last, offset))
				h.step("setting the clock to " + offset.String())
				var now float64
				h.must(h.ask(last, "SELECT UNIX_TIMESTAMP(NOW(6))", &now))
				if off := now - float64(time.Now().UnixMicro())/1e6 - offset.Seconds(); off > 0.5 || off < -0.5 {
					t.Errorf("off by %s and %f s", offset, off)
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
			if took := time.Since(began); took < 300*time.Millisecond || took > 2*time.Second {
				t.Errorf("SLEEP(0.3) took %s", took)
			}
			h.must(h.Kill(ctx, last))
			h.must(h.Restart(ctx, last))
			h.step("restart")
			h.must(h.SetClock(ctx, last, 3*time.Second)) // still
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
