package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// start begins with every capsule that waits for no other.
func (s *supervisor) start(ctx actor.Context) {
	s.self = ctx.Self()
	s.unsettled = len(s.children)
	for _, c := range s.children {
		s.tellDown(c, messages.StateLoading, notStarted)
	}
	s.pools(s.announcePool)
	ctx.Send(s.System.PID(RouterPath), &resyncDone{}) // triggers are answered from now on
	s.reportStarted()
	for _, c := range s.children {
		c.await(c.imports > 0)
	}
	for _, c := range s.children {
		s.advance(ctx, c.slot)
	}
}

// firstStart starts a child as soon as those that it imports from, and those before it
// in its group, have started.
func (s *supervisor) firstStart(ctx actor.Context, c *child) {
	c.await(c.imports > 0)
	s.advance(ctx, c.slot)
}

// spawnReady fills the free start slots.
func (s *supervisor) spawnReady(ctx actor.Context) {
	for s.starting < s.StartSlots && len(s.ready) > 0 && !s.stopping {
		c := s.ready[0]
		s.ready = s.ready[1:]
		if c.phase != waiting {
			continue
		}
		s.starting++
		// The more loads hang, the sooner the next is taken for one: each costs those
		// behind it only its share of one readiness time-out.
		hold := c.ReadyTimeout / time.Duration(1+s.hanging)
		c.startSlot = time.AfterFunc(hold, func() { s.System.Send(s.self, &slotDue{c}) })
		s.spawn(ctx, c)
	}
}

// slotDue: a first start takes so long that unrelated capsules no longer wait for it.
func (s *supervisor) slotDue(ctx actor.Context, m *slotDue) {
	if c := m.child; c.startSlot != nil {
		c.hanging = true
		s.hanging++
		s.releaseSlot(ctx, c)
	}
}

// releaseSlot gives a start slot back.
func (s *supervisor) releaseSlot(ctx actor.Context, c *child) {
	if c.startSlot == nil {
		return
	}
	c.startSlot.Stop()
	c.startSlot = nil
	s.starting--
	s.spawnReady(ctx)
}

// spawn starts a capsule's actor.
func (s *supervisor) spawn(ctx actor.Context, c *child) {
	over := c.Ref.Generation() // read before the next one can begin
	c.Ref.Go()                 // its last actor may have ended while it was halted
	pid, err := ctx.SpawnNamed(c.Ref.Props(), c.path())
	if err != nil {
		// Only a name that is taken: two starts of one capsule, which phase forbids.
		s.Log.Error("capsule not started", "err", err, "capsule", c.id)
		return
	}
	c.pid, c.phase, c.over = pid, running, over
	c.started()
	c.joinPool(s)
}

// up: an instance serves.
func (s *supervisor) up(ctx actor.Context, m *CapsuleUp) {
	c := s.byID[m.Ref.Name()]
	if c == nil || c.phase != running || m.Generation <= c.over || c.up == m || c.up != nil && m.Generation < c.up.Generation {
		return // its death has overtaken it, or reconcile has seen it or its successor
	}
	c.up, c.down, c.routed = m, nil, m
	c.stopTimer()
	s.upgraded(c, m.Generation)
	s.killUp(c)
	if m.State == messages.StateReady {
		s.serves(ctx, c)
		return
	}
	s.remind(c, c.ReadyTimeout, &readinessDue{id: c.id, generation: m.Generation})
}

// remind has a message come after a while.
func (s *supervisor) remind(c *child, after time.Duration, message any) {
	c.due = monotime.Now().Add(after)
	c.timer = time.AfterFunc(after, func() { s.System.Send(s.self, message) })
}

// readinessDue: a run loop has had the time that others wait for it.
func (s *supervisor) readinessDue(ctx actor.Context, m *readinessDue) {
	c := s.byID[m.id]
	if c == nil {
		return
	}
	up := c.Ref.Announced() // newer than c.up: it may be Ready by now, or dead
	if c.phase != running || c.due == monotime.None || up == nil || up.Generation != m.generation ||
		up.State != messages.StateStarting {
		return
	}
	c.due = monotime.None
	s.Observe(messages.Event{
		Path: c.Ref.Path(), Generation: m.generation,
		Detail: messages.ReadinessTimedOut{Waited: c.ReadyTimeout},
	})
	s.serves(ctx, c)
}

// serves: an instance is ready, or others have waited long enough for it.
func (s *supervisor) serves(ctx actor.Context, c *child) {
	c.serves()
	if c.pool != nil {
		s.watchIdle(c.pool, c.pool.crew.Size().Idle)
	}
	s.settle(ctx, c)
	s.answer(c, true, "")
	s.advance(ctx, c.slot)
}

// settle ends the wait of others for a capsule's first start.
func (s *supervisor) settle(ctx actor.Context, c *child) {
	if c.settled {
		return
	}
	c.settled = true
	if c.hanging {
		c.hanging = false
		s.hanging--
	}
	s.releaseSlot(ctx, c)
	for _, d := range c.dependents {
		if d.imports--; d.imports == 0 && d.state == slotWaiting {
			d.state = slotPending
			s.advance(ctx, d.slot)
		}
	}
	s.unsettled--
	s.reportStarted()
	s.spawnReady(ctx)
}

// reportStarted reports, once, that the first start of every child is settled.
func (s *supervisor) reportStarted() {
	if s.unsettled == 0 && !s.started {
		s.started = true
		s.Observe(messages.Event{Detail: messages.SystemStarted{Capsules: uint32(s.capsules())}}) //nolint:gosec // a count
	}
}
