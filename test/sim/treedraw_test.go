package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// clock has each act of one actor of the simulation happen at a moment of its own. So
// whatever happens has one cause: if there were two, it would depend on the order of
// goroutines, which no seed determines.
type clock struct{ last atomic.Int64 }

// tick is the distance of the moments that an act may choose from. Each chooses with
// another offset.
const tick = 1 << 20

// clock returns that of another actor: one of 16, each with 1<<16 acts at most.
func (f *forest) clock() *clock {
	c := &clock{}
	c.last.Store(f.clocks << 16)
	f.clocks++
	return c
}

// pause waits for at least d; it returns false if it was interrupted.
func (c *clock) pause(ctx context.Context, d time.Duration) bool {
	now := time.Now()
	timer := time.NewTimer(d + tick - time.Duration(now.Add(d).UnixNano()%tick-c.last.Add(1)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *clock) sleep(d time.Duration) { c.pause(context.Background(), d) }

// ticks rounds a duration up, for a timer of the host: it ends with the offset with which
// it began.
func ticks(d time.Duration) time.Duration { return (d + tick - 1) / tick * tick }

// treeMember is a *treeGroup or a *treeCapsule.
type treeMember interface {
	called() string
	// places visits those of the instances, in start order.
	places(visit func(*place))
	describe() string
}

// treeGroup is a group as it was drawn, with what the audit knows of it. A pool is one,
// too.
type treeGroup struct {
	name        string
	parent      *treeGroup // nil: the top
	members     []treeMember
	strategy    supervisor.Strategy
	auto        supervisor.AutoShutdown
	budget      int
	window      time.Duration
	significant map[string]bool

	// Deaths in it, and its own deaths for the group around it.
	spent, failures deaths
}

// treeCapsule is a capsule as it was drawn. A pool has most instances at most, and least at
// least; another capsule has 0 of both.
type treeCapsule struct {
	f           *forest
	id          string
	parent      *treeGroup
	mode        supervisor.RestartMode
	budget      int
	window      time.Duration
	least, most int
	ordered     bool
	pool        *treeGroup // whose slots are the instances; nil without one

	clock  *clock
	loads  atomic.Uint64
	living atomic.Int64 // instances
	busy   atomic.Int64 // those that serve a call
	mu     sync.Mutex
	served map[string]int

	all []*place // the audit's; by number
}

func (g *treeGroup) called() string   { return g.name }
func (c *treeCapsule) called() string { return c.id }

func (g *treeGroup) places(visit func(*place)) {
	for _, m := range g.members {
		m.places(visit)
	}
}

func (c *treeCapsule) places(visit func(*place)) {
	for _, p := range c.all {
		visit(p)
	}
}

// within reports whether g is other or below it.
func (g *treeGroup) within(other *treeGroup) bool {
	for ; g != nil; g = g.parent {
		if g == other {
			return true
		}
	}
	return false
}

func (g *treeGroup) path() string {
	path := "capsules/"
	var names []string
	for ; g != nil && g.parent != nil; g = g.parent {
		names = append([]string{g.name}, names...)
	}
	return path + strings.Join(names, "/")
}

func (g *treeGroup) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, " %s:%s/%s/%d in %v[", g.name, g.strategy, g.auto, g.budget, g.window)
	for _, m := range g.members {
		b.WriteString(m.describe())
		if g.significant[m.called()] {
			b.WriteString("!")
		}
	}
	return b.String() + " ]"
}

func (c *treeCapsule) describe() string {
	pool := ""
	if c.most > 0 {
		pool = fmt.Sprintf("(%d-%d)", c.least, c.most)
	}
	return fmt.Sprintf(" %s:%s/%d in %v%s", c.id, c.mode, c.budget, c.window, pool)
}

// draw draws the configuration and the tree.
func (f *forest) draw() {
	r := f.rng("tree", 0)
	f.cfg = supervisor.Config{
		Home: f.home, Log: slog.New(slog.DiscardHandler), EventsKept: 1 << 16,
		TriggerTimeout: time.Hour, CallTimeout: time.Minute, StopTimeout: ticks(time.Second), LoadTimeout: time.Minute,
		Restart:   supervisor.RestartPolicy{Budget: pick(r, 1, 2, 5, 50), Window: between(r, time.Second, time.Minute), InitialBackoff: pick(r, -1, 10*ms, time.Second), MaxBackoff: 4 * time.Second},
		OnFailure: pick(r, supervisor.KeepServing, supervisor.KeepServing, supervisor.KeepServing, supervisor.Exit),
	}
	f.top = &treeGroup{strategy: supervisor.OneForOne, budget: f.cfg.Restart.Budget, window: f.cfg.Restart.Window}
	f.drawMembers(r, f.top, 0)
	for _, g := range f.groups {
		f.cfg.Supervisors = append(f.cfg.Supervisors, f.spec(r, g))
	}
	for _, c := range f.capsules {
		f.cfg.Capsules = append(f.cfg.Capsules, supervisor.Capsule{Manifest: c.manifest(r), Load: c.load})
	}
}

func (f *forest) drawMembers(r *rand.Rand, g *treeGroup, depth int) {
	for n := range 1 + r.IntN(3) {
		if len(f.capsules) > 8 {
			return
		}
		if depth < 4 && chance(r, 45) && len(f.capsules) < 8 || depth == 0 && n == 0 {
			sub := &treeGroup{
				name: fmt.Sprintf("g%d", len(f.groups)), parent: g,
				strategy: pick(r, supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne),
				budget:   pick(r, 1, 2, 5, 50), window: between(r, time.Second, time.Minute), significant: map[string]bool{},
			}
			f.groups = append(f.groups, sub)
			g.members = append(g.members, sub)
			f.drawMembers(r, sub, depth+1)
			continue
		}
		c := f.drawCapsule(r, g)
		f.capsules = append(f.capsules, c)
		g.members = append(g.members, c)
	}
}

