package actors

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// CauseShutdown is why capsules stop when the system does.
const CauseShutdown = "the system stops"

// SupervisorConfig describes the supervisor of all capsules.
type SupervisorConfig struct {
	System *system.System
	Log    *slog.Logger
	// Observe receives events. It must not block.
	Observe func(messages.Event)
	// Children are in start order.
	Children []ChildSpec
	// Supervisors are groups of children. Each is listed before those below it.
	Supervisors []GroupSpec
	// Restart, with its defaults, says how often a group that is in no other may fail.
	Restart RestartPolicy
	// Escalate, if not nil, is called once, when a child that is in no group fails for
	// good. It must not block.
	Escalate func(cause string)
	// StartSlots is how many may be starting at once.
	StartSlots int
	// Preparations counts what upgrades have begun. nil is a counter of its own.
	Preparations *Preparations
}

// ChildSpec describes one capsule under supervision.
type ChildSpec struct {
	Ref *CapsuleRef
	// Pool, if not nil, is a capsule with several instances, as many as Size says; Ref is
	// nil then.
	Pool *Pool
	Size PoolSize
	// ReadyTimeout is how long the start of others waits for a run loop to signal,
	// or for a long load.
	ReadyTimeout time.Duration
	// StopTimeout is how long a running call is given when the capsule stops.
	StopTimeout time.Duration
	Restart     RestartPolicy
	// Rollback: if a version that an upgrade has brought crashes within Restart.Window,
	// the one before it is started again. It is kept until then.
	Rollback bool
	// WaitsFor are the ids of those that it imports from: it starts after they have.
	// Unknown ones are ignored.
	WaitsFor []string
	// Removed is called when the child has been removed, and its actor has ended. It
	// must not block. nil is nothing.
	Removed func()
}

// id returns the capsule's id; for one instance of a pool its name.
func (c *ChildSpec) id() string {
	if c.Pool != nil {
		return c.Pool.ID()
	}
	return c.Ref.Name()
}

// SupervisorProps describes the supervisor of all capsules: one for one, with
// backoff and a restart budget. Groups of capsules have strategies of their own
// (strategy.go); they are part of its state, so that one goroutine sees every death in
// one order. It starts them in dependency order, several at a
// time, and carries out the operator's commands. Its parent is the root, which
// resumes it with its state should it fail: its children need not die of that.
func SupervisorProps(cfg SupervisorConfig) *actor.Props {
	cfg.Preparations = cmp.Or(cfg.Preparations, &Preparations{})
	s := &supervisor{
		SupervisorConfig: cfg, byID: map[string]*child{}, groups: map[string]*group{}, placeOf: map[string]place{},
		top: newGroup("", nil, OneForOne, cfg.Restart), holds: map[*hold]*time.Timer{}, groupWaiters: map[*group][]waiter{},
	}
	s.top.exits = cfg.Escalate != nil
	s.enterGroups()
	for _, spec := range cfg.Children {
		if spec.Pool != nil {
			s.enterPool(spec)
		} else {
			s.enter(spec)
		}
	}
	for _, c := range s.children {
		s.depend(c)
	}
	return cfg.System.Props(func() actor.Actor { return s }, system.NewMailbox(0, nil))
}

// supervisor is the state of the capsules' supervisor. All fields belong to the
// actor's goroutine; timers only send it messages.
type supervisor struct {
	SupervisorConfig
	self *actor.PID

	children     []*child // in start order, added ones last
	byID         map[string]*child
	top          *group                // of all
	groups       map[string]*group     // by name
	placeOf      map[string]place      // of each capsule that is in a group
	holds        map[*hold]*time.Timer // backoffs that have not ended
	groupWaiters map[*group][]waiter
	ready        []*child // may be spawned, waiting for a start slot
	starting     int      // start slots in use
	hanging      int      // first starts that have lost their slot and are not settled
	unsettled    int      // first starts not settled yet
	started      bool     // the first start of all has been reported
	stopping     bool
}

// phase is the state of a child as its supervisor sees it.
type phase int

const (
	waiting  phase = iota // for capsules that it imports from, before its first start
	running               // its actor runs, or is being restarted
	halting               // its instance is to end, and its actor to be suspended
	backoff               // its actor is suspended until its turn comes
	stopping              // its actor was told to stop
	ended                 // there is no actor: stopped, or failed
)

// child is one capsule under supervision.
type child struct {
	ChildSpec
	*slot // its place in its group
	id    string

	phase      phase
	pid        *actor.PID
	up         *CapsuleUp    // its current instance; nil if none serves
	down       *CapsuleDown  // why none does; nil if one serves
	routed     *CapsuleUp    // what the router was told last, so that calls wait; nil if it was told to refuse them
	timer      *time.Timer   // for readinessDue or an overdue stop
	due        monotime.Time // when the first is to come; None when it has
	startSlot  *time.Timer   // holds a start slot, until it fires or the start is settled; nil without one
	hanging    bool          // it has lost its start slot, and is not settled
	settled    bool          // no start of others waits for its first start
	dependents []*child
	imports    int       // dependencies whose first start is not settled
	over       uint64    // the newest generation that has died, or that an operator's restart ends
	undecided  *Crash    // a death on which the decision has failed; else nil
	deciding   bool      // it is being decided again
	waiters    []waiter  // for a command to be done
	final      func()    // reports the end, once the actor has stopped
	removing   bool      // it is to be removed at its end
	again      bool      // it is to be started at its end
	why        string    // why its group halts it
	upgrade    *upgrade  // in progress; nil without one
	previous   *previous // what it may be rolled back to; nil without one
	pool       *group    // whose instance it is; nil without one
	retiring   string    // why its pool does not need it any more; "" if it does
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
		s.command(ctx, m.ID, true, s.onlyGroups)
	case *messages.RestartCapsule:
		s.command(ctx, m.ID, true, s.onlyGroups)
	case *UpgradeCapsule:
		s.upgradeCapsule(ctx, m)
	case *prepared:
		s.prepared(ctx, m.child, m.upgrade)
	case *offerDeclined:
		if c := s.byID[m.ref.Name()]; c != nil {
			s.offerDeclined(c)
		}
	case *stable:
		s.stable(m)
	case *messages.StopCapsule:
		s.command(ctx, m.ID, false, s.stopCapsule)
	case *messages.KillCapsule:
		s.command(ctx, m.ID, false, s.killCapsule)
	case *AddCapsule:
		s.addCapsule(ctx, m)
	case *messages.RemoveCapsule:
		s.command(ctx, m.ID, false, s.removeCapsule)
	case *holdDue:
		s.holdDue(ctx, m.hold)
	case *readinessDue:
		s.readinessDue(ctx, m)
	case *slotDue:
		s.slotDue(ctx, m)
	case *growDue:
		s.growDue(ctx, m.group)
	case *idleDue:
		s.idleDue(ctx, m.group)
	case *rolled:
		s.rolled(ctx, m)
	case *resync:
		s.resync(ctx, m.to)
	case *reconcile:
		s.reconcile(ctx)
	case *actor.Stopped:
		s.Preparations.wait() // their contexts have ended
	case *actor.Restarting:
	default:
		s.Log.Error("capsules supervisor: message not understood", "message", fmt.Sprintf("%T", m))
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
	slotDue      struct{ child *child }
	holdDue      struct{ hold *hold }
	readinessDue struct {
		id         string
		generation uint64
	}
)
