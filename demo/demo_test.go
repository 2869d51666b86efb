package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gox-helix/gox-helix/internal/testserver"
	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
)

// A run with kills and a pause ends with a right ledger, and the same without
// the library with a wrong one.
func TestDemo(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		for name, tc := range map[string]struct {
			unprotect bool
			want      []string
		}{
			"protected":   {false, []string{"late writes refused by the fence: 1; that went through: 0", "was refused: txlock: lease"}},
			"unprotected": {true, []string{"late writes refused by the fence: 0; that went through: 1", "FAIL  payouts posted more than once"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Setenv(testserver.DSNVariable, s.DSN(""))
				out := runShort(t, tc.unprotect)
				for _, want := range append(tc.want, "killed worker w1", "resumed worker") {
					if !strings.Contains(out, want) {
						t.Errorf("%q is not in\n%s", want, out)
					}
				}
				leavesNothing(t, s)
			})
		}
	})
}

func runShort(t *testing.T, unprotect bool) string {
	t.Helper()
	dir := t.TempDir()
	var csv bytes.Buffer
	if err := writePayouts(&csv, generatePayouts()[:2000]); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "payouts.csv")
	if err := os.WriteFile(file, csv.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	runErr := runDemo(t.Context(), out, options{
		file: file, workers: 4, chunk: 40, kills: 2, pause: true, ttl: 500 * time.Millisecond, unprotect: unprotect,
	})
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	if runErr != nil {
		t.Fatalf("%v\n%s", runErr, text)
	}
	return string(text)
}

func leavesNothing(t *testing.T, s *servertest.Instance) {
	t.Helper()
	db, err := openDB(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // only read
	var left int
	err = db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?", databaseName()).Scan(&left)
	if err != nil || left > 0 {
		t.Errorf("%d databases are left, %v", left, err)
	}
}

func TestPlanFaults(t *testing.T) {
	plans := planFaults(3, true, false)
	if len(plans[0]) != 3 || plans[0][0].percent != 10 || plans[0][2].percent != 75 || len(plans[1]) != 1 || plans[1][0].stop != stopBeforeTx {
		t.Errorf("%+v", plans)
	}
	if plans := planFaults(1, false, true); len(plans[0]) != 1 || len(plans[1]) != 0 {
		t.Errorf("%+v", plans)
	}
}

func TestMoney(t *testing.T) {
	for cents, want := range map[int64]string{0: "0.00", 5: "0.05", -5: "-0.05", 123456: "1,234.56", -100000000: "-1,000,000.00", 99999: "999.99"} {
		if got := money(cents); got != want {
			t.Errorf("%d is %s, want %s", cents, got, want)
		}
	}
}
