package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	// longWait is MySQL's and MariaDB's default.
	longWait = 50 // seconds

	// longGone is how long the locks of a vanished host may stay without a word.
	longGone = 600 // seconds
)

func (e *examination) waiting(context.Context) []Finding {
	return e.judged(subjectWaiting, "how locks wait", func(s settings) []Finding { return judgeWaiting(s, e.options.Config) })
}

func judgeWaiting(s settings, config *mysql.Config) (findings []Finding) {
	add := func(level Level, text, cure string) {
		findings = append(findings, Finding{level, subjectWaiting, text, cure})
	}
	wait, ok := s.number("innodb_lock_wait_timeout")
	readTimeout := time.Duration(0)
	if config != nil {
		readTimeout = config.ReadTimeout
	}
	switch {
	case !ok:
	case readTimeout > 0 && readTimeout <= time.Duration(wait)*time.Second:
		add(Warning, fmt.Sprintf("readTimeout in the DSN is %v, and innodb_lock_wait_timeout %s: a lock that waits for longer than the first looks like a lost connection, and its statement goes on waiting in the server", readTimeout, seconds(wait)),
			fmt.Sprintf("make the first longer, in the DSN: readTimeout=%ds; or the second shorter: innodb_lock_wait_timeout=%d", wait+10, max(1, min(wait, int64(readTimeout/time.Second))/2)))
	case wait >= longWait:
		add(Note, fmt.Sprintf("innodb_lock_wait_timeout is %s: for up to that long a lock waits in the server while another transaction has its key locked, and its caller and a connection with it", seconds(wait)),
			"add innodb_lock_wait_timeout=10, or what callers can bear, to the DSN of the programs; or acquire with txlock.NoWait(), or a context that ends")
	case wait == 0:
		add(Note, "innodb_lock_wait_timeout is 0: nothing waits for a row lock: Do, LockTx and the fences fail with ErrBusy wherever another transaction has the key's row locked", s.cure("innodb_lock_wait_timeout", "10"))
	}
	if detect, ok := s.global["innodb_deadlock_detect"]; ok && !isOn(detect) {
		add(Warning, "innodb_deadlock_detect is off: two transactions that wait for each other wait to the end of innodb_lock_wait_timeout, and fail with ErrBusy; Do and InTx run again only what the server aborts as a deadlock", s.setGlobal("innodb_deadlock_detect", "ON"))
	}
	if isOn(s.global["innodb_rollback_on_timeout"]) {
		add(Note, "innodb_rollback_on_timeout is on: a statement that waits in vain ends its whole transaction, and what a program still sends through it is committed at once, one by one; the locks send nothing more there",
			"in the programs, roll back after every error of a statement; or write innodb-rollback-on-timeout = OFF into the server's option file and restart it")
	}
	if after := s.noticesAfter(); after > longGone && !isLocal(config) {
		// Whoever has no Config may be anywhere.
		add(Note, fmt.Sprintf("a host that vanishes without closing its connections keeps the rows of its open transactions locked until the server notices: by TCP keepalive, about 2 hours on Linux unless it is set otherwise, or after %s (wait_timeout)", seconds(after)), s.cureOfGone())
	}
	return orOK(findings, subjectWaiting, fmt.Sprintf("a lock waits in the server for %s at most (innodb_lock_wait_timeout), and deadlocks are found at once", seconds(wait)))
}

// noticesAfter is for how many seconds a connection in a transaction may be silent.
func (s settings) noticesAfter() int64 {
	after, ok := s.number("wait_timeout")
	if !ok {
		return 0
	}
	// Where both are set, transactions that have written go by the second, and those
	// that have only fenced by the first.
	all, _ := s.number("idle_transaction_timeout")
	writing, _ := s.number("idle_write_transaction_timeout")
	keepalive, _ := s.number("tcp_keepalive_time")
	for _, n := range []int64{max(all, writing), keepalive} {
		if n > 0 { // 0 is none
			after = min(after, n)
		}
	}
	return after
}

func (s settings) cureOfGone() string {
	if _, ok := s.session["idle_transaction_timeout"]; ok {
		return s.setGlobal("idle_transaction_timeout", "300")
	}
	return "SET PERSIST wait_timeout = 600; -- and in the programs db.SetConnMaxIdleTime(5 * time.Minute), so that pools use no connection that the server has closed; or set the TCP keepalive of the server's machine (net.ipv4.tcp_keepalive_time)"
}

// isLocal reports that the pool's connections stay on this machine.
func isLocal(config *mysql.Config) bool {
	if config == nil {
		return false
	}
	if config.Net == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(config.Addr)
	if err != nil {
		host = config.Addr
	}
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}
