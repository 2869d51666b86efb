package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// network carries the connections between the nodes of a group, and can cut
// one off. Each node has an address in it, which leads to the node's server.
type network struct {
	listeners []net.Listener
	servers   []*scriptServer // from open on
	wg        sync.WaitGroup

	mu      sync.Mutex
	off     []bool        // the nodes that are cut off
	changed chan struct{} // closed when off has changed
	conns   map[net.Conn]bool
	closed  bool
}

func newNetwork(nodes int) (*network, error) {
	w := &network{off: make([]bool, nodes), changed: make(chan struct{}), conns: make(map[net.Conn]bool)}
	for range nodes {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("engine: no port for the nodes' network: %w", err), w.close())
		}
		w.listeners = append(w.listeners, l)
	}
	return w, nil
}

func (w *network) address(n int) string { return w.listeners[n].Addr().String() }

func (w *network) addresses() []string {
	var all []string
	for n := range w.listeners {
		all = append(all, w.address(n))
	}
	return all
}

// open begins to carry connections to the servers.
func (w *network) open(servers []*scriptServer) {
	w.servers = servers
	for n, l := range w.listeners {
		w.wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return // closed
				}
				w.wg.Go(func() { w.carry(conn, n) })
			}
		})
	}
}

// cut cuts a node off from the others, or connects it again. Connections that
// there are carry nothing meanwhile, as if packets were lost; new ones are
// closed at once.
func (w *network) cut(n int, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off[n] = off
	close(w.changed)
	w.changed = make(chan struct{})
}

// broken reports whether nothing may pass between two nodes, and gives what is
// closed when that may have changed. A node that cannot be told is -1.
func (w *network) broken(from, to int) (bool, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	broken := from != to && (w.off[to] || from >= 0 && w.off[from])
	return broken && !w.closed, w.changed
}

// carry connects a connection that was made to a node with its server.
func (w *network) carry(conn net.Conn, to int) {
	defer w.forget(conn)
	from := -1
	if tcp, ok := conn.(*net.TCPConn); ok {
		pids := make([]int, len(w.servers))
		for i, s := range w.servers {
			pids[i] = s.pid()
		}
		from = owner(tcp, pids)
	}
	if broken, _ := w.broken(from, to); broken || !w.remember(conn) {
		return
	}
	server, err := net.Dial("tcp4", w.servers[to].config().Addr)
	if err != nil {
		return // it does not run, and who asked for it sees that
	}
	defer w.forget(server)
	if !w.remember(server) {
		return
	}
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{conn, server}, {server, conn}} {
		w.wg.Go(func() {
			_, _ = io.Copy(gate{way[1], func() { w.pass(from, to) }}, way[0])
			ended <- struct{}{}
		})
	}
	<-ended // then the other direction has no use
}

// pass returns when something may pass between two nodes.
func (w *network) pass(from, to int) {
	for {
		broken, changed := w.broken(from, to)
		if !broken {
			return
		}
		<-changed
	}
}

// gate writes once it is let.
type gate struct {
	io.Writer
	pass func()
}

func (g gate) Write(p []byte) (int, error) {
	g.pass()
	return g.Writer.Write(p)
}

// remember notes a connection, to be closed at the end, unless that has come.
func (w *network) remember(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.conns[conn] = true
	}
	return !w.closed
}

func (w *network) forget(conn net.Conn) {
	w.mu.Lock()
	delete(w.conns, conn)
	w.mu.Unlock()
	_ = conn.Close()
}

// close ends all connections, and returns when they have ended.
func (w *network) close() error {
	w.mu.Lock()
	w.closed = true
	close(w.changed)
	w.changed = make(chan struct{})
	var errs []error
	for _, l := range w.listeners {
		errs = append(errs, l.Close())
	}
	for conn := range w.conns {
		_ = conn.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
	return errors.Join(errs...)
}
