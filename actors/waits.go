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
	edges map[string]map[string]int // waiting -> awaited -> legs; empty ones are kept for the next trigger
}

// enter adds an edge, unless awaited already waits, directly or through others,
// for waiting; it then returns false.
func (w *waits) enter(waiting, awaited string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if awaited == waiting || (len(w.edges[awaited]) > 0 && w.reaches(awaited, waiting, map[string]bool{})) {
		return false
	}
	out := w.edges[waiting]
	if out == nil {
		if w.edges == nil {
			w.edges = map[string]map[string]int{}
		}
		out = map[string]int{}
		w.edges[waiting] = out
	}
	out[awaited]++
	return true
}

// leave removes one edge.
func (w *waits) leave(waiting, awaited string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.edges[waiting]
	if out[awaited]--; out[awaited] == 0 {
		delete(out, awaited)
	}
}

// count returns how many edges there are, one for each leg.
func (w *waits) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, out := range w.edges {
		for _, legs := range out {
			n += legs
		}
	}
	return n
}

// reaches reports whether from waits for to, directly or through others.
func (w *waits) reaches(from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	seen[from] = true
	for next := range w.edges[from] {
		if !seen[next] && w.reaches(next, to, seen) {
			return true
		}
	}
	return false
}
