package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/proof/engine"
	"github.com/gox-helix/gox-helix/txlock"
)

// clustersVariable is the environment variable that names the clusters to test,
// with commas in between, or "all".
const clustersVariable = "TXLOCK_PROOF_ENGINES"

// notTested are the engines that this run leaves out.
var notTested []string

func TestMain(m *testing.M) {
	if name := os.Getenv(orphanVariable); name != "" {
		if err := startAndWait(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if len(notTested) > 0 {
		servertest.Announce(fmt.Sprintf("%s: not tested: %s; name them, or all, in %s", filepath.Base(os.Args[0]), strings.Join(notTested, ", "), clustersVariable))
	}
	os.Exit(code)
}

// wanted reports whether to test a cluster.
func wanted(name string) bool {
	names := strings.Split(os.Getenv(clustersVariable), ",")
	return slices.Contains(names, name) || slices.Contains(names, "all")
}

func isCluster(name string) bool {
	return !slices.Contains([]string{"mysql", "mariadb", "mariadb11"}, name)
}

func TestEngines(t *testing.T) {
	for _, name := range strings.Split(os.Getenv(clustersVariable), ",") {
		if name != "" && name != "all" && !slices.Contains(engine.Names(), name) {
			t.Errorf("%s names %q, which is not one of %v", clustersVariable, name, engine.Names())
		}
	}
	for _, name := range engine.Names() {
		t.Run(name, func(t *testing.T) {
			if isCluster(name) && !wanted(name) {
				notTested = append(notTested, name)
				t.Skipf("to run this test, set %s=%s", clustersVariable, name)
			}
			h := startHarness(t, name, engine.Options{Env: []string{"TZ=CET-1CEST"}})
			h.step("start")
			h.testBegin(name)
			h.step("begin")
			h.testWriters()
			h.step("writers")
			h.testKill()
			h.step("kill")
			h.testPause()
			h.step("pause")
			h.testIsolate()
			h.step("isolate")
			h.testRecover()
			h.step("recover")
			h.testStop()
			h.step("stop")
		})
	}
}

func TestUnknownEngine(t *testing.T) {
	if _, err := engine.Start(t.Context(), "oracle", engine.Options{}); err == nil || !strings.Contains(err.Error(), "gr-single") {
		t.Errorf("got %v", err)
	}
}

// harness is a running engine and the rows written to it.
type harness struct {
	*engine.Cluster
	t    *testing.T
	rows int
	last time.Time
}

func startHarness(t *testing.T, name string, o engine.Options) *harness {
	t.Helper()
	o.Logf = t.Logf
	began := time.Now()
	c, err := engine.Start(t.Context(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &harness{Cluster: c, t: t, last: began}
}

// step logs what a part of a test took.
func (h *harness) step(name string) {
	h.t.Logf("%s took %s", name, time.Since(h.last).Round(10*time.Millisecond))
	h.last = time.Now()
}

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) writers() []int {
	h.t.Helper()
	writers, err := h.Writers(h.t.Context())
	h.must(err)
	return writers
}

// patience is for what must come.
const patience = time.Minute

// ask runs one statement on a node, with its result in dest if there is one.
func (h *harness) ask(node int, query string, dest ...any) error {
	return h.askWithin(patience, node, query, dest...)
}

func (h *harness) askWithin(limit time.Duration, node int, query string, dest ...any) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), limit)
	defer cancel()
	db, err := sql.Open("mysql", h.Config(node).FormatDSN())
	if err != nil {
		return err
	}
	if len(dest) == 0 {
		_, err = db.ExecContext(ctx, query)
	} else {
		err = db.QueryRowContext(ctx, query).Scan(dest...)
	}
	return errors.Join(err, db.Close())
}

// write writes a row on a node.
func (h *harness) write(node int) {
	h.t.Helper()
	h.rows++
	if err := h.ask(node, fmt.Sprintf("INSERT INTO proof.numbers VALUES (%d)", h.rows)); err != nil {
		h.t.Fatalf("writing on node %d: %v", node, err)
	}
}

// complete waits until a node has all rows.
func (h *harness) complete(node int) {
	h.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		var n int
		err := h.ask(node, "SELECT COUNT(*) FROM proof.numbers", &n)
		if err == nil && n == h.rows {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("node %d has %d rows of %d: %v", node, n, h.rows, err)
		}
	}
}

// everywhere checks that all nodes have all rows.
func (h *harness) everywhere() {
	h.t.Helper()
	for n := range h.Nodes() {
		h.complete(n)
	}
}

func (h *harness) testBegin(name string) {
	h.t.Helper()
	want := 1
	if h.MultiWriter() {
		want = h.Nodes()
	}
	if h.Name() != name || h.Version() == "" || len(h.writers()) != want {
		h.t.Errorf("%s %s, writers %v, want %d", h.Name(), h.Version(), h.writers(), want)
	}
	first := h.writers()[0]
	h.must(h.ask(first, "CREATE DATABASE proof"))
	h.must(h.ask(first, "CREATE TABLE proof.numbers (n INT PRIMARY KEY)"))
	h.everywhere()
	for _, n := range h.writers() {
		h.write(n)
		h.complete((n + 1) % h.Nodes())
	}
	for n := range h.Nodes() {
		var zone string
		if err := h.ask(n, "SELECT @@system_time_zone", &zone); err != nil || !strings.HasPrefix(zone, "CE") {
			h.t.Errorf("node %d has the time zone %s, %v", n, zone, err)
		}
	}
}

