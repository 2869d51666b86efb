package engine

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// awaitStopped returns when SIGSTOP has been acted on.
func awaitStopped(pid int) error {
	const limit = 10 * time.Second
	deadline := time.Now().Add(limit)
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return fmt.Errorf("engine: pid %d ended while it was paused: %w", pid, err)
		}
		// After the name, which may have any character in it.
		if state := string(stat[strings.LastIndexByte(string(stat), ')')+1:]); strings.HasPrefix(state, " T") {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("engine: pid %d has not stopped within %s of SIGSTOP", pid, limit)
		}
		time.Sleep(time.Millisecond) // nothing tells it to who is not the debugger
	}
}

// owner is the place in pids of the process at the other end of a connection
// on this machine, or -1.
func owner(conn *net.TCPConn, pids []int) int {
	inode := peerInode(conn)
	if inode == "" {
		return -1
	}
	want := "socket:[" + inode + "]"
	for i, pid := range pids {
		if pid == 0 {
			continue
		}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if target, err := os.Readlink(fd); err == nil && target == want {
				return i
			}
		}
	}
	return -1
}

// peerInode is the kernel's number of the socket at the other end, or empty.
func peerInode(conn *net.TCPConn) string {
	local, peer := tableAddr(conn.LocalAddr()), tableAddr(conn.RemoteAddr())
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 9 && f[1] == peer && f[2] == local {
			return f[9]
		}
	}
	return ""
}

// tableAddr writes an address as /proc/net/tcp does on little-endian machines.
func tableAddr(addr net.Addr) string {
	a, ok := addr.(*net.TCPAddr)
	if !ok {
		return ""
	}
	ip := a.IP.To4()
	if ip == nil {
		return ""
	}
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], a.Port)
}
