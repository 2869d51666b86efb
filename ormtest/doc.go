// Package ormtest tests txlock.FencedConnector under data layers that know nothing
// of it, on real servers. It is a module of its own, so that their dependencies are
// no one else's.
package ormtest
