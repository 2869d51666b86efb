package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestBarProgress(t *testing.T) {
	var out bytes.Buffer
	p := newBarProgress(&out, 100)
	p.set(40)
	p.line("something happened")
	p.set(100)
	p.line("and afterwards")
	p.end()
	got := out.String()
	for _, want := range []string{"40%", "\rsomething happened\n", "(100/100", "\nand afterwards"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if !strings.HasSuffix(got, "\n") {
		t.Errorf("the last line does not end: %q", got)
	}
}

func TestLineProgress(t *testing.T) {
	var out bytes.Buffer
	p := &lineProgress{out: &out, total: 100}
	for n := range 100 {
		p.set(n)
	}
	p.set(100)
	p.set(100)
	p.line("something happened")
	p.end()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], "100 of 100 payouts posted (100 %)") || lines[2] != "something happened" {
		t.Errorf("%q", lines)
	}
}
