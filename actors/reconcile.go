package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// The root asks this of the capsules' supervisor after a failure in the system itself.
type (
	// resync comes when the registry or the router was restarted.
	resync struct{ to *actor.PID }
	// reconcile comes when the capsules' supervisor has failed over a message.
	reconcile struct{}
)

// resync tells a registry or router that has lost everything of every capsule.
func (s *supervisor) resync(ctx actor.Context, to *actor.PID) {
	for _, c := range s.children {
		up := c.Ref.Announced()
		switch {
		case up != nil && c.phase == running:
			ctx.Send(to, up)
		case c.routed != nil && to.Id == RouterPath:
			ctx.Send(to, c.routed)
		case c.down != nil:
			ctx.Send(to, c.down)
		default: // between two instances: the last one has ended
			ctx.Send(to, &CapsuleDown{
				Ref: c.Ref, Generation: c.up.Generation, State: messages.StateLoading,
				Reason: "it is about to be restarted", Interceptors: c.Ref.Version().Interceptors,
			})
		}
	}
	s.pools(s.announcePool)
	ctx.Send(to, &resyncDone{})
}

// reconcile compares each child with its actor's actual state, to make up for the
// one message that was lost. Who gave a command has been told that it was lost.
func (s *supervisor) reconcile(ctx actor.Context) {
	now := monotime.Now()
	for _, c := range s.children {
		s.offerDeclined(c)
		if c.upgrade != nil {
			s.prepared(ctx, c, c.upgrade)
		}
		isDue := c.due != monotime.None && now >= c.due
		switch up := c.Ref.Announced(); {
		case c.undecided != nil && (c.phase == running || c.phase == backoff):
			s.decideAgain(ctx, c)
		case c.phase == running && up != nil && (c.up == nil || c.up.Generation != up.Generation || c.up.State != up.State):
			s.up(ctx, up)
		case c.phase == running && isDue:
			s.readinessDue(ctx, &readinessDue{id: c.id, generation: c.Ref.Generation()})
		}
	}
	s.pools(func(g *group) { s.checkPool(ctx, g) })
	for h := range s.holds {
		if now >= h.due {
			s.holdDue(ctx, h)
		}
	}
	s.resync(ctx, s.System.PID(RegistryPath))
	s.resync(ctx, s.System.PID(RouterPath))
}

// decideAgain decides on a death if that has failed: the capsule's actor is
// suspended until then. If it fails again, it would fail for ever.
func (s *supervisor) decideAgain(ctx actor.Context, c *child) {
	crash, again := c.undecided, c.deciding
	if !again {
		c.deciding = true
		s.decide(ctx, c, crash)
	}
	c.undecided, c.deciding = nil, false
	if !again {
		return
	}
	const decision = "its supervisor has failed twice to decide what follows"
	s.end(ctx, c, messages.StateFailed, decision, func() { s.failedEvent(c, crash, decision) })
}
