package manifest

import (
	"fmt"
	"slices"
	"strings"
)

// StartOrder is the order in which capsules start.
type StartOrder struct {
	Manifests []*Manifest
	// WaitsFor holds, for each of Manifests, the places in it of those that it
	// waits for, which export what it imports: ascending, all before its own.
	WaitsFor [][]int
	// Warnings are imports, not optional ones, that no capsule satisfies.
	Warnings Problems
	// Cycle is a *CycleError, or nil.
	Cycle error
}

// CycleError names capsules that wait for each other.
type CycleError struct {
	// Cycles each hold capsules of which every one imports from the next, and
	// the last from the first. There may be others behind them.
	Cycles [][]string
}

// Error is one line.
func (e *CycleError) Error() string {
	lines := make([]string, len(e.Cycles))
	for i, cycle := range e.Cycles {
		lines[i] = strings.Join(append(slices.Clone(cycle), cycle[0]), " -> ")
	}
	return "these capsules import from each other in a cycle: " + strings.Join(lines, "; ")
}

// Order puts uplink capsules first, then the others; within both, imports come
// after all exports that satisfy them, and otherwise what was discovered first
// comes first. No capsule satisfies an import of its own.
//
// Where imports form a cycle there is no such order: the group falls back to
// that of discovery, and no capsule waits for another of the group.
func Order(ms []*Manifest) StartOrder {
	g := newGraph(ms)
	var start StartOrder
	var order []int // of ms
	for _, uplink := range []bool{true, false} {
		var group []int
		for i, m := range ms {
			if m.Capabilities.Uplink == uplink {
				group = append(group, i)
			}
		}
		sorted, cycles := g.sort(group)
		if len(cycles) > 0 {
			start.Cycle = &CycleError{Cycles: cycles}
			for _, i := range group {
				g.exporters[i] = slices.DeleteFunc(g.exporters[i], func(j int) bool { return slices.Contains(group, j) })
			}
		}
		order = append(order, sorted...)
	}
	place := make([]int, len(ms))
	for at, i := range order {
		place[i] = at
	}
	for _, i := range order {
		var waits []int
		for _, j := range g.exporters[i] {
			if place[j] < place[i] {
				waits = append(waits, place[j])
			}
		}
		slices.Sort(waits)
		start.Manifests = append(start.Manifests, ms[i])
		start.WaitsFor = append(start.WaitsFor, waits)
	}
	start.Warnings = g.unsatisfied
	return start
}

// graph says who imports from whom, by places in the list of manifests.
type graph struct {
	manifests   []*Manifest
	exporters   [][]int // ascending, each once
	unsatisfied Problems
}

func newGraph(ms []*Manifest) *graph {
	type export struct {
		by      int
		version string
	}
	type name struct{ namespace, name string }
	exports := map[name][]export{}
	for i, m := range ms {
		for _, e := range m.Exports {
			key := name{e.Namespace, e.Name}
			exports[key] = append(exports[key], export{i, e.Version})
		}
	}
	g := &graph{manifests: ms, exporters: make([][]int, len(ms))}
	for i, m := range ms {
		for _, in := range m.Imports {
			wanted, err := parseRequirement(in.Requirement)
			satisfied := false
			var others []string
			for _, e := range exports[name{in.Namespace, in.Name}] {
				version, versionErr := parseVersion(e.version)
				switch {
				case e.by == i:
				case err == nil && versionErr == nil && wanted.allows(version):
					g.exporters[i] = append(g.exporters[i], e.by)
					satisfied = true
				default:
					others = append(others, fmt.Sprintf("%s exports %s", ms[e.by].ID(), e.version))
				}
			}
			if !satisfied && !in.Optional {
				message := fmt.Sprintf("no other capsule exports it in a version that meets %q", in.Requirement)
				if len(others) > 0 {
					message += " (" + strings.Join(others, ", ") + ")"
				}
				g.unsatisfied = append(g.unsatisfied, m.Problem(dotted([]string{"imports", in.Namespace, in.Name}), message))
			}
		}
		slices.Sort(g.exporters[i])
		g.exporters[i] = slices.Compact(g.exporters[i])
	}
	return g
}

// sort orders a group, which is ascending; cycles come back with the group as it was.
func (g *graph) sort(group []int) (sorted []int, cycles [][]string) {
	waits := map[int]int{} // how many exporters in the group are not in sorted yet
	importers := map[int][]int{}
	for _, i := range group {
		for _, j := range g.exporters[i] {
			if _, in := slices.BinarySearch(group, j); in {
				waits[i]++
				importers[j] = append(importers[j], i)
			}
		}
	}
	// ready is ascending: of those that may come next, the first discovered is.
	var ready []int
	for _, i := range group {
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		next := ready[0]
		ready = ready[1:]
		sorted = append(sorted, next)
		for _, i := range importers[next] {
			if waits[i]--; waits[i] == 0 {
				at, _ := slices.BinarySearch(ready, i)
				ready = slices.Insert(ready, at, i)
			}
		}
	}
	if len(sorted) == len(group) {
		return sorted, nil
	}
	return group, g.cycles(group, waits)
}

// cycles follows, from each capsule that could not be placed, the first of the
// capsules it waits for: every such walk ends in a cycle.
func (g *graph) cycles(group []int, waits map[int]int) [][]string {
	var found [][]string
	seen := map[int]bool{}
	for _, i := range group {
		var path []int
		for waits[i] > 0 && !seen[i] {
			seen[i] = true
			path = append(path, i)
			i = g.exporters[i][slices.IndexFunc(g.exporters[i], func(j int) bool { return waits[j] > 0 })]
		}
		if at := slices.Index(path, i); at >= 0 {
			var cycle []string
			for _, j := range path[at:] {
				cycle = append(cycle, g.manifests[j].ID())
			}
			found = append(found, cycle)
		}
	}
	return found
}
