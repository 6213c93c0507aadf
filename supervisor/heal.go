package supervisor

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
)

// What the root asks of the capsules supervisor after a failure in the system itself.
type (
	// announce comes when the registry or the router was restarted.
	announce struct{ to *actor.PID }
	// lookAgain comes when the capsules supervisor has failed over a message.
	lookAgain struct{}
)

// announce tells a registry or router that has lost everything what there is.
func (s *capsules) announce(ctx actor.Context, to *actor.PID) {
	for _, c := range s.children {
		up := c.handle.Announced()
		switch {
		case up != nil && c.phase == running:
			ctx.Send(to, up)
		case c.down != nil:
			ctx.Send(to, c.down)
		default: // between two instances: of the last one it can be said that it is no more
			ctx.Send(to, &messages.CapsuleDown{
				Capsule: c.id, Generation: c.up.GetGeneration(), State: messages.CapsuleState_CAPSULE_STATE_LOADING,
				Reason: "it is about to be restarted", Interceptors: c.interceptors,
			})
		}
	}
	ctx.Send(to, &actors.Announced{})
}

// lookAgain makes up for the one message that was lost, whatever it was. Whoever
// gave a command knows already that it was lost.
func (s *capsules) lookAgain(ctx actor.Context) {
	now := time.Now()
	for _, c := range s.children {
		isDue := !c.due.IsZero() && !now.Before(c.due)
		switch up := c.handle.Announced(); {
		case c.undecided != nil && (c.phase == running || c.phase == backoff):
			s.decideAgain(ctx, c)
		case c.phase == backoff && isDue:
			s.restartNow(ctx, c)
		case c.phase == running && up != nil && (c.up.GetGeneration() != up.GetGeneration() || c.up.GetState() != up.GetState()):
			s.up(ctx, up)
		case c.phase == running && isDue:
			s.readinessDue(ctx, &readinessDue{id: c.id, generation: c.handle.Generation()})
		}
	}
	s.announce(ctx, s.sys.PID(registryPath))
	s.announce(ctx, s.sys.PID(routerPath))
}

// decideAgain decides over a death where that has failed: the capsule's actor stands
// still until then. Where it fails again, it would fail for ever.
func (s *capsules) decideAgain(ctx actor.Context, c *child) {
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
	s.end(ctx, c, messages.CapsuleState_CAPSULE_STATE_FAILED, decision, func() { s.failedEvent(c, crash, decision) })
}
