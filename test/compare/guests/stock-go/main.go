// Command stock-go is a capsule built by Go's own compiler: each instance contains the
// whole Go runtime. It returns true, and panics if its payload is "x".
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
