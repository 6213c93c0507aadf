package actors

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
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

// rolling is an upgrade of all instances.
type rolling struct {
	UpgradeCapsule
	asker  *actor.PID // nil if nobody waits for it
	cancel context.CancelFunc
	result atomic.Pointer[messages.CommandDone] // nil before the end
}

// Self-messages about pools.
type (
	growDue struct{ group *group }
	idleDue struct{ group *group }
	rolled  struct {
		group *group
		by    *rolling
	}
)

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

// announcePool tells the router of a pool that may have no instance.
func (s *supervisor) announcePool(g *group) {
	interceptors := g.crew.Version().Interceptors
	s.System.Send(s.System.PID(RouterPath), &CapsuleDown{Ref: g.crew.first, Interceptors: interceptors})
	if bus := g.crew.cfg.Bus; bus != nil && g.crew.Size().Min == 0 { // a message can start it
		bus.capsuleUp(&CapsuleUp{Ref: g.crew.first, Interceptors: interceptors})
	}
}

// growDue starts another instance: calls wait.
func (s *supervisor) growDue(ctx actor.Context, g *group) {
	if s.stopping || g.crew.off || g.crew.rolling != nil || len(g.members) >= g.crew.Size().Max {
		g.crew.grown()
		return
	}
	number := 1
	for s.byID[instanceName(g.name, number)] != nil {
		number++
	}
	c := s.enterInstance(g, number)
	c.settled = true // no start waits for it
	s.scaled(g, number, "calls wait")
	s.spawn(ctx, c)
}

func (s *supervisor) scaled(g *group, number int, cause string) {
	s.Observe(messages.Event{Path: groupPath(g), Detail: messages.PoolScaled{
		Instance: uint32(number), Instances: uint32(len(g.members)), Cause: cause, //nolint:gosec // counts
	}})
}

// watchIdle has idle instances of an elastic pool stopped after a while.
func (s *supervisor) watchIdle(g *group, after time.Duration) {
	size := g.crew.Size()
	if g.crew.idle != nil || size.Idle <= 0 || len(g.members) <= size.Min || s.stopping {
		return
	}
	g.crew.idle = time.AfterFunc(after, func() { s.System.Send(s.self, &idleDue{g}) })
}

func (s *supervisor) idleDue(ctx actor.Context, g *group) {
	g.crew.idle = nil
	if s.stopping || g.crew.off {
		return
	}
	next := g.crew.Size().Idle
	if g.crew.rolling == nil {
		var idle []*CapsuleRef
		idle, next = g.crew.retire(monotime.Now())
		for _, ref := range idle {
			s.retire(ctx, s.byID[ref.Name()], "idle")
		}
	}
	s.watchIdle(g, max(next, time.Millisecond))
}

// retire stops an instance that its pool does not need any more.
func (s *supervisor) retire(ctx actor.Context, c *child, cause string) {
	if c == nil || c.phase == stopping {
		return
	}
	c.retiring = cause
	s.cancelUpgrade(c, "it is not needed any more")
	if c.pid == nil {
		s.retired(c)
		return
	}
	s.stoppingEvent(c, cause)
	c.set(slotEnded)
	s.end(ctx, c, messages.StateStopped, cause, func() { s.stoppedEvent(c, cause) })
}

