package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far the run is, and what happens in it.
type progress interface {
	set(posted int)
	line(text string)
	end()
}

// newProgress draws a bar on a terminal, and writes lines to anything else.
func newProgress(out *os.File, total int) progress {
	if term.IsTerminal(int(out.Fd())) {
		return newBarProgress(out, total)
	}
	return &lineProgress{out: out, total: total, began: time.Now()}
}

// barProgress keeps a bar below the lines.
type barProgress struct {
	mu    sync.Mutex
	out   io.Writer
	bar   *progressbar.ProgressBar
	total int
}

func newBarProgress(out io.Writer, total int) *barProgress {
	bar := progressbar.NewOptions(total,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription("posting"),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
		progressbar.OptionFullWidth(),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("payouts"),
		progressbar.OptionThrottle(50*time.Millisecond),
	)
	return &barProgress{out: out, bar: bar, total: total}
}

func (b *barProgress) set(posted int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if posted < b.total {
		_ = b.bar.Set(posted) // a bar that cannot be drawn is no reason to stop
	} else {
		_ = b.bar.Finish()
	}
}

func (b *barProgress) line(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar.IsFinished() {
		_, _ = fmt.Fprintf(b.out, "\n%s", text)
		return
	}
	_ = b.bar.Clear()
	_, _ = fmt.Fprintln(b.out, text)
	_ = b.bar.RenderBlank()
}

func (b *barProgress) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.bar.Exit()
	_, _ = fmt.Fprintln(b.out)
}

// lineProgress writes a line a second.
type lineProgress struct {
	mu    sync.Mutex
	out   io.Writer
	total int
	began time.Time
	last  time.Time
	full  bool
}

func (l *lineProgress) set(posted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := posted >= l.total
	if l.full || !full && time.Since(l.last) < time.Second {
		return
	}
	l.last, l.full = time.Now(), full
	rate := float64(posted) / max(time.Since(l.began).Seconds(), 0.001)
	_, _ = fmt.Fprintf(l.out, "  %5d of %d payouts posted (%3d %%), %.0f/s\n", posted, l.total, posted*100/l.total, rate)
}

func (l *lineProgress) line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintln(l.out, text)
}

func (l *lineProgress) end() {}
