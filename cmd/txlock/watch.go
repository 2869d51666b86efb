package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

const (
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
)

// watch writes what list returns, again and again, until it is interrupted, which
// is its proper end. On a terminal each goes in the place of the one before.
func (a *app) watch(ctx context.Context, interval time.Duration, list func() (string, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for first := true; ; first = false {
		out, err := list()
		if err == nil {
			err = a.print(a.frame(out, first))
		}
		if err != nil {
			return a.watched(ctx, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return a.watched(ctx, nil)
		}
	}
}

// watched is nil where the watch was ended from the keyboard.
func (a *app) watched(ctx context.Context, err error) error {
	var ended *signalError
	if errors.As(context.Cause(ctx), &ended) {
		return &exitError{status: 0}
	}
	return err
}

// frame fits what is shown into the terminal.
func (a *app) frame(out string, first bool) string {
	width, height, err := term.GetSize(int(a.stdout.Fd()))
	if err != nil || width <= 0 || !isTerminal(a.stdout) || a.flags.json {
		if first || a.flags.json {
			return out
		}
		return "\n" + out
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if rows := height - 1; rows > 1 && len(lines) > rows {
		hidden := len(lines) - rows + 1
		lines = append(lines[:rows-1], fmt.Sprintf("... and %d more", hidden))
	}
	var b strings.Builder
	if first {
		b.WriteString(home + clearRest)
	}
	b.WriteString(home)
	for _, line := range lines {
		b.WriteString(text.Trim(line, width) + clearLine + "\n")
	}
	b.WriteString(clearRest)
	return b.String()
}