// retired forgets an instance whose actor has ended.
func (s *supervisor) retired(c *child) {
	g := c.pool
	s.forget(c)
	g.members = slices.DeleteFunc(g.members, func(m member) bool { return m == c.slot })
	s.System.Send(s.System.PID(RegistryPath), &CapsuleGone{Ref: c.Ref, PoolStays: true})
	s.scaled(g, c.Ref.number, c.retiring)
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

// shutPool has a pool take no calls any more if none of its instances has a future: before
// the last one gives its calls back. One that can grow gets a new instance instead, unless
// it ends with its group.
func (s *supervisor) shutPool(c *child, reason string, withGroup bool) {
	g := c.pool
	if g != nil && c.retiring == "" && ending(g) && (withGroup || !g.crew.elastic()) {
		s.shutCrew(g, reason)
	}
}

func (c *crew) elastic() bool {
	size := c.Size()
	return size.Max > size.Min
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

// poolCommand carries out an operator's command that names a pool.
func (s *supervisor) poolCommand(ctx actor.Context, g *group) {
	done := func() { ctx.Respond(&messages.CommandDone{Result: messages.CommandSucceeded}) }
	switch ctx.Message().(type) {
	case *messages.StopCapsule, *messages.RemoveCapsule:
		_, remove := ctx.Message().(*messages.RemoveCapsule)
		if remove {
			sender := ctx.Sender()
			g.crew.removed = func() {
				s.System.Send(sender, &messages.CommandDone{Result: messages.CommandSucceeded})
			}
			done = func() { s.removePool(g) }
		}
		s.cancelRolling(g, "it was stopped meanwhile")
		isOff := g.crew.off
		s.shutCrew(g, stoppedByOperator)
		if isDown(g) {
			if !isOff {
				s.Observe(messages.Event{Path: groupPath(g), Detail: messages.CapsuleStopped{Cause: stoppedByOperator}})
			}
			done()
			return
		}
		if !remove {
			s.groupWaiters[g] = append(s.groupWaiters[g], waiter{pid: ctx.Sender()})
		}
		s.haltAll(ctx, g, stoppedByOperator)
		s.advanceAll(ctx, outermostOf(g))
	default:
		ctx.Respond(&messages.CommandDone{
			Result: messages.CommandRefused, Reason: "it is a pool: name one of its instances, such as " + instanceName(g.name, 1),
		})
	}
}

// outermostOf returns the group that orders itself, around g.
func outermostOf(g *group) member {
	if outer := g.outermost(); outer != nil {
		return outer
	}
	return g
}

// removePool forgets a pool whose instances have ended.
func (s *supervisor) removePool(g *group) {
	generation := g.crew.loads.Load()
	for _, c := range s.instances(g) {
		s.forget(c)
		s.System.Send(s.System.PID(RegistryPath), &CapsuleGone{Ref: c.Ref, PoolStays: true})
	}
	delete(s.groups, g.name)
	s.System.Send(s.System.PID(RouterPath), &CapsuleGone{Ref: g.crew.first})
	if bus := g.crew.cfg.Bus; bus != nil {
		bus.capsuleGone(g.crew.first)
	}
	g.members = nil
	if g.parent == s.top { // a place in a group is kept, for one that is added again
		s.top.members = slices.DeleteFunc(s.top.members, func(m member) bool { return m == member(g) })
	}
	number := g.crew.Version().Number
	g.crew.release()
	s.Observe(messages.Event{Path: groupPath(g), Generation: generation, Detail: messages.CapsuleRemoved{Version: number}})
	if g.crew.spec.Removed != nil {
		g.crew.spec.Removed()
	}
	g.crew.removed()
}

// upgradePool begins an upgrade or a restart of all instances, one after the other, or
// starts a pool that does not run.
func (s *supervisor) upgradePool(ctx actor.Context, g *group, m *UpgradeCapsule) {
	respond := func(result messages.CommandResult, reason string) {
		ctx.Respond(&messages.CommandDone{Result: result, Reason: reason})
	}
	switch {
	case s.stopping:
		respond(messages.CommandRefused, reasonStopping)
	case g.crew.removed != nil:
		respond(messages.CommandRefused, "it is being removed")
	case g.crew.rolling != nil:
		respond(messages.CommandRefused, "another upgrade of it is under way")
	case g.crew.off && !isDown(g):
		respond(messages.CommandRefused, "it is stopping")
	case m.How == Start && !g.crew.off && isUp(g):
		respond(messages.CommandSucceeded, "")
	case g.crew.off || isDown(g) && !g.crew.elastic() || m.How == Start:
		s.startPool(ctx, g, m)
	case len(g.members) == 0:
		s.adoptPool(ctx, g, m)
		respond(messages.CommandSucceeded, "")
	default:
		s.roll(g, m, ctx.Sender())
	}
}

// startPool gives a pool a version, and starts the instances that have ended, if that is
// wanted.
func (s *supervisor) startPool(ctx actor.Context, g *group, m *UpgradeCapsule) {
	stays := g.crew.off && m.How == Reload && !g.crew.failed
	if g.crew.off || isDown(g) {
		s.adoptPool(ctx, g, m)
		for _, c := range s.instances(g) {
			s.adopt(c, m.Version, m.Spec)
		}
	}
	if stays || len(g.members) == 0 && g.crew.Size().Min == 0 {
		if !stays {
			s.openPool(g)
			s.Observe(messages.Event{Path: groupPath(g), Detail: messages.PoolScaled{Cause: "started"}})
		}
		ctx.Respond(&messages.CommandDone{Result: messages.CommandSucceeded})
		return
	}
	s.openPool(g)
	s.groupWaiters[g] = append(s.groupWaiters[g], waiter{pid: ctx.Sender(), up: true})
	for _, c := range s.instances(g) {
		if c.phase == ended {
			s.scheduled(c, verdict{}, messages.CauseOperator, nil, nil)
		}
	}
	g.startAll()
	s.advanceAll(ctx, outermostOf(g))
}

// adoptPool makes a version that of instances to come, with its settings and size.
func (s *supervisor) adoptPool(ctx actor.Context, g *group, m *UpgradeCapsule) {
	spec := m.Spec
	spec.Pool, spec.Removed = g.crew.Pool, g.crew.spec.Removed
	g.crew.spec = spec
	g.crew.setVersion(m.Version)
	g.policy, g.deaths.policy = spec.Restart, spec.Restart
	g.policy.Mode, g.deaths.policy.Mode = Permanent, Permanent
	g.crew.resize(spec.Size)
	s.refit(ctx, g)
}

// refit starts and stops instances until there are as many as the size says.
func (s *supervisor) refit(ctx actor.Context, g *group) {
	size := g.crew.Size()
	for n := 1; len(g.members) < size.Min; n++ {
		if s.byID[instanceName(g.name, n)] != nil {
			continue
		}
		c := s.enterInstance(g, n)
		c.settled = true
		s.scaled(g, n, "more instances were asked for")
		if !g.crew.off {
			s.spawn(ctx, c)
		}
	}
	all := s.instances(g)
	for n := len(all) - 1; n >= size.Max; n-- {
		s.retire(ctx, all[n], "fewer instances were asked for")
	}
	s.watchIdle(g, size.Idle)
}

// roll upgrades the instances one after the other. If one can't be upgraded, those before
// it get their old version back, so that all agree.
func (s *supervisor) roll(g *group, m *UpgradeCapsule, asker *actor.PID) {
	r := &rolling{UpgradeCapsule: *m, asker: asker}
	var rollCtx context.Context
	rollCtx, r.cancel = context.WithCancel(context.Background())
	g.crew.rolling = r
	g.crew.mix(true)
	m.Version.hold()
	before, old := g.crew.Version(), g.crew.spec
	before.hold()
	var names []string
	for _, c := range s.instances(g) {
		if m.How != Reload || c.Ref.Version() != m.Version {
			names = append(names, c.id)
		}
	}
	upgrade := func(name string, v *Version, spec ChildSpec, how How) *messages.CommandDone {
		answer, err := s.System.Ask(rollCtx, s.self, &UpgradeCapsule{ID: name, Version: v, Spec: spec, How: how, Same: m.Same})
		done, ok := answer.(*messages.CommandDone)
		if err != nil || !ok {
			return &messages.CommandDone{Result: messages.CommandFailed, Reason: "it was given up"}
		}
		return done
	}
	s.Preparations.start(groupPath(g), func() {
		defer before.drop()
		defer m.Version.drop()
		result := &messages.CommandDone{}
		for at, name := range names {
			done := upgrade(name, m.Version, m.Spec, m.How)
			if done.Result == messages.CommandSucceeded || done.Result == messages.CommandNotFound {
				continue
			}
			result = done
			for _, earlier := range names[:at] {
				if m.Version != before {
					upgrade(earlier, before, old, Reload)
				}
			}
			break
		}
		r.result.Store(result)
		s.System.Send(s.self, &rolled{g, r})
	})
}

// rolled ends a rolling upgrade.
func (s *supervisor) rolled(ctx actor.Context, m *rolled) {
	g, result := m.group, m.by.result.Load()
	if g.crew.rolling != m.by || result == nil {
		return // it was cancelled, and answered
	}
	m.by.cancel()
	g.crew.rolling = nil
	g.crew.mix(false)
	if result.Result == messages.CommandSucceeded {
		g.deaths.reset()
		s.adoptPool(ctx, g, &m.by.UpgradeCapsule)
	}
	m.by.tell(s, result)
	s.watchIdle(g, g.crew.Size().Idle)
}

// cancelRolling gives a rolling upgrade up.
func (s *supervisor) cancelRolling(g *group, reason string) {
	r := g.crew.rolling
	if r == nil {
		return
	}
	g.crew.rolling = nil
	g.crew.mix(false)
	r.cancel()
	r.tell(s, &messages.CommandDone{Result: messages.CommandFailed, Reason: reason})
}

// tell answers who asked for an upgrade.
func (r *rolling) tell(s *supervisor, result *messages.CommandDone) {
	if r.asker != nil {
		s.System.Send(r.asker, result)
	}
}

// rollPoolBack gives all instances the version before an upgrade, after one of them was
// rolled back.
func (s *supervisor) rollPoolBack(c *child, v *Version, spec ChildSpec) {
	g := c.pool
	if g == nil || g.crew.rolling != nil && g.crew.rolling.Version == v {
		return
	}
	s.cancelRolling(g, "an instance of the new version has crashed, and it was rolled back")
	g.crew.spec = spec
	if g.crew.Version() != v {
		g.crew.setVersion(v)
	}
	s.roll(g, &UpgradeCapsule{ID: g.name, Version: v, Spec: spec, How: Reload}, nil)
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

// stopEmptyPools stops the pools of a group that have no instance, which nothing else does.
func (s *supervisor) stopEmptyPools(outer *group, cause string) {
	s.pools(func(g *group) {
		if g.within(outer) && len(g.members) == 0 && !g.crew.off {
			s.shutCrew(g, cause)
			s.Observe(messages.Event{Path: groupPath(g), Detail: messages.CapsuleStopped{Cause: cause}})
		}
	})
}

// openPools has the pools of a group take calls again.
func (s *supervisor) openPools(outer *group) {
	s.pools(func(g *group) {
		if g.within(outer) {
			s.openPool(g)
		}
	})
}

// poolFailed reports that a pool has spent its budget: its capsule fails.
func (s *supervisor) poolFailed(f *failure, crash *Crash) {
	s.shutCrew(f.group, "it has failed: "+f.why)
	f.group.crew.failed = true
	s.Observe(messages.Event{Path: groupPath(f.group), Generation: crash.Generation, Detail: messages.CapsuleFailed{
		Failure: crash.Failure, Decision: f.why,
	}})
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

// notPool returns nil for a pool: it is no supervisor that people know.
func notPool(g *group) *group {
	if g != nil && g.crew != nil {
		return nil
	}
	return g
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

// instanceEnded: an instance's actor has ended for good. A pool that can grow forgets it; so
// does every pool one that it does not need.
func (s *supervisor) instanceEnded(c *child) {
	g := c.pool
	if c.again || s.stopping {
		return
	}
	if c.retiring == "" && g.crew.elastic() && !g.crew.off && !c.stays {
		c.retiring = "it ended by itself"
	}
	if c.retiring != "" {
		s.retired(c)
	}
	if g.crew.removed != nil && isDown(g) {
		s.removePool(g)
	}
}

// addPool adds a pool to the running supervisor, and starts its first instances.
func (s *supervisor) addPool(ctx actor.Context, spec ChildSpec) {
	g := s.enterPool(spec)
	s.Observe(messages.Event{Path: groupPath(g), Detail: messages.CapsuleAdded{Version: spec.Pool.Version().Number}})
	s.announcePool(g)
	all := s.instances(g)
	s.unsettled += len(all)
	if len(all) == 0 {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandSucceeded})
		return
	}
	s.groupWaiters[g] = append(s.groupWaiters[g], waiter{pid: ctx.Sender(), up: true})
	for _, c := range all {
		s.depend(c)
		s.tellDown(c, messages.StateLoading, "it has not been started yet")
		c.await(c.imports > 0)
	}
	s.advanceAll(ctx, outermostOf(g))
}
