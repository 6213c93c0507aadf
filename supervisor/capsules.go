package supervisor

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Why a restart was decided, as events say it.
const (
	causeCrash    = "crash"
	causeDeadline = "a trigger's deadline"
	causeOperator = "an operator's command"
	causeShutdown = "the system stops"
)

// capsules is the supervisor of all capsules: one for one, with backoff and a
// restart budget. It starts them in dependency order, several at a time, and
// carries out the operator's commands. Its parent is the root, which resumes it
// with its state should it ever fail: its children need not die of that.
//
// All fields belong to the actor's goroutine; timers only send it messages.
type capsules struct {
	sys     *system.System
	log     zerolog.Logger
	observe func(*messages.Event)
	self    *actor.PID

	children  []*child // in start order
	byID      map[string]*child
	ready     []*child // may be spawned, waiting for a place
	starting  int      // spawned, first start not settled
	places    int      // how many may start at once
	unsettled int      // first starts not settled yet
	stopping  bool
}

// phase is where a child stands in its supervisor's eyes.
type phase int

const (
	waiting  phase = iota // for what it imports, before its first start
	running               // its actor runs, or is being restarted
	backoff               // its actor is suspended until restartDue
	stopping              // its actor was told to stop
	ended                 // there is no actor: stopped, or failed
)

// child is one capsule under supervision.
type child struct {
	id           string
	handle       *actors.Handle
	reload       func() // makes the next load read the capsule's files again
	interceptors []*messages.Interceptor
	readyTimeout time.Duration
	stopTimeout  time.Duration
	restarts     restarts

	phase      phase
	pid        *actor.PID
	up         *messages.CapsuleUp   // its present instance; nil where none lives
	down       *messages.CapsuleDown // why none does; nil while one lives
	timer      *time.Timer           // for restartDue, readinessDue or an overdue stop
	due        time.Time             // when one of the first two is to come; zero when it has
	settled    bool                  // its first start holds up nobody any more
	dependents []*child
	imports    int           // dependencies whose first start is not settled
	over       uint64        // the newest generation that has died, or that an operator's restart ends
	undecided  *actors.Crash // a death over which deciding has failed; nil else
	deciding   bool          // it is being decided again
	asking     []asker       // who waits for a command to be done
	final      func()        // reports the end, once the actor has stopped
}

// Receive handles one message.
func (s *capsules) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		s.start(ctx)
	case *actor.Stopping:
		s.stopAll()
	case *actor.Terminated:
		s.terminated(ctx, m)
	case *messages.CapsuleUp:
		s.up(ctx, m)
	case *messages.StartCapsule:
		s.command(ctx, m.GetId(), true, s.startCapsule)
	case *messages.StopCapsule:
		s.command(ctx, m.GetId(), false, s.stopCapsule)
	case *messages.RestartCapsule:
		s.command(ctx, m.GetId(), true, s.restartCapsule)
	case *messages.KillCapsule:
		s.command(ctx, m.GetId(), false, s.killCapsule)
	case *restartDue:
		s.restartDue(ctx, m)
	case *readinessDue:
		s.readinessDue(ctx, m)
	case *announce:
		s.announce(ctx, m.to)
	case *lookAgain:
		s.lookAgain(ctx)
	case *actor.Stopped, *actor.Restarting:
	default:
		s.log.Error().Type("message", m).Msg("capsules supervisor: message not understood")
	}
}

// start begins with every capsule that waits for no other.
func (s *capsules) start(ctx actor.Context) {
	s.self = ctx.Self()
	s.unsettled = len(s.children)
	if s.unsettled == 0 {
		s.observe(&messages.Event{What: &messages.Event_SystemStarted{SystemStarted: &messages.SystemStarted{}}})
	}
	for _, c := range s.children {
		s.tellDown(c, messages.CapsuleState_CAPSULE_STATE_LOADING, "it has not been started yet")
	}
	for _, c := range s.children {
		if c.imports == 0 {
			s.ready = append(s.ready, c)
		}
	}
	s.spawnReady(ctx)
}

