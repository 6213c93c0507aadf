package actors

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// causeShutdown is why capsules stop when the system does.
const causeShutdown = "the system stops"

// SupervisorConfig describes the supervisor of all capsules.
type SupervisorConfig struct {
	System *system.System
	Log    *slog.Logger
	// Observe receives events. It must not block.
	Observe func(messages.Event)
	// Children are in start order.
	Children []ChildSpec
	// StartSlots is how many may be starting at once.
	StartSlots int
}

// ChildSpec describes one capsule under supervision.
type ChildSpec struct {
	Ref *CapsuleRef
	// Reload makes the next load read the capsule's files again.
	Reload func()
	// ReadyTimeout is how long the start of others waits for a run loop to signal,
	// or for a long load.
	ReadyTimeout time.Duration
	// StopTimeout is how long a running call is given when the capsule stops.
	StopTimeout time.Duration
	Restart     RestartPolicy
	// WaitsFor are the places in Children of those that it imports from: it starts
	// after they have.
	WaitsFor []int
}

// SupervisorProps describes the supervisor of all capsules: one for one, with
// backoff and a restart budget. It starts them in dependency order, several at a
// time, and carries out the operator's commands. Its parent is the root, which
// resumes it with its state should it fail: its children need not die of that.
func SupervisorProps(cfg SupervisorConfig) *actor.Props {
	s := &supervisor{SupervisorConfig: cfg, byID: map[string]*child{}}
	for _, spec := range cfg.Children {
		c := &child{ChildSpec: spec, id: spec.Ref.ID(), restarts: restarts{policy: spec.Restart}, over: spec.Ref.Generation()}
		s.children, s.byID[c.id] = append(s.children, c), c
	}
	for _, c := range s.children {
		for _, on := range c.WaitsFor {
			s.children[on].dependents = append(s.children[on].dependents, c)
			c.imports++
		}
	}
	return cfg.System.Props(func() actor.Actor { return s }, system.NewMailbox(0, nil))
}

// supervisor is the state of the capsules' supervisor. All fields belong to the
// actor's goroutine; timers only send it messages.
type supervisor struct {
	SupervisorConfig
	self *actor.PID

	children  []*child // in start order
	byID      map[string]*child
	ready     []*child // may be spawned, waiting for a start slot
	starting  int      // start slots in use
	hanging   int      // first starts that have lost their slot and are not settled
	unsettled int      // first starts not settled yet
	stopping  bool
}

// phase is the state of a child as its supervisor sees it.
type phase int

const (
	waiting  phase = iota // for capsules that it imports from, before its first start
	running               // its actor runs, or is being restarted
	backoff               // its actor is suspended until restartDue
	stopping              // its actor was told to stop
	ended                 // there is no actor: stopped, or failed
)

// child is one capsule under supervision.
type child struct {
	ChildSpec
	id       string
	restarts restarts

	phase      phase
	pid        *actor.PID
	up         *CapsuleUp    // its current instance; nil if none serves
	down       *CapsuleDown  // why none does; nil if one serves
	timer      *time.Timer   // for restartDue, readinessDue or an overdue stop
	due        monotime.Time // when one of the first two is to come; None when it has
	slot       *time.Timer   // holds a start slot, until it fires or the start is settled; nil without one
	hanging    bool          // it has lost its start slot, and is not settled
	settled    bool          // no start of others waits for its first start
	dependents []*child
	imports    int      // dependencies whose first start is not settled
	over       uint64   // the newest generation that has died, or that an operator's restart ends
	undecided  *Crash   // a death on which the decision has failed; else nil
	deciding   bool     // it is being decided again
	waiters    []waiter // for a command to be done
	final      func()   // reports the end, once the actor has stopped
}

// Receive handles one message.
func (s *supervisor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		s.start(ctx)
	case *actor.Stopping:
		s.stopAll()
	case *actor.Terminated:
		s.terminated(ctx, m)
	case *CapsuleUp:
		s.up(ctx, m)
	case *messages.StartCapsule:
		s.command(ctx, m.ID, true, s.startCapsule)
	case *messages.StopCapsule:
		s.command(ctx, m.ID, false, s.stopCapsule)
	case *messages.RestartCapsule:
		s.command(ctx, m.ID, true, s.restartCapsule)
	case *messages.KillCapsule:
		s.command(ctx, m.ID, false, s.killCapsule)
	case *restartDue:
		s.restartDue(ctx, m)
	case *readinessDue:
		s.readinessDue(ctx, m)
	case *slotDue:
		s.slotDue(ctx, m)
	case *resync:
		s.resync(ctx, m.to)
	case *reconcile:
		s.reconcile(ctx)
	case *actor.Stopped, *actor.Restarting:
	default:
		s.Log.Error("capsules supervisor: message not understood", "message", fmt.Sprintf("%T", m))
	}
}

