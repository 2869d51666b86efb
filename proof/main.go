// The proof drives the public API of gox-helix from several processes while
// faults are injected, and checks what they saw.
package main

func main() {}
