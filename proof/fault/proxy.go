// Package fault does to workers, connections and servers what happens to them.
package fault

import (
	"encoding/binary"

	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Cut is where in a statement a connection is cut.
type Cut int

// The places.
const (
	Before Cut = iota // the statement does not reach the server
	Half              // half of its packet does
	During            // it does, and the connection ends at once
	After             // it is done, and its answer does not reach the client
)

// Wire is what a [Proxy] does to what goes through.
type Wire struct {
	Cuts    []Cut // one of these, at random
	Percent int   // of the statements
	// Commits cuts at COMMIT only, of which Percent then is.
	Commits bool
	Delay   time.Duration // each packet waits so long at most
	Silent  bool          // nothing goes through, and no connection ends
}

// Proxy stands between one worker and its server. It knows MySQL's packets, as far
// as it takes to cut at a COMMIT and to tell its answer: a proxy of streams, such as
// toxiproxy, whose toxics see one direction each, cannot.
type Proxy struct {
	listener net.Listener
	target   atomic.Pointer[string]
	wire     atomic.Pointer[Wire]
	changed  atomic.Pointer[chan struct{}] // closed when wire is another
	cuts     atomic.Int64

	mu    sync.Mutex
	links map[*link]struct{}
	ended bool
	all   sync.WaitGroup
}

// NewProxy listens on 127.0.0.1, and connects to target.
func NewProxy(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{listener: listener, links: map[*link]struct{}{}}
	p.target.Store(&target)
	p.Set(Wire{})
	p.all.Go(p.accept)
	return p, nil
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set changes what is done to what goes through from now on.
func (p *Proxy) Set(w Wire) {
	changed := make(chan struct{})
	p.wire.Store(&w)
	if old := p.changed.Swap(&changed); old != nil {
		close(*old)
	}
}

// Retarget sends new connections elsewhere, and ends those that there are.
func (p *Proxy) Retarget(target string) {
	p.target.Store(&target)
	p.Drop()
}

// Target is where new connections go.
func (p *Proxy) Target() string { return *p.target.Load() }

// Drop ends all connections.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.end()
	}
}

// Cuts is how many connections it has cut.
func (p *Proxy) Cuts() int64 { return p.cuts.Load() }

// Close ends it, with all connections.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	err := p.listener.Close()
	p.Set(Wire{})
	p.Drop()
	p.all.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.all.Go(func() { p.serve(client) })
	}
}

// link is one connection through the proxy.
type link struct {
	*Proxy
	client, server net.Conn
	deaf           atomic.Bool // the next answer does not reach the client
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.DialTimeout("tcp", p.Target(), time.Second)
	if err != nil {
		_ = client.Close() // as if the server had refused
		return
	}
	l := &link{Proxy: p, client: client, server: server}
	p.mu.Lock()
	p.links[l] = struct{}{}
	ended := p.ended
	p.mu.Unlock()
	if ended {
		l.end()
	}
	var both sync.WaitGroup
	both.Go(func() { defer l.end(); l.requests() })
	both.Go(func() { defer l.end(); l.answers() })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

func (l *link) end() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// pass holds a packet back for as long as the wire says.
func (l *link) pass() {
	for {
		changed := *l.changed.Load()
		w := l.wire.Load()
		switch {
		case w.Silent:
			<-changed
			continue
		case w.Delay > 0:
			t := time.NewTimer(rand.N(w.Delay))
			select {
			case <-t.C:
			case <-changed:
				t.Stop()
			}
		}
		return
	}
}

// requests passes on what the client sends, packet by packet.
func (l *link) requests() {
	for {
		packet, err := readPacket(l.client)
		if err != nil {
			return
		}
		l.pass()
		if cut, ok := l.chooses(packet); ok {
			l.cuts.Add(1)
			switch cut {
			case Before:
				return
			case Half:
				_, _ = l.server.Write(packet[:len(packet)/2])
				return
			case During:
				l.deaf.Store(true) // or a quick answer comes through before the end
				_, _ = l.server.Write(packet)
				return
			case After:
				l.deaf.Store(true)
			}
		}
		if _, err := l.server.Write(packet); err != nil {
			return
		}
	}
}

// chooses reports whether the connection is cut at this packet, and where.
func (l *link) chooses(packet []byte) (Cut, bool) {
	w := l.wire.Load()
	if len(w.Cuts) == 0 || !isStatement(packet) || w.Commits && !isCommit(packet) || rand.IntN(100) >= w.Percent {
		return 0, false
	}
	return w.Cuts[rand.IntN(len(w.Cuts))], true
}

// answers passes on what the server sends.
func (l *link) answers() {
	buffer := make([]byte, 32<<10)
	for {
		n, err := l.server.Read(buffer)
		if err != nil || l.deaf.Load() {
			return
		}
		l.pass()
		if _, err := l.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// A packet is three bytes of length, one of sequence, and what it says; the first
// of a command has sequence 0 and begins with the command.
const (
	header     = 4
	comQuery   = 3
	comExecute = 23
)

func readPacket(from io.Reader) ([]byte, error) {
	head := make([]byte, header)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	length := int(binary.LittleEndian.Uint32(append(head[:3:3], 0)))
	packet := append(head, make([]byte, length)...)
	_, err := io.ReadFull(from, packet[header:])
	return packet, err
}

func isStatement(packet []byte) bool {
	return len(packet) > header && packet[3] == 0 && (packet[header] == comQuery || packet[header] == comExecute)
}

func isCommit(packet []byte) bool {
	return packet[header] == comQuery && string(packet[header+1:]) == "COMMIT"
}