// start begins with every capsule that waits for no other.
func (s *supervisor) start(ctx actor.Context) {
	s.self = ctx.Self()
	s.unsettled = len(s.children)
	for _, c := range s.children {
		s.tellDown(c, messages.StateLoading, "it has not been started yet")
	}
	ctx.Send(s.System.PID(RouterPath), &resyncDone{}) // triggers are answered from now on
	if s.unsettled == 0 {
		s.Observe(messages.Event{Detail: messages.SystemStarted{}})
	}
	for _, c := range s.children {
		if c.imports == 0 {
			s.ready = append(s.ready, c)
		}
	}
	s.spawnReady(ctx)
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
		c.slot = time.AfterFunc(hold, func() { s.System.Send(s.self, &slotDue{c.id}) })
		s.spawn(ctx, c)
	}
}

// slotDue: a first start takes so long that unrelated capsules no longer wait for it.
func (s *supervisor) slotDue(ctx actor.Context, m *slotDue) {
	if c := s.byID[m.id]; c.slot != nil {
		c.hanging = true
		s.hanging++
		s.releaseSlot(ctx, c)
	}
}

// releaseSlot gives a start slot back.
func (s *supervisor) releaseSlot(ctx actor.Context, c *child) {
	if c.slot == nil {
		return
	}
	c.slot.Stop()
	c.slot = nil
	s.starting--
	s.spawnReady(ctx)
}

// spawn starts a capsule's actor.
func (s *supervisor) spawn(ctx actor.Context, c *child) {
	over := c.Ref.Generation() // read before the next one can begin
	pid, err := ctx.SpawnNamed(c.Ref.Props(), c.id)
	if err != nil {
		// Only a name that is taken: two starts of one capsule, which phase forbids.
		s.Log.Error("capsule not started", "err", err, "capsule", c.id)
		return
	}
	c.pid, c.phase, c.over = pid, running, over
}

// up: an instance serves.
func (s *supervisor) up(ctx actor.Context, m *CapsuleUp) {
	c := s.byID[m.Ref.ID()]
	if c == nil || c.phase != running || m.Generation <= c.over || c.up == m {
		return // its death has overtaken it, or reconcile has seen it
	}
	c.up, c.down = m, nil
	c.stopTimer()
	s.killUp(c)
	if m.State == messages.StateReady {
		s.settle(ctx, c)
		s.answer(c, true, "")
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
	up := c.Ref.Announced() // newer than c.up: it may be Ready by now, or dead
	if c.phase != running || c.due == monotime.None || up == nil || up.Generation != m.generation ||
		up.State != messages.StateStarting {
		return
	}
	c.due = monotime.None
	s.Observe(messages.Event{
		Path: CapsulePath(c.id), Generation: m.generation,
		Detail: messages.ReadinessTimedOut{Waited: c.ReadyTimeout},
	})
	s.settle(ctx, c)
	s.answer(c, true, "")
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
		if d.imports--; d.imports == 0 {
			s.ready = append(s.ready, d)
		}
	}
	if s.unsettled--; s.unsettled == 0 {
		s.Observe(messages.Event{Detail: messages.SystemStarted{Capsules: uint32(len(s.children))}}) //nolint:gosec // a count
	}
	s.spawnReady(ctx)
}

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
	c.stopTimer()
	c.isDown(messages.StateCrashed, "it crashed")
	s.settle(ctx, c)
	s.answer(c, false, "it crashed: "+crash.Failure.Message)

	v, cause := verdict{restart: true}, crash.Blameless
	switch {
	case crash.Blameless != "":
		c.restarts.ran(crash.Uptime)
	case crash.Permanent:
		v = verdict{}
	default:
		v, cause = c.restarts.died(crash.Uptime, crash.Clean, jitter()), messages.CauseCrash
	}
	if !v.restart {
		s.giveUp(ctx, c, crash)
		return
	}
	s.scheduled(c, v, cause)
	if v.delay == 0 {
		s.restartNow(ctx, c)
		return
	}
	c.phase = backoff
	s.tellDown(c, messages.StateCrashed, fmt.Sprintf("it crashed, and restarts in %v", v.delay.Round(time.Millisecond)))
	s.remind(c, v.delay, &restartDue{id: c.id, generation: crash.Generation})
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
		Path: CapsulePath(c.id), Generation: crash.Generation,
		Detail: messages.CapsuleCrashed{Failure: crash.Failure, During: crash.During},
	})
	return crash
}

// scheduled reports a restart that was decided, and returns of which generation.
func (s *supervisor) scheduled(c *child, v verdict, cause string) (of uint64) {
	c.Ref.During(func(generation uint64) {
		of = generation
		s.Observe(messages.Event{
			Path: CapsulePath(c.id), Generation: generation,
			Detail: messages.RestartScheduled{
				Attempt:     uint32(v.attempt),                                                       //nolint:gosec // a count
				BudgetSpent: uint32(len(c.restarts.spent)), Budget: uint32(c.restarts.policy.Budget), //nolint:gosec // counts
				Window: c.restarts.policy.Window, Delay: v.delay, Cause: cause,
			},
		})
	})
	return of
}

