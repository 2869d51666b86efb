// Command txlock runs commands under a lease of gox-helix, and looks after the
// leases of a database: see `txlock help`.
package main

import "os"

func main() { os.Exit(execute(os.Args[1:])) }
