package actors

import (
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// This file starts and stops the instances of a pool: those of an elastic one as calls
// wait and end, those of any if an operator has given it another size.

// Self-messages about pools.
type (
	growDue struct{ group *group }
	idleDue struct{ group *group }
	rolled  struct {
		group *group
		by    *rolling
	}
)

// growDue starts another instance: calls wait. While its group stops or restarts it, a pool
// does not grow: the new instance would be left out.
func (s *supervisor) growDue(ctx actor.Context, g *group) {
	if s.stopping || g.crew.off || g.crew.rolling != nil || len(g.members) >= g.crew.Size().Max || g.isSwept() {
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

func (s *supervisor) scaled(g *group, number int, cause string) {
	s.Observe(messages.Event{Path: groupPath(g), Detail: messages.PoolScaled{
		Instance: uint32(number), Instances: uint32(len(g.members)), Cause: cause, //nolint:gosec // counts
	}})
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
