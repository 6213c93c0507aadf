package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/messages"
)

const (
	stoppedByOperator = "stopped by an operator"
	restartsWithGroup = "it is being restarted with its group"
	reasonStopping    = "the system stops"
)

// command finds the capsule that an operator's command is about and carries it
// out. do returns why not. Where it returns "", the sender is answered when the
// command is done: a start or restart when it is decided whether the capsule is
// up, a stop when it has ended, a kill when it has crashed.
func (s *supervisor) command(ctx actor.Context, id string, up bool, do func(actor.Context, *child) (refusal string)) {
	c := s.byID[id]
	if g := s.groups[id]; c == nil && g != nil {
		s.groupCommand(ctx, g)
		return
	}
	if c == nil {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandNotFound})
		return
	}
	if s.stopping {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandRefused, Reason: reasonStopping})
		return
	}
	before := len(c.waiters)
	c.waiters = append(c.waiters, waiter{pid: ctx.Sender(), up: up})
	if refusal := do(ctx, c); refusal != "" {
		c.waiters = c.waiters[:before]
		ctx.Respond(&messages.CommandDone{Result: messages.CommandRefused, Reason: refusal})
	}
}

// onlyGroups refuses a command about a capsule that is for groups: a capsule is started
// and restarted by an UpgradeCapsule.
func (s *supervisor) onlyGroups(actor.Context, *child) string {
	return "it is a capsule, and was just added"
}

func (s *supervisor) stopCapsule(ctx actor.Context, c *child) string {
	switch c.phase {
	case ended:
		if c.state == slotPending { // its group was about to start it
			s.endBeforeStart(ctx, c, stoppedByOperator)
		}
		c.stays = true
		s.answer(c, false, "") // as asked
		s.advance(ctx, c.slot)
		return ""
	case stopping: // answered with the stop that is under way, which is now for good
		s.cancelUpgrade(c, "it was stopped meanwhile")
		c.endsNow()
		c.stays, c.again = true, false
		return ""
	case waiting:
		s.endBeforeStart(ctx, c, stoppedByOperator)
		c.stays = true
		s.answer(c, false, "")
		s.advance(ctx, c.slot)
		return ""
	}
	s.stoppingEvent(c, messages.CauseOperator)
	s.cancelUpgrade(c, "it was stopped meanwhile")
	c.endsNow()
	c.stays = true
	s.end(ctx, c, messages.StateStopped, stoppedByOperator, func() { s.stoppedEvent(c, stoppedByOperator) })
	s.advance(ctx, c.slot)
	return ""
}

// endBeforeStart ends a capsule that has no actor yet.
func (s *supervisor) endBeforeStart(ctx actor.Context, c *child, cause string) {
	c.phase = ended
	c.set(slotEnded)
	s.stoppedEvent(c, cause)
	s.tellDown(c, messages.StateStopped, cause)
	s.settle(ctx, c)
}

func (s *supervisor) killCapsule(_ actor.Context, c *child) string {
	if c.phase != running {
		return "it does not run"
	}
	if generation := c.Ref.Generation(); generation > c.over {
		c.Ref.Interrupt(generation, ErrKilled)
	}
	return "" // if its last instance has just died, the next one is meant
}

// killUp carries out a kill that came between two instances.
func (s *supervisor) killUp(c *child) {
	for _, a := range c.waiters {
		if !a.up {
			c.Ref.Interrupt(c.up.Generation, ErrKilled)
			return
		}
	}
}
