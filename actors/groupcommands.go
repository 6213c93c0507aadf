package actors

import (
	"cmp"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/messages"
)

// This file carries out the commands that name a group: start, stop and restart.

// groupCommand carries out an operator's command that names a group. It is answered
// when each capsule of the group is up, or down.
func (s *supervisor) groupCommand(ctx actor.Context, g *group) {
	refuse := func(reason string) {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandRefused, Reason: reason})
	}
	if s.stopping {
		refuse(reasonStopping)
		return
	}
	if g.crew != nil {
		s.poolCommand(ctx, g)
		return
	}
	up := true
	done := func() { ctx.Respond(&messages.CommandDone{Result: messages.CommandSucceeded}) }
	switch m := ctx.Message().(type) {
	case *messages.StartCapsule:
		if isUp(g) {
			done() // as asked
			return
		}
		s.why(g, startedByOperator)
		s.openPools(g)
		g.startAll()
	case *messages.RestartCapsule:
		s.why(g, restartedByOperator)
		s.openPools(g)
		g.restartAll()
	case *messages.StopCapsule:
		if isDown(g) {
			done()
			return
		}
		up = false
		s.stopGroup(ctx, g, m.Cause)
	default:
		refuse("it is a supervisor: name one of its capsules")
		return
	}
	s.groupWaiters[g] = append(s.groupWaiters[g], waiter{pid: ctx.Sender(), up: up})
	s.advanceAll(ctx, outermostOf(g))
}

// isUp reports whether every capsule of a group serves, also a pool that has no instance;
// isDown whether none has an instance, or is about to.
func isUp(g *group) bool {
	all := g.crew == nil || !g.crew.off
	for _, m := range g.members {
		switch m := m.(type) {
		case *group:
			all = all && isUp(m)
		case *slot:
			all = all && m.state == slotUp && !m.doomed
		}
	}
	return all
}

func isDown(g *group) bool {
	all := true
	g.each(func(t *slot) { all = all && t.state == slotEnded })
	return all
}

// why tells the capsules of a group why they are about to be halted.
func (s *supervisor) why(g *group, reason string) {
	g.each(func(t *slot) {
		if c := s.byID[t.name]; c != nil {
			c.why = reason
		}
	})
}

// Why an operator's command for a group halts a capsule.
const (
	startedByOperator   = "an operator started its supervisor"
	restartedByOperator = "an operator restarted its supervisor"
	groupStopped        = "an operator stopped its supervisor"
)

// stopGroup halts a group for good. The cause "" means an operator.
func (s *supervisor) stopGroup(ctx actor.Context, g *group, cause string) {
	why := cmp.Or(cause, groupStopped)
	s.haltAll(ctx, g, why)
	s.stopEmptyPools(g, why)
	s.Observe(messages.Event{Path: groupPath(g), Detail: messages.SupervisorStopped{Cause: cmp.Or(cause, messages.CauseOperator)}})
}

// haltAll halts all capsules of a group for good.
func (s *supervisor) haltAll(ctx actor.Context, g *group, why string) {
	var idle []*child
	g.each(func(t *slot) {
		c := s.byID[t.name]
		if c == nil {
			return
		}
		c.why = why
		if t.state == slotWaiting || t.state == slotPending {
			idle = append(idle, c)
		}
	})
	g.stop()
	for _, c := range idle {
		s.endOfGroup(ctx, c)
	}
}