func (f *forest) drawCapsule(r *rand.Rand, g *treeGroup) *treeCapsule {
	c := &treeCapsule{
		f: f, id: fmt.Sprintf("c%d", len(f.capsules)), parent: g, clock: f.clock(),
		mode:   pick(r, supervisor.Permanent, supervisor.Permanent, supervisor.Permanent, supervisor.Transient, supervisor.Temporary),
		budget: pick(r, 1, 2, 5, 50, 50), window: between(r, time.Second, time.Minute), served: map[string]int{},
	}
	if c.mode == supervisor.Permanent && chance(r, 30) {
		c.least, c.most = pick(r, 0, 1, 2, 2), 2+r.IntN(2)
		if chance(r, 50) {
			c.least = c.most
		}
		c.ordered = chance(r, 40)
		c.pool = &treeGroup{name: c.id, parent: g, strategy: supervisor.OneForOne, budget: c.budget, window: c.window, members: []treeMember{c}}
	}
	return c
}

// spec draws the rest of a group: which of its children are significant.
func (f *forest) spec(r *rand.Rand, g *treeGroup) supervisor.Group {
	spec := supervisor.Group{
		Name: g.name, Strategy: g.strategy, Budget: g.budget, Window: g.window,
		InitialBackoff: pick(r, -1, -1, 10*ms, time.Second), MaxBackoff: 4 * time.Second,
	}
	for _, m := range g.members {
		spec.Children = append(spec.Children, m.called())
		c, isCapsule := m.(*treeCapsule)
		if chance(r, 40) && (!isCapsule || c.mode != supervisor.Permanent) {
			g.significant[m.called()] = true
			spec.Significant = append(spec.Significant, m.called())
		}
	}
	g.auto = "never"
	if len(spec.Significant) > 0 {
		g.auto = pick[supervisor.AutoShutdown](r, "any", "all")
	}
	spec.AutoShutdown = g.auto
	return spec
}

func (c *treeCapsule) manifest(r *rand.Rand) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("[package]\nname = %q\nversion = \"1.0.0\"\n[[component]]\nid = \"main\"\nfile = \"module.wasm\"", c.id)
	for _, topic := range []string{"all", "ask." + c.id} {
		say("[[interceptor]]\nevent = %q\naction = \"act\"", topic)
		if c.ordered {
			say("ordered_by = \"principal\"")
		}
	}
	say("[supervision]\nrestart = %q\nbudget = %d\nwindow = %q\nbackoff_initial = %q\nbackoff_max = \"4s\"\nstop_timeout = %q",
		c.mode, c.budget, c.window, pick(r, 1*ms, 10*ms, time.Second), ticks(between(r, 1*ms, time.Second)))
	switch {
	case c.most > c.least:
		say("instances = \"%d-%d\"\nidle_timeout = %q", c.least, c.most, ticks(between(r, 100*ms, 10*time.Second)))
	case c.most > 0:
		say("instances = %d", c.most)
	}
	return b.String()
}

func (c *treeCapsule) servedBy(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served[name]
}

// load creates instances, some of the time.
func (c *treeCapsule) load(ctx context.Context, _ capsulehost.HostAPI) (supervisor.Guest, error) {
	r := c.f.rng(c.id+" load", c.loads.Add(1))
	traps := chance(r, 4) && !c.f.calm.Load()
	if (traps || chance(r, 15)) && !c.clock.pause(ctx, between(r, 0, 300*ms)) {
		return nil, interrupted(ctx)
	}
	if traps {
		return nil, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "trap in the load"}
	}
	c.living.Add(1)
	return &treeGuest{c: c}, nil
}

// treeGuest is one instance.
type treeGuest struct {
	c    *treeCapsule
	over atomic.Bool
}

func (*treeGuest) RunLoop() bool             { return false }
func (*treeGuest) MemoryBytes() uint64       { return 0 }
func (*treeGuest) Run(context.Context) error { return nil }

func (g *treeGuest) Close(context.Context) error {
	if !g.over.Swap(true) {
		g.c.living.Add(-1)
	}
	return nil
}

func (g *treeGuest) Invoke(ctx context.Context, _ string, payload []byte) (capsulehost.Result, error) {
	if n := g.c.busy.Add(1); n > int64(max(1, g.c.most)) {
		g.c.f.Errorf("%d instances of %s serve at once", n, g.c.id)
	}
	defer g.c.busy.Add(-1)
	var name string
	_ = json.Unmarshal(payload, &name)
	g.c.mu.Lock()
	g.c.served[name]++
	g.c.mu.Unlock()
	r := g.c.f.rng(g.c.id+" "+name, 0)
	what := r.IntN(100)
	if what >= 97 && strings.HasPrefix(name, everybody) || g.c.f.calm.Load() {
		what = 0
	}
	if what >= 97 {
		<-ctx.Done()
		return capsulehost.Result{}, interrupted(ctx)
	}
	if what >= 55 && !g.c.clock.pause(ctx, between(r, 0, pick(r, 10*ms, time.Second))) {
		return capsulehost.Result{}, interrupted(ctx)
	}
	switch {
	case what >= 90:
		return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindExit, Message: "exit 0"}
	case what >= 75:
		return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "trap"}
	}
	data, err := json.Marshal(g.c.id + " " + name)
	return capsulehost.Result{Data: data}, err
}
