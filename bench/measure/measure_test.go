package measure

import (
	"context"
	"io"
	"net"
	"testing"
)

func TestQuantiles(t *testing.T) {
	if got := SpreadOf([]float64{5, 1, 4, 2, 3}); got != (Spread{2, 3, 4}) {
		t.Errorf("%+v", got)
	}
	if got := Quantile([]int{}, 0.5); got != 0 {
		t.Error(got)
	}
	if got := Quantile([]int{1, 2}, 1); got != 2 {
		t.Error(got)
	}
}

// A round trip is sending, however often, and then receiving, however often.
func TestWire(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, err = io.Copy(conn, conn) // an echo
		}
		served <- err
	}()
	var w Wire
	conn, err := w.Dial(context.Background(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, part := range []string{"ab", "cd"} {
			if _, err := conn.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.Now(); got != (Traffic{Trips: 3, Sent: 12, Received: 12}) {
		t.Errorf("%+v", got)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	_ = listener.Close()
}
