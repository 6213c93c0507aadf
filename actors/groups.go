package actors

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// GroupSpec describes a supervisor below that of all capsules.
type GroupSpec struct {
	Name     string
	Strategy Strategy
	// Children are ids of capsules and names of groups, in start order.
	Children []string
	// Restart has the budget of its children's deaths, and the backoff. Mode is not used.
	Restart      RestartPolicy
	Significant  []string
	AutoShutdown AutoShutdown
}

// enterGroups creates the groups, without capsules.
func (s *supervisor) enterGroups() {
	isChild := map[string]bool{}
	for _, spec := range s.Supervisors {
		for _, name := range spec.Children {
			isChild[name] = true
		}
	}
	specs := map[string]GroupSpec{}
	for _, spec := range s.Supervisors {
		specs[spec.Name] = spec
	}
	var enter func(spec GroupSpec, parent *group)
	enter = func(spec GroupSpec, parent *group) {
		g := newGroup(spec.Name, parent, spec.Strategy, spec.Restart.WithDefaults())
		g.auto = spec.AutoShutdown
		s.groups[spec.Name] = g
		for _, name := range spec.Children {
			if sub, isGroup := specs[name]; isGroup {
				enter(sub, g)
			} else {
				s.placeOf[name] = place{g, len(g.members)}
				g.members = append(g.members, &slot{node: node{name: name, parent: g}})
			}
			g.members[len(g.members)-1].base().significant = slices.Contains(spec.Significant, name)
		}
	}
	for _, spec := range s.Supervisors {
		if !isChild[spec.Name] {
			enter(spec, s.top)
		}
	}
}

const notStarted = "it has not been started yet"

// newChild returns a child that is in no group yet.
func newChild(spec ChildSpec) *child {
	c := &child{ChildSpec: spec, id: spec.id(), over: spec.Ref.Generation()}
	c.slot = &slot{node: node{name: c.id, restarts: restarts{policy: spec.Restart}}}
	c.isDown(messages.StateLoading, notStarted)
	return c
}

// place is where a child of a group has its place, also while it is not there.
type place struct {
	group *group
	at    int // in the group's members
}

// place gives a child its place in its group. One that is removed and added again gets
// it back.
func (s *supervisor) place(c *child) {
	if p, inGroup := s.placeOf[c.id]; inGroup {
		if kept, ok := p.group.members[p.at].(*slot); ok {
			kept.restarts.policy = c.restarts.policy
			c.slot = kept
			return
		}
	}
	s.placeMember(c.slot)
}

// placeMember gives a capsule its place: that of the pool, or of the only instance, that
// it was before, or the last one at the top.
func (s *supervisor) placeMember(m member) {
	n := m.base()
	p, inGroup := s.placeOf[n.name]
	if !inGroup {
		n.parent = s.top
		s.top.members = append(s.top.members, m)
		return
	}
	n.parent, n.significant = p.group, p.group.members[p.at].base().significant
	p.group.members[p.at] = m
}

// advance halts and starts the capsules whose turn has come, of all that keep order
// with a slot.
func (s *supervisor) advance(ctx actor.Context, changed *slot) {
	var m member = changed
	if g := changed.outermost(); g != nil {
		m = g
	}
	s.advanceAll(ctx, m)
}

func (s *supervisor) advanceAll(ctx actor.Context, m member) {
	if s.stopping {
		return
	}
	turns := next(m, monotime.Now())
	for _, t := range turns.halt {
		s.halt(ctx, s.byID[t.name])
	}
	vacant := false
	for _, t := range turns.start {
		if c := s.byID[t.name]; c != nil {
			s.startTurn(ctx, c)
		} else { // it was removed
			t.set(slotEnded)
			t.stays, vacant = true, true
		}
	}
	for _, g := range turns.up {
		s.settled(g)
	}
	s.spawnReady(ctx)
	if vacant {
		s.advanceAll(ctx, m)
	}
}

