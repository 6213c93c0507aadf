package supervisor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
)

// Group is a supervisor below that of all capsules: it restarts its children by a
// strategy, and fails if they die too often. Its failure is a death for the supervisor
// around it.
type Group struct {
	// Name is one or more of a-z 0-9 -, and no capsule's id.
	Name string
	// Strategy decides which children are restarted when one dies; "" means OneForOne.
	Strategy Strategy
	// Children are ids of capsules and names of other groups, in start order. Each starts
	// when the one before it is ready; they stop in reverse order. A child is in one
	// group only.
	Children []string
	// Budget is how many deaths of its children are allowed in Window; at the next one
	// the group fails. 0 means 5, a negative number none. A child that fails for good,
	// since its own restart budget is spent, makes the group fail, too.
	Budget int
	// Window is the time over which deaths are counted; 0 means 60 s.
	Window time.Duration
	// InitialBackoff and MaxBackoff delay the restarts of a group whose strategy restarts
	// several children, and those of groups in it, as in RestartPolicy.
	InitialBackoff, MaxBackoff time.Duration
	// Significant are children whose end may stop the group: see AutoShutdown. A capsule
	// must be transient or temporary, or it would never end by itself.
	Significant []string
	// AutoShutdown stops the group when significant children have ended by themselves;
	// "" means ShutdownAny if there are some.
	AutoShutdown AutoShutdown
	// Source is where the group is declared, such as "actors.toml:12"; problems with it
	// begin with this. "" means Config.Supervisors.
	Source string
}

// Strategy decides which children a group restarts when one dies.
type Strategy = actors.Strategy

// The strategies, in OTP's words.
const (
	OneForOne  = actors.OneForOne
	OneForAll  = actors.OneForAll
	RestForOne = actors.RestForOne
)

// AutoShutdown decides when a group stops because significant children have ended.
type AutoShutdown = actors.AutoShutdown

// The settings of automatic shutdown, in OTP's words.
const (
	ShutdownNever = actors.ShutdownNever
	ShutdownAny   = actors.ShutdownAny
	ShutdownAll   = actors.ShutdownAll
)

// OnFailure decides what follows when a capsule or group that is in no other group fails
// for good.
type OnFailure string

// The settings.
const (
	KeepServing OnFailure = "keep" // the others go on
	Exit        OnFailure = "exit" // Serve returns an error that matches ErrEscalated
)

// ErrEscalated: a capsule or group failed for good, and Config.OnFailure is Exit. The
// error names the chain of causes.
var ErrEscalated = errors.New("a failure has escalated")

// TreeError lists everything that is wrong with Config.Supervisors, for the capsules that
// there are.
type TreeError struct{ Problems []error }

// Error returns a line for each problem.
func (e *TreeError) Error() string { return errors.Join(e.Problems...).Error() }

// spec converts a group.
func (g *Group) spec() actors.GroupSpec {
	spec := actors.GroupSpec{
		Name: g.Name, Strategy: g.Strategy, Children: slices.Clone(g.Children),
		Restart: RestartPolicy{
			Budget: g.Budget, Window: g.Window, InitialBackoff: g.InitialBackoff, MaxBackoff: g.MaxBackoff,
		},
		Significant: slices.Clone(g.Significant), AutoShutdown: g.AutoShutdown,
	}
	if spec.Strategy == "" {
		spec.Strategy = OneForOne
	}
	if spec.AutoShutdown == "" {
		spec.AutoShutdown = ShutdownNever
		if len(spec.Significant) > 0 {
			spec.AutoShutdown = ShutdownAny
		}
	}
	return spec
}

// groups is the declared tree, while it is checked and afterwards.
type groups struct {
	all    []Group
	byName map[string]*Group
	parent map[string]*Group // of capsules and groups
	found  []error
}

func newGroups(all []Group) *groups {
	t := &groups{all: slices.Clone(all), byName: map[string]*Group{}, parent: map[string]*Group{}}
	for i := range t.all {
		g := &t.all[i]
		if t.byName[g.Name] == nil {
			t.byName[g.Name] = g
		}
		for _, child := range g.Children {
			if t.parent[child] == nil {
				t.parent[child] = g
			}
		}
	}
	return t
}