// giveUp ends a capsule that policy does not restart.
func (s *supervisor) giveUp(ctx actor.Context, c *child, crash *Crash) {
	if crash.Clean && c.restarts.policy.Mode != Permanent {
		cause := fmt.Sprintf("it ended by itself, and restart = %q", c.restarts.policy.Mode)
		s.end(ctx, c, messages.StateStopped, cause, func() { s.stoppedEvent(c, cause) })
		return
	}
	decision := fmt.Sprintf("restart = %q", c.restarts.policy.Mode)
	switch {
	case crash.Permanent:
		decision = "it can't load until its files change: start it again then"
	case c.restarts.policy.Mode != Temporary:
		decision = fmt.Sprintf("restart budget spent: %d in %v", c.restarts.policy.Budget, c.restarts.policy.Window)
	}
	s.end(ctx, c, messages.StateFailed, decision, func() { s.failedEvent(c, crash, decision) })
}

func (s *supervisor) failedEvent(c *child, crash *Crash, decision string) {
	s.Observe(messages.Event{
		Path: CapsulePath(c.id), Generation: crash.Generation,
		Detail: messages.CapsuleFailed{Failure: crash.Failure, Decision: decision},
	})
}

// end stops a capsule's actor for good: calls that wait are answered at once, a
// running call gets the stop time-out, a load none.
func (s *supervisor) end(ctx actor.Context, c *child, state messages.CapsuleState, reason string, final func()) {
	c.stopTimer()
	c.phase, c.final = stopping, final
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
	s.answer(c, false, c.down.Reason)
}

// restartDue: a backoff is over.
func (s *supervisor) restartDue(ctx actor.Context, m *restartDue) {
	if c := s.byID[m.id]; c.phase == backoff && c.Ref.Generation() == m.generation {
		s.restartNow(ctx, c)
	}
}

// restartNow replaces the instance of a capsule whose actor runs or is suspended.
func (s *supervisor) restartNow(ctx actor.Context, c *child) {
	c.stopTimer()
	c.phase, c.undecided = running, nil
	ctx.(actor.Supervisor).RestartChildren(c.pid) //nolint:forcetypeassert // every context is one
}

// stopAll begins the end of all: the library stops the children when this returns.
func (s *supervisor) stopAll() {
	s.stopping = true
	for _, c := range s.children {
		if c.phase == waiting {
			c.phase = ended
			s.stoppedEvent(c, causeShutdown)
		}
		if c.pid == nil || c.phase == stopping {
			continue
		}
		c.stopTimer()
		s.stoppingEvent(c, causeShutdown)
		c.phase = stopping
		c.isDown(messages.StateStopped, causeShutdown)
		c.final = func() { s.stoppedEvent(c, causeShutdown) }
		c.Ref.Close()
		c.stopAfter()
	}
}

func (s *supervisor) stoppingEvent(c *child, cause string) {
	s.Observe(messages.Event{
		Path: CapsulePath(c.id), Generation: c.Ref.Generation(),
		Detail: messages.CapsuleStopping{Cause: cause},
	})
}

func (s *supervisor) stoppedEvent(c *child, cause string) {
	s.Observe(messages.Event{
		Path: CapsulePath(c.id), Generation: c.Ref.Generation(),
		Detail: messages.CapsuleStopped{Cause: cause},
	})
}

// tellDown tells the registry and the router that a capsule does not serve.
func (s *supervisor) tellDown(c *child, state messages.CapsuleState, reason string) {
	c.isDown(state, reason)
	s.System.Send(s.System.PID(RegistryPath), c.down)
	s.System.Send(s.System.PID(RouterPath), c.down)
}

// isDown records that no instance serves. The registry has heard so from the
// capsule itself; the router need not, if a new one is about to take over.
func (c *child) isDown(state messages.CapsuleState, reason string) {
	c.up, c.down = nil, &CapsuleDown{
		Ref: c.Ref, Generation: c.Ref.Generation(), State: state, Reason: reason, Interceptors: c.Ref.cfg.Interceptors,
	}
}

func (s *supervisor) byPID(pid *actor.PID) *child {
	for i := len(pid.Id) - 1; i >= 0; i-- {
		if pid.Id[i] == '/' {
			return s.byID[pid.Id[i+1:]]
		}
	}
	return nil
}

func (c *child) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.due = monotime.None
}

// waiter waits for a capsule to be up, or to be down.
type waiter struct {
	pid *actor.PID
	up  bool
}

// answer tells those who wait for a command that the capsule is up, or is down
// and why.
func (s *supervisor) answer(c *child, up bool, reason string) {
	remaining := c.waiters[:0]
	for _, a := range c.waiters {
		switch {
		case a.up == up:
			s.System.Send(a.pid, &messages.CommandDone{Result: messages.CommandSucceeded, Reason: reason})
		case a.up:
			s.System.Send(a.pid, &messages.CommandDone{Result: messages.CommandFailed, Reason: reason})
		default:
			remaining = append(remaining, a)
		}
	}
	c.waiters = remaining
}

// Self-messages say what is due; by their generation late ones are ignored.
type (
	slotDue    struct{ id string }
	restartDue struct {
		id         string
		generation uint64
	}
	readinessDue struct {
		id         string
		generation uint64
	}
)