// startTurn starts a capsule, or restarts one that is suspended.
func (s *supervisor) startTurn(ctx actor.Context, c *child) {
	switch c.phase {
	case waiting:
		s.ready = append(s.ready, c)
	case ended:
		s.spawn(ctx, c)
	case backoff:
		s.restartNow(ctx, c)
	case stopping:
		c.again = true
	}
}

// halt has a capsule give up its instance: for good, or until its group starts it. Its
// calls wait in the second case.
func (s *supervisor) halt(ctx actor.Context, c *child) {
	if c.then == slotEnded {
		s.endOfGroup(ctx, c)
		return
	}
	s.stoppingEvent(c, c.why)
	c.stopTimer()
	c.phase = halting
	ref, turn := c.Ref, c.Ref.Halt()
	s.System.Send(c.pid, &halt{turn})
	c.interruptAfter(func() { ref.Interrupt(ref.Generation(), ErrHalted) })
}

// endOfGroup ends a capsule with its group.
func (s *supervisor) endOfGroup(ctx actor.Context, c *child) {
	cause := c.why
	s.shutPool(c, cause, true)
	switch c.phase {
	case waiting:
		s.endBeforeStart(ctx, c, cause)
		s.answer(c, false, cause)
	case running, halting, backoff:
		if c.phase != halting { // else that was reported
			s.stoppingEvent(c, cause)
		}
		s.cancelUpgrade(c, cause)
		s.end(ctx, c, messages.StateStopped, cause, func() { s.stoppedEvent(c, cause) })
	case stopping:
		c.again = false
	}
}

// halted: a capsule has given up its instance, and its actor is suspended.
func (s *supervisor) halted(ctx actor.Context, c *child, crash *Crash) {
	c.stopTimer()
	c.restarts.ran(crash.Uptime)
	c.over = max(c.over, crash.Generation)
	if c.ends() { // its group has changed its mind meanwhile: it has ended when its actor has
		c.endsNow()
		s.endOfGroup(ctx, c)
		return
	}
	if c.state == slotHalting || c.doomed {
		c.slot.halted()
	}
	c.phase = backoff
	s.stoppedEvent(c, c.why)
	s.answer(c, false, c.why)
	s.advance(ctx, c.slot)
}

// holdDue: a backoff is over.
func (s *supervisor) holdDue(ctx actor.Context, h *hold) {
	timer := s.holds[h]
	if timer == nil {
		return
	}
	timer.Stop()
	delete(s.holds, h)
	h.over(s.top)
	for _, m := range s.top.members {
		if waits, isSlot := m.(*slot); !isSlot || waits.state == slotPending {
			s.advanceAll(ctx, m)
		}
	}
}

// follow does what was decided on the death of c.
func (s *supervisor) follow(ctx actor.Context, c *child, crash *Crash, d *decision, cause string) {
	s.reportFailures(c, crash, d)
	for _, g := range d.shutdown {
		s.Observe(messages.Event{Path: groupPath(g), Detail: messages.SupervisorStopped{
			Cause: fmt.Sprintf("%s has ended by itself, and auto_shutdown = %q", c.id, g.auto),
		}})
	}
	why := ""
	if len(d.moved) > 0 {
		why = s.whyMoved(c, d)
	}
	for _, moved := range d.moved {
		other := s.byID[moved.name]
		if other == nil {
			continue
		}
		other.why = why
		switch {
		case moved.state == slotEnded:
			s.endOfGroup(ctx, other)
		case !moved.ends(): // one that ends does so when its turn comes
			s.scheduled(other, verdict{delay: d.delay}, messages.CauseStrategy, d.by, c)
			if d.hold != nil {
				s.tellDown(other, messages.StateCrashed, why)
			} else {
				other.isDown(messages.StateLoading, why)
			}
		}
	}
	switch {
	case d.ended:
		s.giveUp(ctx, c, crash, "")
	case !d.restart:
		s.giveUp(ctx, c, crash, s.failedDecision(c, d))
	default:
		s.scheduled(c, d.verdict, cause, d.by, c)
		c.phase = backoff
		if d.hold != nil {
			s.tellDown(c, messages.StateCrashed, fmt.Sprintf("it crashed, and restarts in %v", d.delay.Round(time.Millisecond)))
			h := d.hold
			s.holds[h] = time.AfterFunc(h.delay, func() { s.System.Send(s.self, &holdDue{h}) })
		}
	}
	if d.exit {
		s.escalate(c, crash, d)
	}
	s.advance(ctx, c.slot)
}