// path returns the place in the tree of a capsule or group.
func (t *groups) path(name string) string {
	path := name
	for g := t.parent[name]; g != nil; g = t.parent[g.Name] {
		path = g.Name + "/" + path
	}
	return actors.CapsulesPath + "/" + path
}

// specs returns the groups for the capsules supervisor.
func (t *groups) specs() []actors.GroupSpec {
	var out []actors.GroupSpec
	for i := range t.all {
		out = append(out, t.all[i].spec())
	}
	return out
}

// wrong adds a problem with a group.
func (t *groups) wrong(g *Group, format string, args ...any) {
	problem := fmt.Sprintf("supervisor %q: %s", g.Name, fmt.Sprintf(format, args...))
	if g.Source == "" {
		t.found = append(t.found, errors.New("config: "+problem))
	} else {
		t.found = append(t.found, fmt.Errorf("%s: %s", g.Source, problem))
	}
}

// problems returns everything that is wrong with the groups.
func (t *groups) problems(c *catalog.Catalog, mode func(*manifest.Manifest) RestartMode) []error {
	capsules, rejected := map[string]*catalog.Entry{}, map[string]error{}
	for i := range c.Entries {
		capsules[c.Entries[i].Manifest.ID()] = &c.Entries[i]
	}
	for _, r := range c.Rejected {
		if capsules[r.ID] == nil {
			rejected[r.ID] = r.Err
		}
	}
	for i := range t.all {
		g := &t.all[i]
		t.checkSettings(g)
		if capsules[g.Name] != nil || rejected[g.Name] != nil {
			t.wrong(g, "a capsule has the same name")
		}
		seen := map[string]bool{}
		for _, child := range g.Children {
			switch e := capsules[child]; {
			case seen[child]:
				t.wrong(g, "child %q is listed twice", child)
			case t.parent[child] != g:
				t.wrong(g, "child %q is in supervisor %q already", child, t.parent[child].Name)
			case rejected[child] != nil:
				t.wrong(g, "child %q: its manifest was rejected: %v", child, rejected[child])
			case e == nil && t.byName[child] == nil:
				t.wrong(g, "child %q: there is no capsule and no supervisor of this name", child)
			case e != nil && slices.Contains(g.Significant, child) && mode(e.Manifest) == Permanent:
				t.wrong(g, "significant child %q has restart = %q: it never ends by itself; make it transient or temporary", child, Permanent)
			}
			seen[child] = true
		}
		t.checkCycle(g)
	}
	if len(t.found) == 0 {
		t.checkOrder(capsules)
	}
	return t.found
}

// checkSettings checks the settings that concern no other group.
func (t *groups) checkSettings(g *Group) {
	if !home.ValidCapsule(g.Name) {
		t.wrong(g, "the name must be one or more of a-z 0-9 -")
	} else if t.byName[g.Name] != g {
		t.wrong(g, "there is another supervisor of this name")
	}
	if !slices.Contains([]Strategy{"", OneForOne, OneForAll, RestForOne}, g.Strategy) {
		t.wrong(g, "strategy is %q: it is one of %s, %s, %s", g.Strategy, OneForOne, OneForAll, RestForOne)
	}
	if !slices.Contains([]AutoShutdown{"", ShutdownNever, ShutdownAny, ShutdownAll}, g.AutoShutdown) {
		t.wrong(g, "auto_shutdown is %q: it is one of %s, %s, %s", g.AutoShutdown, ShutdownNever, ShutdownAny, ShutdownAll)
	}
	if len(g.Children) == 0 {
		t.wrong(g, "it has no children")
	}
	for _, child := range g.Significant {
		if !slices.Contains(g.Children, child) {
			t.wrong(g, "significant child %q is not one of its children", child)
		}
	}
	switch automatic := g.AutoShutdown == ShutdownAny || g.AutoShutdown == ShutdownAll; {
	case automatic && len(g.Significant) == 0:
		t.wrong(g, "auto_shutdown is %q, and no child is significant", g.AutoShutdown)
	case g.AutoShutdown == ShutdownNever && len(g.Significant) > 0:
		t.wrong(g, "children are significant, and auto_shutdown is %q", g.AutoShutdown)
	}
	for field, d := range map[string]time.Duration{"window": g.Window, "backoff_max": g.MaxBackoff} {
		if d < 0 {
			t.wrong(g, "%s is %v: it can't be negative", field, d)
		}
	}
}

