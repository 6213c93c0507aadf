package actors

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/messages"
)

// This file is the capsules supervisor's part in pools. A pool is a group whose slots are
// the instances of one capsule, in no order: one for one, with the capsule's budget for
// all of them together. If it is spent the capsule fails, as one without a pool does.

// crew is what the supervisor knows of a pool, besides its group.
type crew struct {
	*Pool
	spec    ChildSpec   // of instances to come
	idle    *time.Timer // for idleDue; nil without one
	rolling *rolling    // an upgrade or a restart, one instance after the other; nil without one
	off     bool        // stopped or failed: it does not grow
	failed  bool        // off, since its budget was spent
	removed func()      // answers who wants it removed; nil if nobody does
}

func (c *crew) elastic() bool {
	size := c.Size()
	return size.Max > size.Min
}

// enterPool adds a pool to the supervisor's state, with its first instances.
func (s *supervisor) enterPool(spec ChildSpec) *group {
	p := spec.Pool
	g := newGroup(p.ID(), nil, OneForOne, spec.Restart)
	g.crew = &crew{Pool: p, spec: spec}
	s.placeMember(g)
	s.groups[g.name] = g
	p.grow = func() { s.System.Send(s.System.PID(SupervisorPath), &growDue{g}) }
	for n := range p.Size().Min {
		s.enterInstance(g, n+1)
	}
	return g
}

// enterInstance adds one instance of a pool.
func (s *supervisor) enterInstance(g *group, number int) *child {
	spec := g.crew.spec
	spec.Ref = g.crew.instance(number)
	if v := g.crew.Version(); spec.Ref.Version() != v { // it was stopped before an upgrade
		spec.Ref.setVersion(v)
	}
	spec.Pool, spec.Removed = nil, nil
	c := newChild(spec)
	c.pool, c.parent = g, g
	c.restarts.policy.Budget = unlimited
	at := slices.IndexFunc(g.members, func(m member) bool { return numberOf(m.base().name) > number })
	if at < 0 {
		at = len(g.members)
	}
	g.members = slices.Insert(g.members, at, member(c.slot))
	s.children, s.byID[c.id] = append(s.children, c), c
	return c
}

// numberOf returns the number in the name of an instance.
func numberOf(name string) int {
	n, _ := strconv.Atoi(name[strings.LastIndexByte(name, '#')+1:])
	return n
}

// instances returns the children of a pool.
func (s *supervisor) instances(g *group) []*child {
	var all []*child
	g.each(func(t *slot) {
		if c := s.byID[t.name]; c != nil {
			all = append(all, c)
		}
	})
	return all
}

// named returns the children that a capsule consists of.
func (s *supervisor) named(id string) []*child {
	if c := s.byID[id]; c != nil {
		return []*child{c}
	}
	if g := s.groups[id]; g != nil && g.crew != nil {
		return s.instances(g)
	}
	return nil
}

// pools visits every pool.
func (s *supervisor) pools(visit func(*group)) {
	for _, g := range s.groups {
		if g.crew != nil {
			visit(g)
		}
	}
}

// capsules returns how many capsules there are.
func (s *supervisor) capsules() (n int) {
	for _, c := range s.children {
		if c.pool == nil {
			n++
		}
	}
	s.pools(func(*group) { n++ })
	return n
}

// notPool returns nil for a pool: it is no supervisor that people know.
func notPool(g *group) *group {
	if g != nil && g.crew != nil {
		return nil
	}
	return g
}

// announcePool tells the router of a pool that may have no instance.
func (s *supervisor) announcePool(g *group) {
	interceptors := g.crew.Version().Interceptors
	s.System.Send(s.System.PID(RouterPath), &CapsuleDown{Ref: g.crew.first, Interceptors: interceptors})
	if bus := g.crew.cfg.Bus; bus != nil && g.crew.Size().Min == 0 { // a message can start it
		bus.capsuleUp(&CapsuleUp{Ref: g.crew.first, Interceptors: interceptors})
	}
}