// whyMoved says to the other capsules that a death concerns why they are halted.
func (s *supervisor) whyMoved(c *child, d *decision) string {
	switch {
	case len(d.shutdown) > 0:
		return fmt.Sprintf("%s has ended, and its supervisor stops", c.id)
	case !d.restart && d.child == member(c.pool):
		return "its capsule has failed: " + d.why
	case !d.restart && len(d.failed) > 0:
		return fmt.Sprintf("its supervisor %s has failed: %s", d.child.base().name, d.why)
	case len(d.failed) > 0:
		return fmt.Sprintf("%s crashed, and its supervisor %s failed", c.id, d.failed[len(d.failed)-1].group.name)
	default:
		return fmt.Sprintf("%s crashed, and %s is %s", c.id, d.by.name, d.by.strategy)
	}
}

// reportFailures reports the supervisors that fail of a death.
func (s *supervisor) reportFailures(c *child, crash *Crash, d *decision) {
	for i, f := range d.failed {
		if f.group.crew != nil {
			s.poolFailed(f, crash)
			continue
		}
		decision := "its failure is a death for its supervisor"
		if i == len(d.failed)-1 {
			switch {
			case d.restart:
				decision = fmt.Sprintf("restarted in %v", d.delay.Round(time.Millisecond))
			case d.exit:
				decision = "the system ends"
			default:
				decision = "it stays failed until an operator starts it: " + d.why
			}
		}
		s.Observe(messages.Event{Path: groupPath(f.group), Detail: messages.SupervisorFailed{
			Cause: f.why, CausePath: capsulePath(c.slot), Decision: decision, Restarted: d.restart,
		}})
	}
}

// failedDecision says why a capsule is not restarted.
func (s *supervisor) failedDecision(c *child, d *decision) string {
	if len(d.failed) == 0 || d.failed[0].why == d.why && c.parent == d.child.base().parent {
		return ""
	}
	if d.child == member(c.pool) {
		return d.why
	}
	return fmt.Sprintf("its supervisor %s has failed: %s", d.child.base().name, d.why)
}

// escalate ends the system.
func (s *supervisor) escalate(c *child, crash *Crash, d *decision) {
	var chain strings.Builder
	fmt.Fprintf(&chain, "capsule %s crashed: %s", c.path(), crash.Failure.Message)
	for _, f := range d.failed {
		fmt.Fprintf(&chain, "; supervisor %s failed: %s", f.group.path(), f.why)
	}
	if len(d.failed) == 0 || d.failed[len(d.failed)-1].why != d.why {
		fmt.Fprintf(&chain, "; %s is not restarted: %s", d.child.base().path(), d.why)
	}
	if s.Escalate != nil {
		s.Escalate(chain.String())
		s.Escalate = nil
	}
}

// settled: all of a group serves, or has ended.
func (s *supervisor) settled(g *group) {
	var down []string
	ups := 0
	g.each(func(t *slot) {
		if t.state == slotUp {
			ups++
		} else {
			down = append(down, t.name)
		}
	})
	if ups > 0 && g.crew == nil {
		s.Observe(messages.Event{Path: groupPath(g), Detail: messages.SupervisorStarted{
			Children: uint32(ups),
		}})
	}
	waiting := s.groupWaiters[g]
	delete(s.groupWaiters, g)
	for _, w := range waiting {
		done := &messages.CommandDone{Result: messages.CommandSucceeded}
		if w.up && len(down) > 0 {
			done = &messages.CommandDone{Result: messages.CommandFailed, Reason: "not up: " + strings.Join(down, ", ")}
		}
		s.System.Send(w.pid, done)
	}
}

// groupPath and capsulePath are the paths in the tree, as events have them.
func groupPath(g *group) string { return CapsulesPath + "/" + g.path() }

func capsulePath(p *slot) string { return CapsulesPath + "/" + p.path() }