// checkCycle checks that a group is not below itself. Of each cycle only the first group
// reports it.
func (t *groups) checkCycle(g *Group) {
	names := []string{g.Name}
	for p := t.parent[g.Name]; p != nil && !slices.Contains(names[1:], p.Name); p = t.parent[p.Name] {
		names = append(names, p.Name)
		if p == g {
			slices.Reverse(names)
			t.wrong(g, "it is below itself: %s", strings.Join(names, " > "))
			return
		}
	}
}

// checkOrder checks that the order of children and what capsules wait for, since they
// import from it, agree.
func (t *groups) checkOrder(capsules map[string]*catalog.Entry) {
	before := map[string][]string{} // what each capsule starts after
	for id, e := range capsules {
		before[id] = slices.Clone(e.WaitsFor)
	}
	in := map[string]*Group{} // the outermost group of each capsule
	for i := range t.all {
		outer := &t.all[i]
		if t.parent[outer.Name] != nil {
			continue
		}
		order := t.capsules(outer)
		for n, id := range order {
			in[id] = outer
			if n > 0 {
				before[id] = append(before[id], order[n-1])
			}
			for _, later := range order[n+1:] {
				if slices.Contains(capsules[id].WaitsFor, later) {
					t.wrong(outer, "children start %s before %s, and %s waits for %s: it imports from it, or %s is an uplink",
						id, later, id, later, later)
				}
			}
		}
	}
	if len(t.found) > 0 {
		return
	}
	if cycle := findCycle(before); cycle != nil {
		for _, id := range cycle {
			if in[id] != nil {
				t.wrong(in[id], "the order of children and the imports of capsules contradict each other: %s", strings.Join(cycle, " after "))
				return
			}
		}
	}
}

// outermost returns the groups that are in no other.
func (t *groups) outermost() []*Group {
	var out []*Group
	for i := range t.all {
		if g := &t.all[i]; t.parent[g.Name] == nil {
			out = append(out, g)
		}
	}
	return out
}

// capsules returns the capsules below a group, in start order.
func (t *groups) capsules(g *Group) []string {
	var out []string
	for _, child := range g.Children {
		if sub := t.byName[child]; sub != nil {
			out = append(out, t.capsules(sub)...)
		} else {
			out = append(out, child)
		}
	}
	return out
}

// findCycle returns names of which each starts after the next, and the last is the first
// again; nil if there is no cycle.
func findCycle(before map[string][]string) []string {
	const visiting, done = 1, 2
	state := map[string]int{}
	var path []string
	var visit func(id string) []string
	visit = func(id string) []string {
		switch state[id] {
		case done:
			return nil
		case visiting:
			return append(slices.Clone(path[slices.Index(path, id):]), id)
		}
		state[id] = visiting
		path = append(path, id)
		for _, other := range before[id] {
			if cycle := visit(other); cycle != nil {
				return cycle
			}
		}
		path, state[id] = path[:len(path)-1], done
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if cycle := visit(id); cycle != nil {
			return cycle
		}
	}
	return nil
}

// shown returns the groups as snapshots show them, each before those in it.
func (t *groups) shown() []*messages.Supervisor {
	var out []*messages.Supervisor
	var show func(g *Group)
	show = func(g *Group) {
		spec := g.spec()
		policy := spec.Restart.WithDefaults()
		out = append(out, &messages.Supervisor{
			Path: t.path(g.Name), Name: g.Name, Strategy: string(spec.Strategy), Children: spec.Children,
			Significant: spec.Significant, AutoShutdown: string(spec.AutoShutdown),
			Budget: uint32(policy.Budget), Window: policy.Window, //nolint:gosec // not negative
		})
		for _, child := range g.Children {
			if sub := t.byName[child]; sub != nil {
				show(sub)
			}
		}
	}
	for i := range t.all {
		if g := &t.all[i]; t.parent[g.Name] == nil {
			show(g)
		}
	}
	return out
}
