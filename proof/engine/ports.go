package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// freePorts are n ports of 127.0.0.1 that were free a moment ago. They are below
// those that the kernel gives to outgoing connections, as one of these must not
// take the port of a killed node.
func freePorts(n int) (ports []int, err error) {
	const low, high = 15000, 32000
	var held []net.Listener // so that none is found twice
	defer func() {
		for _, l := range held {
			err = errors.Join(err, l.Close())
		}
	}()
	for range 100 * n {
		port := low + rand.IntN(high-low)
		l, listenErr := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if listenErr != nil {
			continue // somebody has it
		}
		held, ports = append(held, l), append(ports, port)
		if len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("engine: found only %d of %d free ports from %d to %d: end what uses them", len(ports), n, low, high)
}
