package actors

import "sync"

// waits is the graph of which capsule waits for which: an edge for each leg of
// a trigger that a capsule has made and that is not answered yet. A capsule
// serves one call at a time and waits for all legs of its trigger, so a leg
// that would close a cycle is exactly a deadlock.
//
// The goroutine that asks adds edges; the one that answers a leg removes its edge,
// before it does anything else, so that its next trigger finds the edge gone. The
// zero value is empty.
type waits struct {
	mu    sync.Mutex
	edges int
}

// waitNode is a capsule in the graph. The zero value waits for nobody.
type waitNode struct{ first *waitEdge } // guarded by waits.mu

// waitEdge is one leg that a capsule waits for, in the list of all of them.
type waitEdge struct {
	to             *waitNode
	previous, next *waitEdge
}

// enter adds an edge, which is zero, unless awaited already waits, directly or
// through others, for waiting; it then returns false.
func (w *waits) enter(e *waitEdge, waiting, awaited *waitNode) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if awaited == waiting || awaited.first != nil && awaited.reaches(waiting, map[*waitNode]bool{}) {
		return false
	}
	e.to, e.next = awaited, waiting.first
	if e.next != nil {
		e.next.previous = e
	}
	waiting.first = e
	w.edges++
	return true
}

// leave removes an edge, if it was added.
func (w *waits) leave(e *waitEdge, waiting *waitNode) {
	if e.to == nil {
		return // it was never added: the leg waits at its pool
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.next != nil {
		e.next.previous = e.previous
	}
	if e.previous != nil {
		e.previous.next = e.next
	} else {
		waiting.first = e.next
	}
	w.edges--
	*e = waitEdge{}
}

// count returns how many edges there are, one for each leg.
func (w *waits) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.edges
}

// reaches reports whether w waits for to, directly or through others.
func (w *waitNode) reaches(to *waitNode, seen map[*waitNode]bool) bool {
	if w == to {
		return true
	}
	seen[w] = true
	for e := w.first; e != nil; e = e.next {
		if !seen[e.to] && e.to.reaches(to, seen) {
			return true
		}
	}
	return false
}
