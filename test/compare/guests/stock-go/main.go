// Command stock-go is a capsule built by Go's own compiler: it brings the whole
// of Go's run-time system into each instance. It answers true, and panics where
// its payload is "x".
package main

import "github.com/astrid-actors/astrid-actors/capsulehost/guest"

func init() {
	guest.Handle("ask", func(payload []byte) (guest.Result, error) {
		if string(payload) == `"x"` {
			panic("asked to")
		}
		return guest.Continue([]byte("true")), nil
	})
}

func main() {}
