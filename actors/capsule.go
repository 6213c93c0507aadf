package actors

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// ActionAfterRestart is invoked, with an empty payload, after a capsule that
// has an interceptor of this name was restarted. What it answers is ignored.
const ActionAfterRestart = "handle_lifecycle_restart"

// Guest is what a capsule actor needs of a loaded capsule. One goroutine at a
// time calls it; ending ctx interrupts it, with a *capsulehost.Failure of kind
// timeout or cancelled. Any *capsulehost.Failure, and a panic, means that it is
// lost; any other error that it reported one itself.
type Guest interface {
	Invoke(ctx context.Context, action string, payload []byte) (capsulehost.Result, error)
	Run(ctx context.Context) error
	RunLoop() bool
	MemoryBytes() uint64
	Close(ctx context.Context) error
}

// CapsuleConfig is what a capsule is made of, the same for all its incarnations.
type CapsuleConfig struct {
	ID           string
	Version      string
	Interceptors []*messages.Interceptor // never changed: compared by identity
	// AllowPromptInjection is the capability that the manifest grants.
	AllowPromptInjection bool

	// Load makes a fresh instance with these surroundings.
	Load func(ctx context.Context, s capsulehost.HostAPI) (Guest, error)
	// LoadTimeout is the limit of one load; CallTimeout that of one guest call.
	// 0 is none.
	LoadTimeout time.Duration
	CallTimeout time.Duration
	// CallReductions is what one guest call may spend, TriggerReductions what each
	// leg of a trigger that the capsule makes may; 0 is no bound. Rate is what the
	// capsule may spend in a second; nil is no bound.
	CallReductions    uint64
	TriggerReductions uint64
	Rate              *capsulehost.Rate
	// TriggerTimeout is the deadline of the triggers that the capsule makes; it
	// must have one.
	TriggerTimeout time.Duration
	// Queue is how many calls may wait; 0 is any number.
	Queue int

	System   *system.System
	Registry *actor.PID
	Triggers *Triggers
	// Generation is that of its last load so far: the first one from now on is one
	// more. 0 means that there was none.
	Generation uint64
	// Activity is where the capsule's calls are counted; nil means a fresh one.
	Activity *Activity
	// Observe takes what happens, in order, on the capsule's goroutine. It must not block.
	Observe func(*messages.Event)
	// Lines is where astrid_log goes; Config is what astrid_get_config answers.
	Lines  LineWriter
	Config func(key string) string
	Log    zerolog.Logger
}

// LineWriter takes astrid_log lines. Principal is the caller's, or "".
type LineWriter interface {
	Write(level capsulehost.LogLevel, principal, message string)
}

// capsule is one incarnation of a capsule's actor. It owns exactly one guest
// instance and runs one call at a time; calls that wait are in its mailbox,
// which outlives it, as does its Handle. Its parent is the `capsules`
// supervisor. All fields belong to the actor's goroutine; a run loop's guest,
// once running, to the loop's.
type capsule struct {
	*Handle
	own     *system.Mailbox
	life    *incarnation
	guest   Guest // nil before the load and after a death
	runLoop bool  // what guest is
	world   *surroundings
	loop    chan struct{} // closed when the run loop's goroutine has ended; nil without one
}

func newCapsule(h *Handle, mailbox *system.Mailbox) *capsule {
	return &capsule{Handle: h, own: mailbox}
}

// Receive handles one message. The mailbox is closed before Stopping.
func (c *capsule) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.start(ctx)
	case *actor.Restarting:
		c.discard(messages.CapsuleState_CAPSULE_STATE_LOADING)
	case *actor.Stopping:
		c.discard(messages.CapsuleState_CAPSULE_STATE_STOPPED)
	case *actor.Stopped:
	case *invocation:
		c.invoke(m)
	case *loopSignalled:
		c.signalled(ctx, m)
	case *loopEnded:
		c.loopEnded(m)
	case *interrupted:
		c.interrupted(m)
	default:
		c.cfg.Log.Error().Str("capsule", c.cfg.ID).Type("message", m).Msg("capsule: message not understood")
	}
}

// start loads the guest; a failure to is a crash like any other.
func (c *capsule) start(ctx actor.Context) {
	if c.own.Closed() {
		return // it is to stop before it has begun
	}
	began := now()
	c.life = c.incarnate()
	c.world = &surroundings{capsule: c}
	limit := newLimited(c.life.ctx, began, c.cfg.LoadTimeout, 0)
	guest, err := guarded(func() (Guest, error) { return c.cfg.Load(limit, c.world) })
	limit.release()
	if err != nil {
		c.collapse(c.died("load", err))
		return
	}
	c.guest, c.runLoop = guest, guest.RunLoop()
	c.world.metered = ability[metered](guest)
	c.activity.born(guest)
	switch {
	case c.own.Closed():
		c.discard(messages.CapsuleState_CAPSULE_STATE_STOPPED)
	case c.runLoop:
		c.startLoop(ctx, began)
	default:
		c.up(ctx, messages.CapsuleState_CAPSULE_STATE_READY, began)
		c.afterRestart()
	}
}