// spawnReady fills the free places.
func (s *capsules) spawnReady(ctx actor.Context) {
	for s.starting < s.places && len(s.ready) > 0 && !s.stopping {
		c := s.ready[0]
		s.ready = s.ready[1:]
		if c.phase == waiting {
			s.starting++
			s.spawn(ctx, c)
		}
	}
}

// spawn starts a capsule's actor.
func (s *capsules) spawn(ctx actor.Context, c *child) {
	over := c.handle.Generation() // read before the next one can begin
	pid, err := ctx.SpawnNamed(c.handle.Props(), c.id)
	if err != nil {
		// Only a name that is taken: two starts of one capsule, which phase forbids.
		s.log.Error().Err(err).Str("capsule", c.id).Msg("capsule not started")
		return
	}
	c.pid, c.phase, c.over = pid, running, over
}

// up: an instance lives.
func (s *capsules) up(ctx actor.Context, m *messages.CapsuleUp) {
	c := s.byID[m.GetCapsule()]
	if c == nil || c.phase != running || m.GetGeneration() <= c.over || c.up == m {
		return // news of its death have overtaken it, or it was seen when looking again
	}
	c.up, c.down = m, nil
	c.stopTimer()
	s.killUp(c)
	if m.GetState() == messages.CapsuleState_CAPSULE_STATE_READY {
		s.settle(ctx, c)
		s.answer(c, true, "")
		return
	}
	s.remind(c, c.readyTimeout, &readinessDue{id: c.id, generation: m.GetGeneration()})
}

// remind has a message come after a while.
func (s *capsules) remind(c *child, after time.Duration, message any) {
	c.due = time.Now().Add(after)
	c.timer = time.AfterFunc(after, func() { s.sys.Send(s.self, message) })
}

// readinessDue: a run loop has had the time that others wait for it.
func (s *capsules) readinessDue(ctx actor.Context, m *readinessDue) {
	c := s.byID[m.id]
	up := c.handle.Announced() // newer than c.up: it may be Ready by now, or dead
	if c.phase != running || c.due.IsZero() || up.GetGeneration() != m.generation ||
		up.GetState() != messages.CapsuleState_CAPSULE_STATE_STARTING {
		return
	}
	c.due = time.Time{}
	s.observe(&messages.Event{
		Path: actors.CapsulePath(c.id), Generation: m.generation,
		What: &messages.Event_ReadinessTimedOut{ReadinessTimedOut: &messages.ReadinessTimedOut{Waited: durationpb.New(c.readyTimeout)}},
	})
	s.settle(ctx, c)
	s.answer(c, true, "")
}

// settle ends the wait of others for a capsule's first start.
func (s *capsules) settle(ctx actor.Context, c *child) {
	if c.settled {
		return
	}
	c.settled = true
	if c.pid != nil {
		s.starting--
	}
	for _, d := range c.dependents {
		if d.imports--; d.imports == 0 {
			s.ready = append(s.ready, d)
		}
	}
	if s.unsettled--; s.unsettled == 0 {
		s.observe(&messages.Event{What: &messages.Event_SystemStarted{
			SystemStarted: &messages.SystemStarted{Capsules: uint32(len(s.children))}, //nolint:gosec // a count
		}})
	}
	s.spawnReady(ctx)
}

// HandleFailure decides what follows a capsule's death. The library calls it on
// this actor's goroutine; the capsule's actor stands still until then.
func (s *capsules) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, pid *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	ctx := supervisor.(actor.Context) //nolint:forcetypeassert // the library's contract: it is this actor's context
	c := s.byPID(pid)
	if c == nil || c.phase == stopping || s.stopping {
		supervisor.StopChildren(pid)
		return
	}
	crash, ok := reason.(*actors.Crash)
	switch {
	case !ok:
		crash = s.bug(c, reason)
	case crash.Generation <= c.over:
		return // an operator's restart is on its way to it
	}
	c.over = crash.Generation
	c.undecided = crash
	s.decide(ctx, c, crash)
	c.undecided = nil
}

