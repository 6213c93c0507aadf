package actors

import (
	"testing"

	"pgregory.net/rapid"
)

func TestWaitsRefuseWhatClosesACycle(t *testing.T) {
	var w waits
	capsules := map[string]*waitNode{"a": {}, "b": {}, "c": {}, "d": {}}
	enter := func(from, to string, want bool) *waitEdge {
		t.Helper()
		e := &waitEdge{}
		if got := w.enter(e, capsules[from], capsules[to]); got != want {
			t.Errorf("enter(%s, %s) = %v, want %v", from, to, got, want)
		}
		return e
	}
	enter("a", "a", false)
	first := enter("a", "b", true)
	enter("b", "a", false)
	enter("b", "c", true)
	enter("c", "a", false)
	enter("c", "d", true)
	second := enter("a", "b", true) // another leg to the same capsule
	w.leave(first, capsules["a"])
	enter("c", "a", false) // the second leg is still awaited
	w.leave(second, capsules["a"])
	enter("c", "a", true)
	if got := w.count(); got != 3 {
		t.Errorf("count() = %d, want 3", got)
	}
}

// Whatever is entered and left, the graph never holds a cycle, refuses nothing
// that would not close one, and is empty when all have left.
func TestWaitsNeverHoldACycle(t *testing.T) {
	type leg struct {
		from, to int
		edge     *waitEdge
	}
	node := rapid.IntRange(0, 5)
	rapid.Check(t, func(t *rapid.T) {
		var w waits
		var capsules [6]waitNode
		var held []leg
		reachable := func(from, to int) bool {
			seen, todo := map[int]bool{from: true}, []int{from}
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
				w.leave(held[i].edge, &capsules[held[i].from])
				held = append(held[:i:i], held[i+1:]...)
				continue
			}
			e := leg{node.Draw(t, "from"), node.Draw(t, "to"), &waitEdge{}}
			closes := reachable(e.to, e.from)
			if w.enter(e.edge, &capsules[e.from], &capsules[e.to]) == closes {
				t.Fatalf("enter(%v) with %v held: closes a cycle: %v", e, held, closes)
			}
			if !closes {
				held = append(held, e)
			}
		}
		for _, e := range held {
			w.leave(e.edge, &capsules[e.from])
		}
		if w.count() != 0 {
			t.Fatalf("%d edges left over", w.edges)
		}
	})
}
