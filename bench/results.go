package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/measure"
)

// results is what was measured.
type results struct {
	bench     *bench
	began     time.Time
	versions  []string
	rows      []row
	handovers []engineHandover
	paused    []paused // on the first engine
	held      []engineHeld
	rowLocks  []rowLocks
}

type engineHandover struct {
	engine string
	handover
}

type engineHeld struct {
	engine string
	held
}

// write writes the tables and the chart into a directory, or prints the tables.
func (r *results) write(dir string) error {
	text := r.markdown()
	if dir == "" {
		_, err := os.Stdout.Write(text)
		return err
	}
	files := map[string][]byte{"RESULTS.md": text}
	if len(r.rows) > 0 {
		files["chart.svg"] = r.chart()
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
		fmt.Println(path)
	}
	return nil
}

// page is text that grows.
type page struct{ bytes.Buffer }

func (p *page) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format+"\n", args...) // into memory
}

func (r *results) markdown() []byte {
	var p page
	p.say("# What a protected transaction costs")
	p.say("")
	durability := "as they come: COMMIT waits for the disk"
	if r.bench.fast {
		durability = "that do not wait for the disk"
	}
	p.say("Made by `make bench` on %s, on %d cores with %s, in %s; servers %s: %s. What is measured, and how to read this: [README.md](README.md).",
		r.began.UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), time.Since(r.began).Round(time.Second), durability, strings.Join(r.versions, ", "))
	p.say("")
	r.promises(&p)
	r.handOverTable(&p)
	r.heldTable(&p)
	r.lockTable(&p)
	for _, row := range r.rows {
		r.table(&p, row)
	}
	return p.Bytes()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "**no**"
}

func (r *results) promises(p *page) {
	p.say("## What each one promises")
	p.say("")
	p.say("Increments lost: three processes count under the lock, by reading, thinking for 10 ms, writing, and entering that in a ledger, each every 70 ms; and each is paused once, before it writes, for twice the TTL. Lost is what the ledger has and the counter has not.")
	p.say("")
	p.say("| | how | survives a crash of the holder | fences a paused holder | commits with the business rows | needs another server | increments lost, of those committed, on %s |", r.engines()[0]) // where holders are paused
	p.say("|---|---|---|---|---|---|---|")
	for _, c := range r.bench.contenders {
		other := "no"
		if c.Promises.OtherServer != "" {
			other = c.Promises.OtherServer
		}
		lost := ""
		for _, x := range r.paused {
			if x.Contender != c.Name {
				continue
			}
			lost = fmt.Sprintf("%d of %d", x.Lost, x.Committed)
			if x.Lost > 0 {
				lost = "**" + lost + "**"
			}
		}
		p.say("| %s | %s | %s | %s | %s | %s | %s |", c.Name, c.About, yes(c.Promises.SurvivesCrash), yes(c.Promises.Fences), yes(c.Promises.Atomic), other, lost)
	}
	p.say("")
}

func (r *results) engines() []string {
	var names []string
	for _, version := range r.versions {
		names = append(names, strings.Fields(version)[0])
	}
	return names
}

func (r *results) handOverTable(p *page) {
	if len(r.handovers) == 0 {
		return
	}
	p.say("## Handing over, and waiting")
	p.say("")
	p.say("From the end of one holder's business to the beginning of the next one's, with its COMMIT and release, in milliseconds: median (quartiles) of %d hand-overs, each after %s. Then the round trips a second of all who wait, while one holds for %s.", r.bench.handovers, holdShort, r.bench.holdLong)
	p.say("")
	for _, engine := range r.engines() {
		head, line := "| "+engine+" |", "|---|"
		for _, n := range r.bench.waiting {
			head += fmt.Sprintf(" %d waiting | round trips/s |", n)
			line += "---|---|"
		}
		p.say("%s\n%s", head, line)
		for _, c := range r.bench.contenders {
			cells := ""
			for _, h := range r.handovers {
				if h.engine == engine && h.Contender == c.Name {
					cells += fmt.Sprintf(" %s | %.1f |", spread(h.Took, "%.1f"), h.Questions)
				}
			}
			if cells != "" {
				p.say("| %s |%s", c.Name, cells)
			}
		}
		p.say("")
	}
}