// decide says what follows a capsule's death, and does it.
func (s *capsules) decide(ctx actor.Context, c *child, crash *actors.Crash) {
	c.stopTimer()
	c.isDown(messages.CapsuleState_CAPSULE_STATE_CRASHED, "it crashed")
	s.settle(ctx, c)
	s.answer(c, false, "it crashed: "+crash.Failure.GetMessage())

	v, cause := verdict{restart: true}, causeDeadline
	if crash.Blameless {
		c.restarts.lived(crash.Up)
	} else {
		v, cause = c.restarts.died(crash.Up, crash.Clean, jitter()), causeCrash
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
	s.tellDown(c, messages.CapsuleState_CAPSULE_STATE_CRASHED, fmt.Sprintf("it crashed, and restarts in %v", v.delay.Round(time.Millisecond)))
	s.remind(c, v.delay, &restartDue{id: c.id, generation: crash.Generation})
}

// bug is what a capsule's actor dies of where it is not its guest's doing.
func (s *capsules) bug(c *child, reason any) *actors.Crash {
	crash := &actors.Crash{
		Generation: c.handle.Generation(), During: "call", Up: c.handle.Up(),
		Failure: &messages.CapsuleFailure{Kind: "panic", Message: fmt.Sprintf("panic in its actor: %v", reason), At: timestamppb.Now()},
	}
	c.undecided = crash // also where this fails
	c.handle.Revoke(messages.CapsuleState_CAPSULE_STATE_CRASHED, crash.Failure.GetMessage())
	s.observe(&messages.Event{
		Path: actors.CapsulePath(c.id), Generation: crash.Generation,
		What: &messages.Event_CapsuleCrashed{CapsuleCrashed: &messages.CapsuleCrashed{Failure: crash.Failure, During: crash.During}},
	})
	return crash
}

// scheduled reports a restart that was decided, and of which generation.
func (s *capsules) scheduled(c *child, v verdict, cause string) (of uint64) {
	c.handle.During(func(generation uint64) {
		of = generation
		s.observe(&messages.Event{
			Path: actors.CapsulePath(c.id), Generation: generation,
			What: &messages.Event_RestartScheduled{RestartScheduled: &messages.RestartScheduled{
				Attempt:     uint32(v.attempt),                                                       //nolint:gosec // a count
				BudgetSpent: uint32(len(c.restarts.spent)), Budget: uint32(c.restarts.policy.Budget), //nolint:gosec // counts
				Window: durationpb.New(c.restarts.policy.Window), Delay: durationpb.New(v.delay), Cause: cause,
			}},
		})
	})
	return of
}

// giveUp ends a capsule that policy does not restart.
func (s *capsules) giveUp(ctx actor.Context, c *child, crash *actors.Crash) {
	if crash.Clean && c.restarts.policy.Mode != Permanent {
		cause := fmt.Sprintf("it ended by itself, and restart = %q", c.restarts.policy.Mode)
		s.end(ctx, c, messages.CapsuleState_CAPSULE_STATE_STOPPED, cause, func() { s.stoppedEvent(c, cause) })
		return
	}
	decision := fmt.Sprintf("restart = %q", c.restarts.policy.Mode)
	if c.restarts.policy.Mode != Temporary {
		decision = fmt.Sprintf("restart budget spent: %d in %v", c.restarts.policy.Budget, c.restarts.policy.Window)
	}
	s.end(ctx, c, messages.CapsuleState_CAPSULE_STATE_FAILED, decision, func() { s.failedEvent(c, crash, decision) })
}

func (s *capsules) failedEvent(c *child, crash *actors.Crash, decision string) {
	s.observe(&messages.Event{
		Path: actors.CapsulePath(c.id), Generation: crash.Generation,
		What: &messages.Event_CapsuleFailed{CapsuleFailed: &messages.CapsuleFailed{Failure: crash.Failure, Decision: decision}},
	})
}

// end stops a capsule's actor for good: what waits is answered at once, a
// running call gets the stop time-out.
func (s *capsules) end(ctx actor.Context, c *child, state messages.CapsuleState, reason string, final func()) {
	c.stopTimer()
	c.phase, c.final = stopping, final
	c.handle.Close()
	s.tellDown(c, state, reason)
	ctx.Stop(c.pid)
	handle := c.handle
	c.timer = time.AfterFunc(c.stopTimeout, func() { handle.Interrupt(handle.Generation(), actors.ErrStopping) })
}

// terminated: a capsule's actor has ended.
func (s *capsules) terminated(ctx actor.Context, m *actor.Terminated) {
	c := s.byPID(m.GetWho())
	if c == nil {
		return
	}
	c.stopTimer()
	if c.final != nil {
		c.final()
		c.final = nil
	}
	s.settle(ctx, c) // those that waited for it begin after its end
	c.phase, c.pid = ended, nil
	s.answer(c, false, c.down.GetReason())
}

// restartDue: a backoff is over.
func (s *capsules) restartDue(ctx actor.Context, m *restartDue) {
	if c := s.byID[m.id]; c.phase == backoff && c.handle.Generation() == m.generation {
		s.restartNow(ctx, c)
	}
}

// restartNow replaces the instance of a capsule whose actor runs or stands still.
func (s *capsules) restartNow(ctx actor.Context, c *child) {
	c.stopTimer()
	c.phase, c.undecided = running, nil
	ctx.(actor.Supervisor).RestartChildren(c.pid) //nolint:forcetypeassert // every context is one
}

// stopAll begins the end of all: the library stops the children when this returns.
func (s *capsules) stopAll() {
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
		c.isDown(messages.CapsuleState_CAPSULE_STATE_STOPPED, causeShutdown)
		c.final = func() { s.stoppedEvent(c, causeShutdown) }
		handle := c.handle
		handle.Close()
		c.timer = time.AfterFunc(c.stopTimeout, func() { handle.Interrupt(handle.Generation(), actors.ErrStopping) })
	}
}

