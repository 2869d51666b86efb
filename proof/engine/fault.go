package engine

import (
	"context"
	"fmt"
	"syscall"
)

// Kill ends a node with SIGKILL, and returns when it has ended. It is then
// neither paused nor isolated any more. One that does not run stays so.
func (c *Cluster) Kill(ctx context.Context, node int) error {
	if err := c.nodes[node].server.kill(); err != nil {
		return fmt.Errorf("engine: %s: killing node %d: %w", c.kind.name, node, err)
	}
	c.mu.Lock()
	n := c.nodes[node]
	isolated := n.isolated
	n.down, n.paused, n.isolated = true, false, false
	c.mu.Unlock()
	if isolated {
		return c.group.heal(ctx, node)
	}
	return nil
}

// Restart starts a killed node again, on the same data and port, and returns
// when it is back in the group. That must have a quorum; else see [Cluster.Recover].
func (c *Cluster) Restart(ctx context.Context, node int) error {
	if !c.isDown(node) {
		return fmt.Errorf("engine: %s: node %d runs: Kill it before Restart", c.kind.name, node)
	}
	if len(c.nodes) > 1 && len(c.reachable()) == 0 {
		return fmt.Errorf("engine: %s: there is no node for node %d to join: bring all back with Recover", c.kind.name, node)
	}
	ctx, cancel := patience(ctx)
	defer cancel()
	if err := c.group.start(ctx, node); err != nil {
		return err
	}
	c.mu.Lock()
	c.nodes[node].down = false
	c.mu.Unlock()
	return c.await(ctx, []int{node}, func(v view) bool { return v.in })
}

func (c *Cluster) isDown(node int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[node].down
}

// Pause stops a node's process with SIGSTOP, and returns when it has stopped.
// The others see it fall silent, and so do its clients.
func (c *Cluster) Pause(node int) error {
	pid := c.Pid(node)
	if pid == 0 {
		return fmt.Errorf("engine: %s: node %d does not run in a process of ours: Restart it before Pause", c.kind.name, node)
	}
	c.mu.Lock()
	c.nodes[node].paused = true
	c.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("engine: %s: pausing node %d: %w", c.kind.name, node, err)
	}
	return awaitStopped(pid)
}

// Resume lets a paused node go on. If the group has expelled it meanwhile,
// [Cluster.Wait] makes it join again. One that is not paused goes on as it is.
func (c *Cluster) Resume(node int) error {
	c.mu.Lock()
	n := c.nodes[node]
	paused := n.paused
	n.paused = false
	c.mu.Unlock()
	if !paused {
		return nil
	}
	pid := n.server.pid()
	if pid == 0 {
		return fmt.Errorf("engine: %s: node %d has ended while it was paused, and not by Kill: see who did that", c.kind.name, node)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		return fmt.Errorf("engine: %s: resuming node %d: %w", c.kind.name, node, err)
	}
	return nil
}

// Isolate cuts a node off from the others while clients still reach it. What
// becomes of the group takes it some seconds. Galera does it itself
// (gmcast.isolate). The nodes of Group Replication talk through connections of
// this package, which then carry nothing; those of a recovery or a clone that is
// under way are the servers' own, and go on. A single server has nothing to be
// cut off from: [ErrNotPossible].
func (c *Cluster) Isolate(ctx context.Context, node int) error {
	if err := c.group.isolate(ctx, node); err != nil {
		return fmt.Errorf("engine: %s: isolating node %d: %w", c.kind.name, node, err)
	}
	c.mu.Lock()
	c.nodes[node].isolated = true
	c.mu.Unlock()
	return nil
}

// Heal ends what Isolate began, and returns when the node is in the group
// again. If it has been expelled, it is made to join.
func (c *Cluster) Heal(ctx context.Context, node int) error {
	if err := c.reconnect(ctx, node); err != nil {
		return err
	}
	return c.await(ctx, []int{node}, func(v view) bool { return v.in })
}

// reconnect connects an isolated node with the others.
func (c *Cluster) reconnect(ctx context.Context, node int) error {
	c.mu.Lock()
	isolated := c.nodes[node].isolated
	c.mu.Unlock()
	if !isolated {
		return nil
	}
	if err := c.group.heal(ctx, node); err != nil {
		return fmt.Errorf("engine: %s: healing node %d: %w", c.kind.name, node, err)
	}
	c.mu.Lock()
	c.nodes[node].isolated = false
	c.mu.Unlock()
	return nil
}
