package actors

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/messages"
)

// AddCapsule adds a child to the running supervisor, and starts it after those that it
// imports from. It is answered by one CommandDone when its start has succeeded or
// failed; it stays in both cases.
type AddCapsule struct{ Spec ChildSpec }

// enter adds a child to the supervisor's state.
func (s *supervisor) enter(spec ChildSpec) *child {
	c := newChild(spec)
	s.place(c)
	s.children, s.byID[c.id] = append(s.children, c), c
	s.unsettled++
	return c
}

// depend makes a child wait for the first starts of those that it imports from.
func (s *supervisor) depend(c *child) {
	for _, id := range c.WaitsFor {
		for _, on := range s.named(id) {
			if on != c && !on.settled {
				on.dependents = append(on.dependents, c)
				c.imports++
			}
		}
	}
}

func (s *supervisor) addCapsule(ctx actor.Context, m *AddCapsule) {
	id := m.Spec.id()
	pool := s.groups[id]
	refuse := func(reason string) {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandRefused, Reason: reason})
	}
	switch old := s.byID[id]; {
	case s.stopping:
		refuse(reasonStopping)
		return
	case old != nil && old.removing:
		refuse("one with the same id is being removed")
		return
	case pool != nil && pool.crew != nil && pool.crew.removed != nil:
		refuse("one with the same id is being removed")
		return
	case old != nil || pool != nil:
		refuse("there is one with the same id already")
		return
	}
	if m.Spec.Pool != nil {
		s.addPool(ctx, m.Spec)
		return
	}
	c := s.enter(m.Spec)
	c.waiters = append(c.waiters, waiter{pid: ctx.Sender(), up: true})
	s.depend(c)
	s.Observe(messages.Event{Path: c.Ref.Path(), Detail: messages.CapsuleAdded{Version: m.Spec.Ref.Version().Number}})
	s.tellDown(c, messages.StateLoading, notStarted)
	s.firstStart(ctx, c)
}

// removeCapsule ends a child in order, and then forgets it. Children that import from
// it go on: imports only order the starts.
func (s *supervisor) removeCapsule(ctx actor.Context, c *child) string {
	if c.pool != nil {
		return "it is one instance of a pool: stop it, or remove the capsule"
	}
	c.removing = true
	switch c.phase {
	case waiting:
		s.endBeforeStart(ctx, c, stoppedByOperator)
	case running, backoff, stopping:
		return s.stopCapsule(ctx, c)
	}
	s.remove(c)
	s.answer(c, false, "")
	return ""
}

// remove forgets a child whose actor has ended. The registry and the router hear of it
// first, so that a reader of the event finds it nowhere.
func (s *supervisor) remove(c *child) {
	s.cancelUpgrade(c, "it was removed meanwhile")
	s.forget(c)
	c.set(slotEnded)
	c.stays = true
	if c.parent == s.top { // a place in a group is kept, for one that is added again
		s.top.members = slices.DeleteFunc(s.top.members, func(m member) bool { return m == c.slot })
	}
	gone := &CapsuleGone{Ref: c.Ref}
	s.System.Send(s.System.PID(RegistryPath), gone)
	s.System.Send(s.System.PID(RouterPath), gone)
	if bus := c.Ref.cfg.Bus; bus != nil {
		bus.capsuleGone(c.Ref)
	}
	s.Observe(messages.Event{Path: c.Ref.Path(), Generation: c.Ref.Generation(), Detail: messages.CapsuleRemoved{Version: c.Ref.Version().Number}})
	c.Ref.Version().drop()
	if c.Removed != nil {
		c.Removed()
	}
}