func (s *capsules) stoppingEvent(c *child, cause string) {
	s.observe(&messages.Event{
		Path: actors.CapsulePath(c.id), Generation: c.handle.Generation(),
		What: &messages.Event_CapsuleStopping{CapsuleStopping: &messages.CapsuleStopping{Cause: cause}},
	})
}

func (s *capsules) stoppedEvent(c *child, cause string) {
	s.observe(&messages.Event{
		Path: actors.CapsulePath(c.id), Generation: c.handle.Generation(),
		What: &messages.Event_CapsuleStopped{CapsuleStopped: &messages.CapsuleStopped{Cause: cause}},
	})
}

// tellDown tells the registry and the router that a capsule does not serve.
func (s *capsules) tellDown(c *child, state messages.CapsuleState, reason string) {
	c.isDown(state, reason)
	s.sys.Send(s.sys.PID(registryPath), c.down)
	s.sys.Send(s.sys.PID(routerPath), c.down)
}

// isDown notes that no instance lives. The registry has heard so from the
// capsule itself; the router need not, where a new one is about to take over.
func (c *child) isDown(state messages.CapsuleState, reason string) {
	c.up, c.down = nil, &messages.CapsuleDown{
		Capsule: c.id, Generation: c.handle.Generation(), State: state, Reason: reason, Interceptors: c.interceptors,
	}
}

func (s *capsules) byPID(pid *actor.PID) *child {
	for i := len(pid.GetId()) - 1; i >= 0; i-- {
		if pid.GetId()[i] == '/' {
			return s.byID[pid.GetId()[i+1:]]
		}
	}
	return nil
}

func (c *child) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.due = time.Time{}
}

// asker waits for a capsule to be up, or to be down.
type asker struct {
	pid *actor.PID
	up  bool
}

// answer tells whoever waits for a command that the capsule is up, or is down
// and why.
func (s *capsules) answer(c *child, up bool, reason string) {
	remaining := c.asking[:0]
	for _, a := range c.asking {
		switch {
		case a.up == up:
			s.sys.Send(a.pid, &messages.CommandDone{Result: messages.CommandDone_RESULT_DONE, Reason: reason})
		case a.up:
			s.sys.Send(a.pid, &messages.CommandDone{Result: messages.CommandDone_RESULT_FAILED, Reason: reason})
		default:
			remaining = append(remaining, a)
		}
	}
	c.asking = remaining
}

// Self-messages say what is due; generations tell late ones from the present.
type (
	restartDue struct {
		id         string
		generation uint64
	}
	readinessDue struct {
		id         string
		generation uint64
	}
)
