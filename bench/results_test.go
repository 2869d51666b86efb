package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/measure"
)

func sample(operations int64) *measure.Sample {
	return &measure.Sample{
		Operations: operations, Took: time.Second, Latencies: []time.Duration{time.Millisecond, 3 * time.Millisecond},
		Counts: measure.Counts{
			Traffic: measure.Traffic{Trips: 7 * operations}, Status: measure.Status{Statements: 7 * operations, Commits: operations, BinaryLog: 900 * operations},
			Allocs: 10 * operations, ClientCPU: time.Duration(operations) * 40 * time.Microsecond, ServerCPU: time.Duration(operations) * 50 * time.Microsecond,
		},
	}
}

// What is compared is the rates of the same round.
func TestSummed(t *testing.T) {
	c := summed("x", []*measure.Sample{sample(10), sample(40), sample(300)}, []*measure.Sample{sample(10), sample(20), sample(100)})
	if c.Ratio != (measure.Spread{Low: 1, Median: 2, High: 3}) || c.Operations != 350 || c.Trips != 7 || c.Statements != 7 || c.Commits != 1 || c.BinaryLog != 900 || c.Allocs != 10 || c.ClientCPU != 40 || c.ServerCPU != 50 || c.P99 != 3*time.Millisecond {
		t.Errorf("%+v", c)
	}
}

func TestTablesAndChart(t *testing.T) {
	r := &results{
		bench: &bench{contenders: contender.All(), rounds: 3, rows: []int{1000}, waiting: []int{1}}, versions: []string{"mysql 9.7"},
		rows: []row{{setting{"mysql", 1000, 8, ownKeys}, []cell{
			{Contender: contender.Reference, Ratio: measure.Spread{Low: 1, Median: 1, High: 1}},
			{Contender: "Do", Ratio: measure.Spread{Low: 0.9, Median: 0.95, High: 9}, Redo: 800, BinaryLog: 700},
		}}},
		paused: []paused{{Contender: "redislock", Committed: 100, Lost: 3}},
		held: []engineHeld{{"mysql", held{Contender: "Do", Keys: 100, Lasted: 2 * time.Second, Counts: measure.Counts{
			Traffic: measure.Traffic{Trips: 20, Sent: 400, Received: 200}, Status: measure.Status{Statements: 10, Commits: 4, Redo: 5000}, ClientCPU: time.Second, ServerCPU: 3 * time.Second,
		}}}},
		rowLocks:  []rowLocks{{"Do", "helix_locks IX"}},
		handovers: []engineHandover{{"mysql", handover{Contender: "Do", Waiting: 1, Took: measure.Spread{Low: 1, Median: 2, High: 3}, Questions: 4}}},
	}
	text := string(r.markdown())
	for _, want := range []string{"| Do | **0.95** (0.90–9.00) |", "| 800 | 700 | 0 |", "| 0 | off | 0 |", "**3 of 100**", "| Do | 2.0 (1.0–3.0) | 4.0 |", "| Do | helix_locks IX |",
		"| mysql | Do | 10.0 | 200 | 100 | 5.0 | 2.0 | 2500 | 500.0 | 1500.0 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, c := range contender.All() {
		if !strings.Contains(text, "| "+c.Name+" |") {
			t.Errorf("no %s among the promises", c.Name)
		}
	}
	chart := string(r.chart())
	for decoder := xml.NewDecoder(strings.NewReader(chart)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(chart, ">0.95<") {
		t.Error("no figure in the chart")
	}
}
