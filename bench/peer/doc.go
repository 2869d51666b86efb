// Package peer starts the servers that others keep their locks in, each private
// to this program: on free ports of 127.0.0.1, in directories that it removes.
package peer
