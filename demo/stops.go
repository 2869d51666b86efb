package main

import (
	"context"
	"fmt"
	"sync"
)

// stop names a place in a worker's work where the coordinator can have it stand
// still, to be killed or paused exactly there and not at some luckier moment.
type stop string

const (
	stopBeforeTx    stop = "before-tx"    // it holds its chunk, and begins the transaction of a payout next
	stopBeforeWrite stop = "before-write" // it has read in a transaction what it writes next
	stopHalfWritten stop = "half-written" // it has written the entry, and not yet the balance
)

// stops is called by the work at each such place.
type stops interface {
	at(ctx context.Context, s stop, p posting) error
}

// remoteStops stands still at the place that the coordinator has asked for.
type remoteStops struct {
	send   func(report) error
	goOn   chan struct{}
	mu     sync.Mutex
	wanted stop
	stood  bool
}

func newRemoteStops(send func(report) error) *remoteStops {
	return &remoteStops{send: send, goOn: make(chan struct{})}
}

func (r *remoteStops) want(s stop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = s
}

func (r *remoteStops) take(s stop) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted != s {
		return false
	}
	r.wanted = ""
	return true
}

func (r *remoteStops) at(ctx context.Context, s stop, p posting) error {
	if !r.take(s) {
		return nil
	}
	if err := r.send(report{Kind: reportStopped, Chunk: p.Chunk, Epoch: p.Epoch, Payout: p.ID}); err != nil {
		return err
	}
	select {
	case <-r.goOn:
		r.stood = true
		return nil
	case <-ctx.Done():
		return fmt.Errorf("standing still at %s: %w", s, ctx.Err())
	}
}

// hasStood reports, once, that the work went on after standing still.
func (r *remoteStops) hasStood() bool {
	stood := r.stood
	r.stood = false
	return stood
}
