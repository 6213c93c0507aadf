package actors

import (
	"cmp"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// HandleFailure decides what follows a capsule's death. The library calls it on
// this actor's goroutine; the capsule's actor is suspended until then.
func (s *supervisor) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, pid *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	ctx := supervisor.(actor.Context) //nolint:forcetypeassert // the library's contract: it is this actor's context
	c := s.byPID(pid)
	if c == nil || c.phase == stopping || s.stopping {
		supervisor.StopChildren(pid)
		return
	}
	crash, ok := reason.(*Crash)
	if ok && crash.halted {
		s.halted(ctx, c, crash)
		return
	}
	generation := c.Ref.Generation()
	if ok {
		generation = crash.Generation
	}
	if generation <= c.over {
		return // an operator's restart is on its way to it
	}
	if !ok {
		crash = s.bug(c, reason)
	}
	c.over = crash.Generation
	c.undecided = crash
	s.decide(ctx, c, crash)
	c.undecided = nil
}

// decide decides what follows a capsule's death, and does it.
func (s *supervisor) decide(ctx actor.Context, c *child, crash *Crash) {
	s.upgraded(c, crash.Generation)
	c.stopTimer()
	c.isDown(messages.StateCrashed, "it crashed")
	if c.pool != nil {
		c.pool.crew.spread(c.Ref)
	}
	s.settle(ctx, c)
	s.answer(c, false, "it crashed: "+crash.Failure.Message)
	dead := death{
		uptime: crash.Uptime, clean: crash.Clean, permanent: crash.Permanent, blameless: crash.Blameless != "",
		now: monotime.Now(), jitter: jitter(c.id, time.Now()),
	}
	cause := cmp.Or(crash.Blameless, messages.CauseCrash)
	// Another version takes its place: that is a restart in its group's strategy, since the
	// instance has died, but it costs no budget.
	if replaced := s.replacedBy(c, crash); replaced != "" {
		cause, dead.clean, dead.permanent, dead.blameless = replaced, false, false, true
	}
	d := c.died(dead)
	if d.absorbed {
		s.absorbed(ctx, c)
		return
	}
	s.follow(ctx, c, crash, d, cause)
}

// replacedBy has another version take the place of a child's that has crashed, if there is
// one, and returns why; else "".
func (s *supervisor) replacedBy(c *child, crash *Crash) string {
	switch u := c.upgrade; {
	case u != nil && u.generation > 0: // its successor was offered to it
		c.restarts.reset()
		return messages.CauseOperator
	case s.rollBack(c, crash):
		return messages.CauseRollback
	default:
		return ""
	}
}

// absorbed: a capsule died that was to be halted.
func (s *supervisor) absorbed(ctx actor.Context, c *child) {
	c.phase = backoff
	if c.state == slotEnded {
		s.endOfGroup(ctx, c)
	}
	s.advance(ctx, c.slot)
}

// bug is the crash of a capsule's actor that is not its guest's fault.
func (s *supervisor) bug(c *child, reason any) *Crash {
	crash := &Crash{
		Generation: c.Ref.Generation(), During: "call", Uptime: c.Ref.Uptime(),
		Failure: messages.Failure{Kind: "panic", Message: fmt.Sprintf("panic in its actor: %v", reason), At: time.Now()},
	}
	c.undecided = crash // also if this fails
	c.Ref.Revoke(messages.StateCrashed, crash.Failure.Message)
	s.Observe(messages.Event{
		Path: c.Ref.Path(), Generation: crash.Generation,
		Detail: messages.CapsuleCrashed{Failure: crash.Failure, During: crash.During},
	})
	return crash
}

// scheduled reports a restart that was decided. Unless by is nil, its strategy decided so
// because of dead.
func (s *supervisor) scheduled(c *child, v verdict, cause string, by *group, dead *child) {
	var group, strategy, causePath string
	spent, budget := len(c.restarts.spent), c.restarts.policy.Budget
	if c.pool != nil {
		spent, budget, by = len(c.pool.deaths.spent), c.pool.policy.Budget, notPool(by)
	}
	switch {
	case by == nil:
	case by.parent != nil:
		group, strategy, causePath = groupPath(by), string(by.strategy), capsulePath(dead.slot)
	case dead.outermost() != nil: // the top restarts a group that has failed
		group, strategy, causePath = CapsulesPath, string(by.strategy), capsulePath(dead.slot)
	}
	c.Ref.During(func(generation uint64) {
		s.Observe(messages.Event{
			Path: c.Ref.Path(), Generation: generation,
			Detail: messages.RestartScheduled{
				Attempt:     uint32(v.attempt),                     //nolint:gosec // a count
				BudgetSpent: uint32(spent), Budget: uint32(budget), //nolint:gosec // counts
				Window: c.restarts.policy.Window, Delay: v.delay, Cause: cause,
				Supervisor: group, Strategy: strategy, CausePath: causePath,
			},
		})
	})
}

// giveUp ends a capsule that policy does not restart. The decision of a group replaces
// that of its own policy, unless empty.
func (s *supervisor) giveUp(ctx actor.Context, c *child, crash *Crash, ofGroup string) {
	if crash.Clean && c.restarts.policy.Mode != Permanent {
		cause := fmt.Sprintf("it ended by itself, and restart = %q", c.restarts.policy.Mode)
		s.end(ctx, c, messages.StateStopped, cause, func() { s.stoppedEvent(c, cause) })
		return
	}
	decision := fmt.Sprintf("restart = %q", c.restarts.policy.Mode)
	switch {
	case ofGroup != "":
		decision = ofGroup
	case crash.Permanent:
		decision = "it can't load until its files change: start it again then"
	case c.restarts.policy.Mode != Temporary:
		decision = fmt.Sprintf("restart budget spent: %d in %v", c.restarts.policy.Budget, c.restarts.policy.Window)
	}
	s.end(ctx, c, messages.StateFailed, decision, func() { s.failedEvent(c, crash, decision) })
}

func (s *supervisor) failedEvent(c *child, crash *Crash, decision string) {
	s.Observe(messages.Event{
		Path: c.Ref.Path(), Generation: crash.Generation,
		Detail: messages.CapsuleFailed{Failure: crash.Failure, Decision: decision},
	})
}

// restartNow replaces the instance of a capsule whose actor runs or is suspended.
func (s *supervisor) restartNow(ctx actor.Context, c *child) {
	c.stopTimer()
	c.phase, c.undecided = running, nil
	c.started()
	c.Ref.Go()
	c.joinPool(s)
	ctx.(actor.Supervisor).RestartChildren(c.pid) //nolint:forcetypeassert // every context is one
}
