package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
)

// StartOrder is the order in which capsules start.
type StartOrder struct {
	Manifests []*Manifest
	// WaitsFor lists, for each element of Manifests, the indices of those that it waits
	// for, because they export what it imports. They are ascending and before its own index.
	WaitsFor [][]int
	// Warnings are required imports that no capsule satisfies.
	Warnings Problems
	// Cycle is a *CycleError, or nil.
	Cycle error
}

// CycleError reports capsules that wait for each other.
type CycleError struct {
	// Each of Cycles lists capsules of which every one imports from the next, and the last
	// from the first. There may be more cycles than these.
	Cycles [][]string
}

// Error returns one line.
func (e *CycleError) Error() string {
	lines := make([]string, len(e.Cycles))
	for i, cycle := range e.Cycles {
		lines[i] = strings.Join(append(slices.Clone(cycle), cycle[0]), " -> ")
	}
	return "these capsules import from each other in a cycle: " + strings.Join(lines, "; ")
}

// Order returns uplink capsules first, then the others. Within each group, a capsule comes
// after all capsules whose exports satisfy its imports; otherwise the order is that of ms.
// A capsule never satisfies its own imports.
//
// If the imports of a group form a cycle, the group keeps the order of ms, and none of its
// capsules waits for another of the group.
func Order(ms []*Manifest) StartOrder {
	g := newGraph(ms)
	var start StartOrder
	var order []int // indices into ms
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

// graph holds who imports from whom, as indices into manifests.
type graph struct {
	manifests   []*Manifest
	exporters   [][]int // for each manifest, those it imports from: ascending, without duplicates
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
				g.unsatisfied = append(g.unsatisfied, m.Problem(tomlfile.Dotted([]string{"imports", in.Namespace, in.Name}), message))
			}
		}
		slices.Sort(g.exporters[i])
		g.exporters[i] = slices.Compact(g.exporters[i])
	}
	return g
}

// sort orders a group of ascending indices. If there are cycles, it returns them with the
// unchanged group.
func (g *graph) sort(group []int) (sorted []int, cycles [][]string) {
	waits := map[int]int{} // number of exporters in the group that are not yet in sorted
	importers := map[int][]int{}
	for _, i := range group {
		for _, j := range g.exporters[i] {
			if _, in := slices.BinarySearch(group, j); in {
				waits[i]++
				importers[j] = append(importers[j], i)
			}
		}
	}
	// ready is ascending, so that the first discovered capsule comes first.
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

// cycles finds a cycle from each capsule that could not be ordered, by following the first
// capsule that each one waits for. Every such walk ends in a cycle.
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
