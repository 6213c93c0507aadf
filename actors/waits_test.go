package actors

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestWaitsRefuseWhatClosesACycle(t *testing.T) {
	var w waits
	enter := func(from, to string, want bool) {
		t.Helper()
		if got := w.enter(from, to); got != want {
			t.Errorf("enter(%s, %s) = %v, want %v", from, to, got, want)
		}
	}
	enter("a", "a", false)
	enter("a", "b", true)
	enter("b", "a", false)
	enter("b", "c", true)
	enter("c", "a", false)
	enter("c", "d", true)
	enter("a", "b", true) // a second leg to the same capsule
	w.leave("a", "b")
	enter("c", "a", false) // the first leg is still awaited
	w.leave("a", "b")
	enter("c", "a", true)
	if got := w.count(); got != 3 {
		t.Errorf("count() = %d, want 3", got)
	}
}

// Whatever is entered and left, the graph never holds a cycle, refuses nothing
// that would not close one, and is empty when all have left.
func TestWaitsNeverHoldACycle(t *testing.T) {
	type edge struct{ from, to string }
	node := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "node")) })
	rapid.Check(t, func(t *rapid.T) {
		var w waits
		var held []edge
		reachable := func(from, to string) bool {
			seen, todo := map[string]bool{from: true}, []string{from}
			for len(todo) > 0 {
				at := todo[0]
				todo = todo[1:]
				if at == to {
					return true
				}
				for _, e := range held {
					if e.from == at && !seen[e.to] {
						seen[e.to] = true
						todo = append(todo, e.to)
					}
				}
			}
			return false
		}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "leave") {
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				w.leave(held[i].from, held[i].to)
				held = append(held[:i:i], held[i+1:]...)
				continue
			}
			e := edge{node.Draw(t, "from"), node.Draw(t, "to")}
			closes := reachable(e.to, e.from)
			if w.enter(e.from, e.to) == closes {
				t.Fatalf("enter(%v) with %v held: closes a cycle: %v", e, held, closes)
			}
			if !closes {
				held = append(held, e)
			}
		}
		for _, e := range held {
			w.leave(e.from, e.to)
		}
		if w.count() != 0 {
			t.Fatalf("edges left over: %v", w.edges)
		}
	})
}
