package actors

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/messages"
)

// This file carries out the commands that name a pool and end or begin it: add, stop and
// remove. The rest are upgrades of a kind (poolupgrade.go).

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
		s.tellDown(c, messages.StateLoading, notStarted)
		c.await(c.imports > 0)
	}
	s.advanceAll(ctx, outermostOf(g))
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