func (r *results) heldTable(p *page) {
	if len(r.held) == 0 {
		return
	}
	p.say("## Holding %d keys", r.bench.held)
	p.say("")
	p.say("One process holds them with a TTL of %s and renews them every third of it, in the way each has; what that takes in a second. Redis and etcd are measured once. In the row `unprotected` nothing is held: it is what the servers do by themselves.", r.bench.heldTTL)
	p.say("")
	p.say("| | | round trips | bytes sent | received | statements | commits | redo, bytes | client CPU, ms | servers CPU, ms |")
	p.say("|---|---|---|---|---|---|---|---|---|---|")
	for _, h := range r.held {
		per := func(n int64) float64 { return float64(n) / h.Lasted.Seconds() }
		c := h.Counts
		p.say("| %s | %s | %.1f | %.0f | %.0f | %.1f | %.1f | %.0f | %.1f | %.1f |", h.engine, h.Contender, per(c.Traffic.Trips), per(c.Traffic.Sent), per(c.Traffic.Received),
			per(c.Status.Statements), per(c.Status.Commits), per(c.Status.Redo), per(c.ClientCPU.Microseconds())/1000, per(c.ServerCPU.Microseconds())/1000)
	}
	p.say("")
}

func (r *results) lockTable(p *page) {
	if len(r.rowLocks) == 0 {
		return
	}
	p.say("## Row locks")
	p.say("")
	p.say("What InnoDB has locked while the business runs, before that itself locks anything (`performance_schema.data_locks` of MySQL): IX and IS are of the table, REC_NOT_GAP is a record without the gap before it.")
	p.say("")
	p.say("| | locked |")
	p.say("|---|---|")
	for _, l := range r.rowLocks {
		p.say("| %s | %s |", l.Contender, l.Locks)
	}
	p.say("")
}

func spread(s measure.Spread, format string) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median, s.Low, s.High)
}

func (r *results) table(p *page, row row) {
	p.say("## %s", row.setting)
	p.say("")
	p.say("Transactions a second by those of `%s` in the same round: median (quartiles) of %d rounds. Then its own rate, and for each transaction: latency, statements and commits that the server counted, round trips and bytes of all connections, bytes of redo log and of the binary log (where that is on), allocations of the client, and microseconds of processor time of the client and of all servers.", contender.Reference, r.bench.rounds)
	p.say("")
	p.say("| | ratio | per second | p50, ms | p99, ms | statements | commits | round trips | bytes sent | received | redo | binary log | allocations | client CPU, µs | servers CPU, µs |")
	p.say("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, c := range row.Cells {
		binaryLog := "off" // as every transaction is in it
		if c.BinaryLog > 0 {
			binaryLog = fmt.Sprintf("%.0f", c.BinaryLog)
		}
		p.say("| %s | **%.2f** (%.2f–%.2f) | %.0f | %.2f | %.2f | %.1f | %.1f | %.1f | %.0f | %.0f | %.0f | %s | %.0f | %.0f | %.0f |", c.Contender, c.Ratio.Median, c.Ratio.Low, c.Ratio.High, c.Rate.Median,
			milliseconds(c.P50), milliseconds(c.P99), c.Statements, c.Commits, c.Trips, c.Sent, c.Received, c.Redo, binaryLog, c.Allocs, c.ClientCPU, c.ServerCPU)
	}
	p.say("")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// at are the rows of some workers and keys, with the fewest rows in the tables.
func (r *results) at(engine string, workers int, keys Keys) *row {
	i := slices.IndexFunc(r.rows, func(row row) bool {
		return row.Engine == engine && row.Workers == workers && row.Keys == keys && row.Rows == r.bench.rows[0]
	})
	if i < 0 {
		return nil
	}
	return &r.rows[i]
}
