package main

import (
	"context"

	"github.com/gox-helix/gox-helix/txlock"
)

// heldLease is a lease as a child sees it.
type heldLease struct{ *txlock.Lease }

func (l heldLease) Done() <-chan struct{} { return l.Context().Done() }

func (l heldLease) Cause() error { return context.Cause(l.Context()) }
