package supervisor

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
)

const stoppedByOperator = "stopped by an operator"

// command finds the capsule that an operator's command is about and carries it
// out. do returns why not. Where it returns "", the sender is answered when the
// command is done: a start or restart when it is decided whether the capsule is
// up, a stop when it has ended, a kill when it has crashed.
func (s *capsules) command(ctx actor.Context, id string, up bool, do func(actor.Context, *child) (refusal string)) {
	c := s.byID[id]
	if c == nil {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandDone_RESULT_NOT_FOUND})
		return
	}
	if s.stopping {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandDone_RESULT_REFUSED, Reason: "the system stops"})
		return
	}
	before := len(c.asking)
	c.asking = append(c.asking, asker{pid: ctx.Sender(), up: up})
	if refusal := do(ctx, c); refusal != "" {
		c.asking = c.asking[:before]
		ctx.Respond(&messages.CommandDone{Result: messages.CommandDone_RESULT_REFUSED, Reason: refusal})
	}
}

func (s *capsules) startCapsule(ctx actor.Context, c *child) string {
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
func (s *capsules) restartCapsule(ctx actor.Context, c *child) string {
	switch c.phase {
	case stopping:
		return "it is stopping"
	case waiting:
		return "it has not been started yet"
	}
	c.restarts.reset()
	c.reload()
	generation := s.scheduled(c, verdict{}, causeOperator)
	if c.phase == ended {
		s.spawn(ctx, c)
		return ""
	}
	handle := c.handle
	wasRunning := c.phase == running
	if wasRunning && generation <= c.over {
		return "" // the next instance is on its way, and has not read the files yet
	}
	c.over = generation
	s.restartNow(ctx, c)
	if wasRunning {
		c.timer = time.AfterFunc(c.stopTimeout, func() { handle.Interrupt(generation, actors.ErrRestarting) })
	}
	return ""
}

func (s *capsules) stopCapsule(ctx actor.Context, c *child) string {
	switch c.phase {
	case ended:
		return "it does not run"
	case stopping:
		return "" // answered with the stop that is under way
	case waiting:
		c.phase = ended
		s.stoppedEvent(c, stoppedByOperator)
		s.tellDown(c, messages.CapsuleState_CAPSULE_STATE_STOPPED, stoppedByOperator)
		s.settle(ctx, c)
		s.answer(c, false, "")
		return ""
	}
	s.stoppingEvent(c, causeOperator)
	s.end(ctx, c, messages.CapsuleState_CAPSULE_STATE_STOPPED, stoppedByOperator, func() { s.stoppedEvent(c, stoppedByOperator) })
	return ""
}

func (s *capsules) killCapsule(_ actor.Context, c *child) string {
	if c.phase != running {
		return "it does not run"
	}
	if generation := c.handle.Generation(); generation > c.over {
		c.handle.Interrupt(generation, actors.ErrKilled)
	}
	return "" // where its last instance has just died, the next one is meant
}

// killUp carries out a kill that came between two instances.
func (s *capsules) killUp(c *child) {
	for _, a := range c.asking {
		if !a.up {
			c.handle.Interrupt(c.up.GetGeneration(), actors.ErrKilled)
			return
		}
	}
}
