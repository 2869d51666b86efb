package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/gox-helix/gox-helix/migrations"
	"github.com/gox-helix/gox-helix/txlock"
)

func TestStatusOf(t *testing.T) {
	live := t.Context()
	ended, end := context.WithCancelCause(live)
	end(&signalError{syscall.SIGTERM})
	for name, test := range map[string]struct {
		ctx  context.Context
		err  error
		want int
	}{
		"done":                      {live, nil, 0},
		"done, then told to end":    {ended, nil, 0},
		"told to end":               {ended, context.Canceled, 143},
		"held, and told to end":     {ended, txlock.ErrHeld, 143},
		"lost":                      {live, txlock.ErrLost, 76},
		"held":                      {live, txlock.ErrHeld, 75},
		"busy":                      {live, txlock.ErrBusy, 75},
		"another migrates":          {live, migrations.ErrLockTimeout, 75},
		"not there":                 {live, txlock.ErrNotFound, 1},
		"argument":                  {live, txlock.ErrInvalidArgument, 64},
		"key":                       {live, txlock.ErrInvalidKey, 64},
		"TTL":                       {live, txlock.ErrInvalidTTL, 64},
		"anything else":             {live, errors.New("gone away"), 69},
		"a status of its own first": {ended, &exitError{exitLost, txlock.ErrHeld}, 76},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.err
			if err != nil {
				err = errors.Join(fmt.Errorf("acquire: %w", err), errors.New("close"))
			}
			if got := statusOf(test.ctx, err); got != test.want {
				t.Errorf("exit status %d, want %d", got, test.want)
			}
		})
	}
}
