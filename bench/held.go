package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/measure"
)

// held is what it costs one process to hold many keys, and to keep them.
type held struct {
	Contender string
	Keys      int
	Lasted    time.Duration
	Counts    measure.Counts
}

// hold holds so many keys, and counts for as long as a TTL, in which each is renewed
// three times, where it must be.
func (b *bench) hold(ctx context.Context, c contender.Contender, e contender.Env, m *measure.Meter, keys int) (h held, err error) {
	h = held{Contender: c.Name, Keys: keys}
	holder, err := c.Hold(ctx, e, keys)
	if err != nil {
		return h, fmt.Errorf("%s, %d keys held: %w", c.Name, keys, err)
	}
	defer func() {
		if closeErr := holder.Close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("%s, %d keys held: %w", c.Name, keys, closeErr))
		}
	}()
	wait(ctx, e.TTL/2) // so that it begins and ends between two renewals
	before, err := m.Now(ctx)
	if err != nil {
		return h, err
	}
	began := time.Now()
	wait(ctx, e.TTL)
	h.Lasted = time.Since(began)
	h.Counts, err = m.Since(ctx, before)
	return h, errors.Join(err, ctx.Err())
}
