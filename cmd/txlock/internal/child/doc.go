// Package child runs a command for as long as a lease is held: in a process group
// of its own, which is told to end, and then killed, before anyone else may start.
package child
