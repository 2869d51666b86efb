package contender_test

import (
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/bench/contender"
	"github.com/gox-helix/gox-helix/bench/peer"
)

// Keys that are held elsewhere outlive their TTL until they are closed, and nobody
// else gets them meanwhile.
func TestPeersHold(t *testing.T) {
	needRedis(t)
	d := &dials{count: make(map[string]int)}
	e := contender.Env{
		MySQL: mysql.NewConfig(), // of which nothing is asked
		TTL:   2 * time.Second,   // etcd has no shorter one
		Redis: start(t, redis(false)), DurableRedis: start(t, redis(true)), Etcd: start(t, peer.StartEtcd), Dial: d.dial,
	}
	var held []contender.Held
	contenders := append(contender.Redis(), contender.Etcd()...)
	for _, c := range contenders {
		h, err := c.Hold(t.Context(), e, 3)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		held = append(held, h)
	}
	time.Sleep(2 * e.TTL) // nothing else says that a TTL has passed
	for i, c := range contenders {
		if other, err := c.Hold(t.Context(), e, 1); err == nil {
			t.Errorf("%s: a key that is held was had: %v", c.Name, other.Close())
		}
		if err := held[i].Close(); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	time.Sleep(e.TTL)
	for _, c := range contenders {
		again, err := c.Hold(t.Context(), e, 1)
		if err != nil {
			t.Errorf("%s: a key that was held is not free: %v", c.Name, err)
			continue
		}
		if err := again.Close(); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}
