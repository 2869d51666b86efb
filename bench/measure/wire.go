// Package measure counts and times what contenders do.
package measure

import (
	"context"
	"net"
	"sync/atomic"
)

// Wire counts what goes over connections.
type Wire struct {
	trips, sent, received atomic.Int64
}

// Traffic is what went over the wire.
type Traffic struct {
	// Trips are round trips: changes from sending to receiving.
	Trips, Sent, Received int64
}

// Now is the traffic so far.
func (w *Wire) Now() Traffic {
	return Traffic{Trips: w.trips.Load(), Sent: w.sent.Load(), Received: w.received.Load()}
}

// Dial connects, and counts.
func (w *Wire) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &counted{Conn: conn, wire: w}, nil
}

type counted struct {
	net.Conn
	wire *Wire
	sent atomic.Bool // since the last answer
}

func (c *counted) Write(p []byte) (int, error) {
	c.sent.Store(true)
	n, err := c.Conn.Write(p)
	c.wire.sent.Add(int64(n))
	return n, err
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.received.Add(int64(n))
	if n > 0 && c.sent.Swap(false) {
		c.wire.trips.Add(1)
	}
	return n, err
}
