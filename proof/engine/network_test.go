package engine

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo answers each connection with what it says, and gives its port.
func echo(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port //nolint:errcheck // of a TCP listener
}

func TestNetwork(t *testing.T) {
	w, err := newNetwork(2)
	if err != nil {
		t.Fatal(err)
	}
	w.open([]*scriptServer{{port: echo(t)}, {port: echo(t)}})
	dial := func(n int) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp4", w.address(n))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	say := func(conn net.Conn, text string) {
		t.Helper()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Error(err)
		}
	}
	hear := func(conn net.Conn, within time.Duration) (string, error) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 1)
		n, err := conn.Read(text)
		return string(text[:n]), err
	}
	a, b := dial(0), dial(1)
	for _, conn := range []net.Conn{a, b} {
		say(conn, "1")
		if text, err := hear(conn, 10*time.Second); text != "1" {
			t.Errorf("heard %q, %v", text, err)
		}
	}
	w.cut(1, true)
	say(a, "2")
	if text, err := hear(a, 10*time.Second); text != "2" {
		t.Errorf("of a node that is not cut off, heard %q, %v", text, err)
	}
	say(b, "2")
	if text, err := hear(b, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("of a node that is cut off, heard %q, %v", text, err)
	}
	if text, err := hear(dial(1), 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection to it is not closed: heard %q, %v", text, err)
	}
	w.cut(1, false)
	if text, err := hear(b, 10*time.Second); text != "2" {
		t.Errorf("of a node that is connected again, heard %q, %v", text, err)
	}
	w.cut(0, true)
	say(a, "3") // is held at the end
	if err := w.close(); err != nil {
		t.Error(err)
	}
	for _, conn := range []net.Conn{a, b} {
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection is left: %v", err)
		}
	}
}

func TestBroken(t *testing.T) {
	w := &network{off: []bool{false, true, false}, changed: make(chan struct{})}
	for _, tc := range []struct {
		from, to int
		want     bool
	}{{0, 2, false}, {0, 1, true}, {1, 0, true}, {1, 1, false}, {-1, 0, false}, {-1, 1, true}} {
		if got, _ := w.broken(tc.from, tc.to); got != tc.want {
			t.Errorf("from %d to %d: %t", tc.from, tc.to, got)
		}
	}
}

func TestOwner(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("%T", conn)
	}
	if got := owner(tcp, []int{0, os.Getpid()}); got != 1 {
		t.Errorf("got %d", got)
	}
	if got := owner(tcp, []int{0, os.Getppid()}); got != -1 {
		t.Errorf("of another process, got %d", got)
	}
}

func TestFreePorts(t *testing.T) {
	ports, err := freePorts(12)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, p := range ports {
		if seen[p] {
			t.Errorf("%d twice", p)
		}
		seen[p] = true
		l, err := net.Listen("tcp4", local(p))
		if err != nil {
			t.Error(err)
			continue
		}
		_ = l.Close()
	}
}
