// Package fuzz has tests that look for what nobody thought of: fuzz targets for
// keys, owners and times to live, a state machine whose model says what each step
// in a transaction must answer, and a failure of every kind at every call that
// package txlock makes to the driver.
//
// All run with go test; there the fuzz targets run their seeds, and the state machine
// three hundred histories an engine. To look for longer:
//
//	go test -run '^$' -fuzz '^FuzzNames$' -fuzztime 10m -fuzzminimizetime 1x -parallel 1 ./fuzz
//	go test -run '^TestMachine$' -rapid.checks 5000 ./fuzz
//
// (The coverage of inputs that a server answers is never twice the same, so that Go
// would spend a minute on making each new one smaller, in vain. Each parallel worker has
// servers of its own.)
//
// A history that fails is written to testdata/rapid, and shrunk; rapid.failfile runs
// it again.
package fuzz
