// Command counter is a capsule that counts its calls. What it has answered, it never
// forgets: not when it crashes, and not when the host is killed.
package main

import (
	"fmt"
	"strconv"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
)

func init() { guest.Handle("count", count) }

func main() {}

// count adds one, for the principal on whose behalf it is called.
func count([]byte) (guest.Result, error) {
	text, err := guest.StateGet("count")
	if err != nil {
		return guest.Result{}, err
	}
	n := 0
	if len(text) > 0 {
		if n, err = strconv.Atoi(string(text)); err != nil {
			return guest.Result{}, fmt.Errorf("read the count: %w", err)
		}
	}
	n++
	if err := guest.StateSet("count", strconv.AppendInt(nil, int64(n), 10)); err != nil {
		return guest.Result{}, err
	}
	return guest.ContinueJSON(n)
}