// testWriters checks that a Locker which was told nothing neither locks nor fences where
// all nodes take writes.
func (h *harness) testWriters() {
	h.t.Helper()
	ctx := h.t.Context()
	config := h.Config(h.writers()[0])
	config.DBName, config.InterpolateParams = "proof", true
	db, err := sql.Open("mysql", config.FormatDSN())
	h.must(err)
	defer func() { h.must(db.Close()) }()
	_, err = migrations.Up(ctx, db)
	h.must(err)
	nothing := func(context.Context, *sql.Tx) error { return nil }
	for name, opt := range map[string]txlock.Option{"nothing": txlock.WithTTL(time.Minute), "single": txlock.WithSingleWriter(), "multi": txlock.WithMultiWriter()} {
		locker, err := txlock.New(db, opt)
		h.must(err)
		lease, err := locker.TryAcquire(ctx, "lease of "+name)
		h.must(err)
		var want error
		if name == "nothing" && h.MultiWriter() {
			want = txlock.ErrMultiWriter
		}
		for what, err := range map[string]error{"Do": locker.Do(ctx, "lock", nothing), "InTx": lease.InTx(ctx, nothing)} {
			if !errors.Is(err, want) {
				h.t.Errorf("told %s: %s: got %v, want %v", name, what, err, want)
			}
		}
	}
}

func (h *harness) testKill() {
	h.t.Helper()
	ctx, victim := h.t.Context(), h.writers()[0]
	if err := h.Restart(ctx, victim); err == nil {
		h.t.Error("restarted while it runs")
	}
	h.write(victim)
	pid := h.Pid(victim)
	h.must(h.Kill(ctx, victim))
	if h.Pid(victim) != 0 || commandLine(pid) != "" {
		h.t.Errorf("pid %d, after SIGKILL %d", pid, h.Pid(victim))
	}
	if h.Nodes() > 1 {
		h.must(h.Wait(ctx))
		h.step("the others going on")
		h.write(h.writers()[0])
	}
	h.must(h.Restart(ctx, victim))
	h.must(h.Wait(ctx))
	h.everywhere()
}

func (h *harness) testPause() {
	h.t.Helper()
	ctx, victim := h.t.Context(), h.writers()[0]
	h.must(h.Pause(victim))
	if h.Nodes() > 1 {
		h.must(h.Wait(ctx))
		h.step("the others going on")
		h.write(h.writers()[0])
	}
	h.must(h.Resume(victim))
	h.must(h.Wait(ctx))
	h.write(h.writers()[0])
	h.everywhere()
}

func (h *harness) testIsolate() {
	h.t.Helper()
	ctx, victim := h.t.Context(), h.writers()[0]
	err := h.Isolate(ctx, victim)
	if h.Nodes() == 1 {
		if !errors.Is(err, engine.ErrNotPossible) {
			h.t.Errorf("got %v", err)
		}
		return
	}
	h.must(err)
	h.must(h.Wait(ctx))
	h.step("the others going on")
	h.write(h.writers()[0])
	var name, value string
	if err := h.ask(victim, "SHOW VARIABLES LIKE 'port'", &name, &value); err != nil {
		h.t.Errorf("the isolated node does not answer: %v", err)
	}
	// It waits for the others in vain, or refuses.
	if err := h.askWithin(2*time.Second, victim, "INSERT INTO proof.numbers VALUES (-1)"); err == nil {
		h.t.Error("the isolated node takes writes")
	}
	h.must(h.Heal(ctx, victim))
	h.must(h.Wait(ctx))
	h.everywhere()
	h.write(victimOrWriter(h, victim))
	h.everywhere()
}

// victimOrWriter is the victim, if it takes writes.
func victimOrWriter(h *harness, victim int) int {
	if writers := h.writers(); !slices.Contains(writers, victim) {
		return writers[0]
	}
	return victim
}

// All nodes are lost at once, one of them paused, and then too many.
func (h *harness) testRecover() {
	h.t.Helper()
	ctx := h.t.Context()
	h.must(h.Pause(h.Nodes() - 1))
	for n := range h.Nodes() {
		h.must(h.Kill(ctx, n))
	}
	if err := h.Restart(ctx, 0); (err == nil) != (h.Nodes() == 1) {
		h.t.Errorf("restarting the first alone: %v", err)
	}
	h.must(h.Recover(ctx))
	h.write(h.writers()[0])
	h.everywhere()
	if h.Nodes() == 1 {
		return
	}
	h.step("recovering from the loss of all nodes")
	h.must(errors.Join(h.Kill(ctx, 0), h.Kill(ctx, 1)))
	h.must(h.Recover(ctx))
	h.write(h.writers()[0])
	h.everywhere()
}

func (h *harness) testStop() {
	h.t.Helper()
	var dir, name string
	h.must(h.ask(0, "SHOW VARIABLES LIKE 'datadir'", &name, &dir))
	dir, _, _ = strings.Cut(filepath.Clean(dir), "/data")
	if len(processes(dir)) < h.Nodes() {
		h.t.Fatalf("the processes of %s are not found: %v", dir, processes(dir))
	}
	for range 2 {
		h.must(h.Stop())
	}
	if left := processes(dir); len(left) > 0 {
		h.t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		h.t.Errorf("%s is left: %v", dir, err)
	}
}

// processes are the command lines that name a directory.
func processes(dir string) []string {
	var found []string
	stats, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range stats {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(p), "%d", &pid); err != nil {
			continue
		}
		if line := commandLine(pid); strings.Contains(line, dir+"/") {
			found = append(found, fmt.Sprintf("%d %s", pid, line))
		}
	}
	return found
}

// commandLine is empty for a process that has ended.
func commandLine(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(string(text), "\x00", " ")
}