// joinPool gives an instance that is started, or restarted, its seat in its pool.
func (c *child) joinPool(s *supervisor) {
	if c.pool == nil {
		return
	}
	if c.pool.crew.off && !s.stopping {
		s.openPool(c.pool)
	}
	c.pool.crew.join(c.Ref)
}

// instanceEnded: an instance's actor has ended for good. A pool that can grow forgets it; so
// does every pool one that it does not need.
func (s *supervisor) instanceEnded(c *child) {
	g := c.pool
	if c.again || s.stopping {
		return
	}
	if c.retiring == "" && c.ends() && g.crew.elastic() && !g.crew.off && !c.stays {
		c.retiring = "it ended by itself"
	}
	if c.retiring != "" {
		s.retired(c)
	}
	if g.crew.removed != nil && isDown(g) {
		s.removePool(g)
	}
}

// forget takes a child out of the supervisor's lists.
func (s *supervisor) forget(c *child) {
	s.forgetPrevious(c)
	delete(s.byID, c.id)
	isIt := func(other *child) bool { return other == c }
	s.children = slices.DeleteFunc(s.children, isIt)
	for _, other := range s.children {
		other.dependents = slices.DeleteFunc(other.dependents, isIt)
	}
}

// poolFailed reports that a pool has spent its budget: its capsule fails.
func (s *supervisor) poolFailed(f *failure, crash *Crash) {
	s.shutCrew(f.group, "it has failed: "+f.why)
	f.group.crew.failed = true
	s.Observe(messages.Event{Path: groupPath(f.group), Generation: crash.Generation, Detail: messages.CapsuleFailed{
		Failure: crash.Failure, Decision: f.why,
	}})
}

// shutPool has a pool take no calls any more if none of its instances has a future: before
// the last one gives its calls back. One that can grow gets a new instance instead, unless
// it ends with its group.
func (s *supervisor) shutPool(c *child, reason string, withGroup bool) {
	g := c.pool
	if g != nil && c.retiring == "" && ending(g) && (withGroup || !g.crew.elastic()) {
		s.shutCrew(g, reason)
	}
}

func (s *supervisor) shutCrew(g *group, reason string) {
	if g.crew.off {
		return
	}
	g.crew.off = true
	g.crew.shut(reason)
}

func (s *supervisor) openPool(g *group) {
	g.crew.off, g.crew.failed = false, false
	g.crew.open()
}

// openPools has the pools of a group take calls again.
func (s *supervisor) openPools(outer *group) {
	s.pools(func(g *group) {
		if g.within(outer) {
			if g.crew.off && len(g.members) == 0 {
				s.Observe(messages.Event{Path: groupPath(g), Detail: messages.PoolScaled{Cause: "started"}})
			}
			s.openPool(g)
		}
	})
}

// stopPools begins the end of all pools.
func (s *supervisor) stopPools() {
	s.pools(func(g *group) {
		s.cancelRolling(g, reasonStopping)
		if g.crew.idle != nil {
			g.crew.idle.Stop()
		}
		if len(g.members) == 0 && !g.crew.off {
			s.Observe(messages.Event{Path: groupPath(g), Detail: messages.CapsuleStopped{Cause: CauseShutdown}})
		}
		s.shutCrew(g, CauseShutdown)
	})
}

// stopEmptyPools stops the pools of a group that have no instance, or only some that they
// do not need any more: nothing else does.
func (s *supervisor) stopEmptyPools(outer *group, cause string) {
	s.pools(func(g *group) {
		isNeeded := func(c *child) bool { return c.retiring == "" }
		if g.within(outer) && !slices.ContainsFunc(s.instances(g), isNeeded) && !g.crew.off {
			s.shutCrew(g, cause)
			s.Observe(messages.Event{Path: groupPath(g), Detail: messages.CapsuleStopped{Cause: cause}})
		}
	})
}

// checkPool makes up for a message about a pool that was lost.
func (s *supervisor) checkPool(ctx actor.Context, g *group) {
	if r := g.crew.rolling; r != nil {
		s.rolled(ctx, &rolled{g, r})
	}
	if g.crew.isGrowing() {
		s.growDue(ctx, g)
	}
	if g.crew.idle != nil {
		s.idleDue(ctx, g)
	}
}
