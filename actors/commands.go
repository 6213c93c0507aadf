package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/messages"
)

const stoppedByOperator = "stopped by an operator"

// command finds the capsule that an operator's command is about and carries it
// out. do returns why not. Where it returns "", the sender is answered when the
// command is done: a start or restart when it is decided whether the capsule is
// up, a stop when it has ended, a kill when it has crashed.
func (s *supervisor) command(ctx actor.Context, id string, up bool, do func(actor.Context, *child) (refusal string)) {
	c := s.byID[id]
	if c == nil {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandNotFound})
		return
	}
	if s.stopping {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandRefused, Reason: "the system stops"})
		return
	}
	before := len(c.waiters)
	c.waiters = append(c.waiters, waiter{pid: ctx.Sender(), up: up})
	if refusal := do(ctx, c); refusal != "" {
		c.waiters = c.waiters[:before]
		ctx.Respond(&messages.CommandDone{Result: messages.CommandRefused, Reason: refusal})
	}
}

func (s *supervisor) startCapsule(ctx actor.Context, c *child) string {
	switch c.phase {
	case running:
		return "it runs already"
	case stopping:
		return "it is stopping"
	case waiting:
		return "it starts as soon as the capsules that it imports from have"
	}
	return s.restartCapsule(ctx, c)
}

// restartCapsule replaces the instance, with the capsule's files read again and
// the restart budget full. A running call gets the stop time-out; calls that
// wait are served by the new instance.
func (s *supervisor) restartCapsule(ctx actor.Context, c *child) string {
	switch c.phase {
	case stopping:
		return "it is stopping"
	case waiting:
		return "it has not been started yet"
	}
	c.restarts.reset()
	c.Reload()
	generation := s.scheduled(c, verdict{}, messages.CauseOperator)
	if c.phase == ended {
		s.spawn(ctx, c)
		return ""
	}
	wasRunning := c.phase == running
	if wasRunning && generation <= c.over {
		return "" // the next instance is on its way, and has not read the files yet
	}
	c.over = generation
	s.restartNow(ctx, c)
	if wasRunning {
		ref := c.Ref // its next generation may have begun: that one is left alone
		c.interruptAfter(func() { ref.Interrupt(generation, ErrRestarting) })
	}
	return ""
}

func (s *supervisor) stopCapsule(ctx actor.Context, c *child) string {
	switch c.phase {
	case ended:
		return "it does not run"
	case stopping:
		return "" // answered with the stop that is under way
	case waiting:
		c.phase = ended
		s.stoppedEvent(c, stoppedByOperator)
		s.tellDown(c, messages.StateStopped, stoppedByOperator)
		s.settle(ctx, c)
		s.answer(c, false, "")
		return ""
	}
	s.stoppingEvent(c, messages.CauseOperator)
	s.end(ctx, c, messages.StateStopped, stoppedByOperator, func() { s.stoppedEvent(c, stoppedByOperator) })
	return ""
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
