package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/messages"
)

// end stops a capsule's actor for good: calls that wait are answered at once, a
// running call gets the stop time-out, a load none.
func (s *supervisor) end(ctx actor.Context, c *child, state messages.CapsuleState, reason string, final func()) {
	c.stopTimer()
	if c.state != slotHalting {
		c.set(slotEnded)
	}
	c.phase, c.final = stopping, final
	s.shutPool(c, reason, false)
	c.Ref.Close()
	s.tellDown(c, state, reason)
	ctx.Stop(c.pid)
	c.stopAfter()
}

// interruptAfter calls interrupt when a running call has had its time, and at once
// during a load.
func (c *child) interruptAfter(interrupt func()) {
	if c.Ref.Announced() == nil {
		interrupt()
	}
	c.timer = time.AfterFunc(c.StopTimeout, interrupt)
}

// stopAfter interrupts what runs of a capsule that stops for good, also a run that
// begins meanwhile.
func (c *child) stopAfter() {
	ref := c.Ref
	c.interruptAfter(func() { ref.Interrupt(ref.Generation(), ErrStopping) })
}

// terminated: a capsule's actor has ended.
func (s *supervisor) terminated(ctx actor.Context, m *actor.Terminated) {
	c := s.byPID(m.Who)
	if c == nil {
		return
	}
	c.stopTimer()
	if c.final != nil {
		c.final()
		c.final = nil
	}
	s.settle(ctx, c) // the start of others comes after its end
	c.phase, c.pid = ended, nil
	if c.state == slotHalting {
		c.slot.halted()
	} else if !c.again {
		c.set(slotEnded)
	}
	if c.removing {
		s.remove(c)
	}
	s.answer(c, false, c.down.Reason)
	if c.pool != nil {
		s.instanceEnded(c)
	}
	if c.again && !s.stopping {
		c.again = false
		s.spawn(ctx, c)
	}
	s.advance(ctx, c.slot)
	if u := c.upgrade; u != nil && u.next != nil {
		s.handOver(ctx, c, u)
	}
}

// stopAll begins the end of all: the library stops the children when this returns.
func (s *supervisor) stopAll() {
	s.stopping = true
	for _, timer := range s.holds {
		timer.Stop()
	}
	for _, waiting := range s.groupWaiters {
		for _, w := range waiting {
			s.System.Send(w.pid, &messages.CommandDone{Result: messages.CommandFailed, Reason: reasonStopping})
		}
	}
	clear(s.groupWaiters)
	s.stopPools()
	for _, c := range s.children {
		s.cancelUpgrade(c, reasonStopping)
		s.forgetPrevious(c)
		if c.phase == waiting {
			c.phase = ended
			s.stoppedEvent(c, CauseShutdown)
			s.answer(c, false, reasonStopping)
		}
		if c.pid == nil || c.phase == stopping {
			continue
		}
		c.stopTimer()
		s.stoppingEvent(c, CauseShutdown)
		c.phase = stopping
		c.isDown(messages.StateStopped, CauseShutdown)
		c.final = func() { s.stoppedEvent(c, CauseShutdown) }
		c.Ref.Close()
		c.stopAfter()
	}
}

func (s *supervisor) stoppingEvent(c *child, cause string) {
	s.Observe(messages.Event{
		Path: c.Ref.Path(), Generation: c.Ref.Generation(),
		Detail: messages.CapsuleStopping{Cause: cause},
	})
}

func (s *supervisor) stoppedEvent(c *child, cause string) {
	s.Observe(messages.Event{
		Path: c.Ref.Path(), Generation: c.Ref.Generation(),
		Detail: messages.CapsuleStopped{Cause: cause},
	})
}

// tellDown tells the registry and the router that a capsule does not serve.
func (s *supervisor) tellDown(c *child, state messages.CapsuleState, reason string) {
	c.isDown(state, reason)
	c.routed = nil
	if c.pool != nil && state == messages.StateCrashed { // it is restarted later
		c.pool.crew.hold(c.Ref, reason)
		c.pool.crew.spread(c.Ref)
	}
	s.System.Send(s.System.PID(RegistryPath), c.down)
	s.System.Send(s.System.PID(RouterPath), c.down)
}

// isDown records that no instance serves. The registry has heard so from the
// capsule itself; the router need not, if a new one is about to take over.
func (c *child) isDown(state messages.CapsuleState, reason string) {
	c.up, c.down = nil, &CapsuleDown{
		Ref: c.Ref, Generation: c.Ref.Generation(), State: state, Reason: reason, Interceptors: c.Ref.Version().Interceptors,
	}
}