// up makes the instance known: first to the registry and the router, so that
// whoever sees the event finds it there.
func (c *capsule) up(ctx actor.Context, state messages.CapsuleState, began moment) {
	m := &messages.CapsuleUp{
		Capsule: c.cfg.ID, Generation: c.life.generation, Session: c.life.session, Version: c.cfg.Version,
		Interceptors: c.cfg.Interceptors, RunLoop: c.runLoop,
		AllowPromptInjection: c.cfg.AllowPromptInjection, State: state,
	}
	c.announced.Store(m)
	ctx.Send(c.cfg.Registry, m)
	ctx.Send(c.cfg.Triggers.router, m)
	if state == messages.CapsuleState_CAPSULE_STATE_READY {
		c.ready = now()
		c.observe(&messages.Event{What: &messages.Event_CapsuleReady{CapsuleReady: &messages.CapsuleReady{
			Session: c.life.session, Took: durationpb.New(c.ready.after(began)),
		}}})
	} else {
		c.observe(&messages.Event{What: &messages.Event_CapsuleStarting{
			CapsuleStarting: &messages.CapsuleStarting{Session: c.life.session},
		}})
	}
	ctx.Send(ctx.Parent(), m)
}

// afterRestart tells a capsule that asked to know that it was restarted.
func (c *capsule) afterRestart() {
	if c.life.generation == c.cfg.Generation+1 {
		return
	}
	for _, i := range c.cfg.Interceptors {
		if i.GetAction() != ActionAfterRestart {
			continue
		}
		m, answer := &invocation{}, &messages.InterceptorAnswered{}
		m.Action = ActionAfterRestart
		if err := c.call(m, now(), answer); lost(err) {
			c.collapse(c.died("call", err))
		}
		return
	}
}

// invoke runs one interceptor and answers its leg. Where the guest dies of it,
// the leg is answered before the crash.
func (c *capsule) invoke(m *invocation) {
	began, route := now(), m.GetRoute()
	trigger := c.cfg.Triggers.find(route.GetTrigger())
	if trigger == nil {
		c.activity.missed(waited(route, began))
		return // nobody is left to answer
	}
	answer := messages.InterceptorAnswered{Leg: m.GetLeg()}
	switch deadline := moment(route.GetDeadline()); {
	case c.guest == nil || c.runLoop:
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_UNAVAILABLE, "the capsule does not serve"
	case deadline != 0 && began >= deadline:
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_TIMEOUT, "the trigger's deadline passed while the call was queued"
		c.activity.missed(waited(route, began))
	default:
		span := c.beginSpan(m, began)
		err := c.call(m, began, &answer)
		c.endSpan(span, &answer, began)
		if lost(err) {
			crash := c.died("call", err)
			trigger.answer(&answer, nil)
			c.collapse(crash)
			return
		}
	}
	trigger.answer(&answer, &c.held)
}

// call runs an action in the guest, until its trigger's deadline and within its
// budget, if it has one, and fills in what the answer is.
func (c *capsule) call(m *invocation, began moment, answer *messages.InterceptorAnswered) error {
	route := m.GetRoute() // nil where no trigger asks
	m.limit.begin(c.life.ctx, began, c.cfg.CallTimeout, moment(route.GetDeadline()))
	c.world.caller = fromCaller(route.GetCaller())
	c.world.grant(route.GetReductions())
	c.activity.begin(began)
	defer c.activity.idle()
	result, err := guarded(func() (capsulehost.Result, error) { return c.guest.Invoke(&m.limit, m.GetAction(), route.GetPayload()) })
	c.world.caller = nil
	err = c.world.explain(m.limit.explain(err), route.GetReductions())
	m.limit.release()
	ended := now()
	took := ended.after(began)
	answer.Generation, answer.Took, answer.Reductions = c.life.generation, int64(took), c.world.spent()
	judge(answer, result, err)
	if route != nil {
		c.held.take(answer)
	}
	c.activity.end(c.guest, &recentCall{
		ended: ended, took: took, waited: waited(route, began), generation: answer.Generation,
		topic: shortened(route.GetTopic(), topicKept), from: route.GetFromCapsule(), action: m.GetAction(),
		outcome: answer.Outcome, reason: answer.Reason,
	})
	return err
}

// waited is how long a call has waited for its turn.
func waited(m *messages.RouteTrigger, began moment) time.Duration {
	if m.GetMade() == 0 {
		return 0
	}
	return began.after(moment(m.GetMade()))
}

// observe completes an event with whom it is about, and passes it on.
func (c *capsule) observe(e *messages.Event) {
	e.Path, e.Generation = CapsulePath(c.cfg.ID), c.life.generation
	c.cfg.Observe(e)
}

// lost says whether an error means that the guest is lost.
func lost(err error) bool {
	_, ok := errors.AsType[*capsulehost.Failure](err)
	return ok
}
