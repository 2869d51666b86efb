// Package goosetest holds the lockers of package migrations against goose's own
// contract for lockers, with the newest goose, in a module of its own: nobody who
// imports gox-helix inherits what that requires.
package goosetest
