package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// ActionAfterRestart is invoked, with an empty payload, after a capsule that
// has an interceptor of this name was restarted. What it answers is ignored.
const ActionAfterRestart = "handle_lifecycle_restart"

// Guest is a loaded capsule, as its actor calls it. One goroutine at a
// time calls it; ending ctx interrupts it, with a *capsulehost.Failure of kind
// timeout or cancelled. Any *capsulehost.Failure, and a panic, means that it is
// lost; any other error that it reported one itself. Payload is shared with other
// guests: it must not be changed, nor kept beyond the call.
type Guest interface {
	Invoke(ctx context.Context, action string, payload []byte) (capsulehost.Result, error)
	Run(ctx context.Context) error
	RunLoop() bool
	MemoryBytes() uint64
	Close(ctx context.Context) error
}

// Inline is a Guest whose short calls may run on the goroutine that asks, because
// nothing in it can end that goroutine (runtime.Goexit), and since it ends its calls
// with their context and closes at once: its caller waits for both. WebAssembly does.
type Inline interface{ Inline() }

// CapsuleConfig describes a capsule, for all its instances.
type CapsuleConfig struct {
	ID           string
	Version      string
	Interceptors []messages.Interceptor // never changed: compared by identity
	// AllowPromptInjection is the capability that the manifest grants.
	AllowPromptInjection bool

	// Load makes a fresh instance that asks its host through api.
	Load func(ctx context.Context, api capsulehost.HostAPI) (Guest, error)
	// Services makes what one instance may use besides its peers, and a function that
	// frees it when the instance has ended; nil is nothing. ctx ends when the instance
	// is interrupted.
	Services func(ctx context.Context, generation uint64, session string) (capsulehost.Services, func())
	// LoadTimeout is the limit of one load; CallTimeout that of one guest call.
	// 0 is none.
	LoadTimeout time.Duration
	CallTimeout time.Duration
	// CallReductions bounds one guest call, TriggerReductions each leg of a trigger
	// that the capsule makes; 0 is no bound. Rate bounds the capsule's reductions a
	// second; nil is no bound.
	CallReductions    uint64
	TriggerReductions uint64
	Rate              *capsulehost.Rate
	// TriggerTimeout is the deadline of the triggers that the capsule makes; it
	// must have one.
	TriggerTimeout time.Duration
	// Queue is how many calls may wait; 0 is any number.
	Queue int

	System *system.System
	// Registry and HookRouter hear of each instance; Router makes the triggers of
	// the capsule.
	Registry   *actor.PID
	HookRouter *actor.PID
	Router     *Router
	// Generation is that of its last load so far: the first one from now on is one
	// more. 0 means that there was none.
	Generation uint64
	// Stats counts the capsule's calls; nil means fresh ones.
	Stats *CallStats
	// Observe receives events, in order, on the capsule's goroutine. It must not block.
	Observe func(messages.Event)
	// Lines receives astrid_log; Config answers astrid_get_config.
	Lines  LineWriter
	Config func(key string) string
	Log    *slog.Logger
}

// LineWriter receives astrid_log lines. Principal is the caller's, or "".
type LineWriter interface {
	Write(level capsulehost.LogLevel, principal, message string)
}

// capsule is one run of a capsule's actor. It owns exactly one guest instance and
// runs one call at a time; calls that wait are in its mailbox, which survives
// restarts, as its CapsuleRef does. Its parent is the capsules' supervisor. All
// fields belong to the actor's goroutine; a run loop's guest, once running, to the
// loop's.
type capsule struct {
	*CapsuleRef
	own     *system.Mailbox
	run     *run
	guest   Guest // nil before the load and after a death
	runLoop bool  // guest is a run loop
	inline  bool  // guest is Inline
	api     *hostAPI
	release func()        // frees the services of the instance; nil without any
	loop    chan struct{} // closed when the run loop's goroutine has ended; nil without one
}

func newCapsule(r *CapsuleRef, mailbox *system.Mailbox) *capsule {
	return &capsule{CapsuleRef: r, own: mailbox}
}

// Receive handles one message. The mailbox is closed before Stopping.
func (c *capsule) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.start(ctx)
	case *actor.Restarting:
		c.discard(messages.StateLoading)
	case *actor.Stopping:
		c.discard(messages.StateStopped)
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
		c.cfg.Log.Error("capsule: message not understood", "capsule", c.cfg.ID, "message", fmt.Sprintf("%T", m))
	}
}

// start loads the guest; a failure to do so is a crash like any other.
func (c *capsule) start(ctx actor.Context) {
	if c.own.Closed() {
		return // it is to stop before it has begun
	}
	began := monotime.Now()
	c.run = c.begin()
	c.api = &hostAPI{capsule: c}
	if c.cfg.Services != nil {
		c.api.services, c.release = c.cfg.Services(c.run.ctx, c.run.generation, c.run.session)
	}
	c.api.services.Peers = c.api
	guest, err := c.load(began)
	if err != nil {
		c.escalate(c.died("load", err))
		return
	}
	c.guest, c.runLoop = guest, guest.RunLoop()
	c.inline = ability[Inline](guest) != nil
	c.api.metered = ability[metered](guest)
	c.stats.born(guest)
	switch {
	case c.own.Closed():
		c.discard(messages.StateStopped)
	case c.runLoop:
		c.startLoop(ctx, began)
	default:
		c.up(ctx, messages.StateReady, began)
		c.afterRestart()
	}
}

// load makes the instance, within its limit.
func (c *capsule) load(began monotime.Time) (Guest, error) {
	var limit callContext
	limit.begin(c.run.ctx, began, c.cfg.LoadTimeout, monotime.None)
	defer limit.release()
	returned := false
	defer func() {
		if !returned {
			c.exited("load", nil)
		}
	}()
	guest, err := guarded(func() (Guest, error) { return c.cfg.Load(&limit, c.api) })
	returned = true
	return guest, limit.explain(err)
}

// up announces the instance: first to the registry and the router, so that
// a reader of the event finds it there.
func (c *capsule) up(ctx actor.Context, state messages.CapsuleState, began monotime.Time) {
	m := &CapsuleUp{
		Ref: c.CapsuleRef, Generation: c.run.generation, Session: c.run.session, Version: c.cfg.Version,
		Interceptors: c.cfg.Interceptors, RunLoop: c.runLoop,
		AllowPromptInjection: c.cfg.AllowPromptInjection, State: state,
	}
	c.announced.Store(m)
	ctx.Send(c.cfg.Registry, m)
	if c.cfg.Router != nil {
		c.cfg.Router.up(m)
	}
	ctx.Send(c.cfg.HookRouter, m)
	if state == messages.StateReady {
		c.ready = monotime.Now()
		c.observe(messages.CapsuleReady{Session: c.run.session, Took: c.ready.Sub(began)})
	} else {
		c.observe(messages.CapsuleStarting{Session: c.run.session})
	}
	ctx.Send(ctx.Parent(), m)
}

// afterRestart calls ActionAfterRestart of a capsule that has such an interceptor.
func (c *capsule) afterRestart() {
	if c.run.generation == c.cfg.Generation+1 {
		return
	}
	for n := range c.cfg.Interceptors {
		if c.cfg.Interceptors[n].Action != ActionAfterRestart {
			continue
		}
		var answer messages.Leg
		if err := c.call(&invocation{action: ActionAfterRestart}, monotime.Now(), &answer); lost(err) {
			c.escalate(c.died("call", err))
		}
		return
	}
}

// invoke runs one interceptor and answers its leg. If the guest dies of it, the
// leg is answered before the crash.
func (c *capsule) invoke(m *invocation) {
	t, began := m.trigger, m.began
	if began == monotime.None {
		began = monotime.Now()
		if !t.isOpen() {
			c.stats.missed(t.waited(began))
			return // its trigger has ended
		}
	}
	var answer messages.Leg
	switch {
	case c.guest == nil || c.runLoop:
		answer.Outcome, answer.Reason = messages.OutcomeUnavailable, "the capsule does not serve"
	case t.deadline != monotime.None && began >= t.deadline:
		answer.Outcome, answer.Reason = messages.OutcomeTimeout, "the trigger's deadline passed while the call was queued"
		c.stats.missed(t.waited(began))
	default:
		span := c.beginSpan(m, began)
		err := c.call(m, began, &answer)
		c.endSpan(span, &answer, began)
		if lost(err) {
			crash := c.died("call", err)
			t.answer(m.leg, &answer, nil)
			c.escalate(crash)
			return
		}
	}
	t.answer(m.leg, &answer, &c.quota)
}

// call runs an action in the guest, until its trigger's deadline and within its
// budget, if it has these, and fills in the answer.
func (c *capsule) call(m *invocation, began monotime.Time, answer *messages.Leg) error {
	t := cmp.Or(m.trigger, &noTrigger)
	m.ctx.begin(c.run.ctx, began, c.cfg.CallTimeout, t.deadline)
	c.api.caller = t.caller
	c.api.grant(t.reductions)
	c.stats.begin(began)
	result, err := c.guestCall(m, t.payload)
	c.api.caller = nil
	err = c.api.explain(m.ctx.explain(err), t.reductions)
	m.ctx.release()
	m.ended = monotime.Now()
	took := m.ended.Sub(began)
	answer.Generation, answer.Duration, answer.Reductions = c.run.generation, took, c.api.spent()
	judge(answer, result, err)
	if m.trigger != nil {
		c.quota.charge(answer)
	}
	if c.inline {
		c.lastCall.Store(max(1, int64(took)))
	}
	c.stats.end(c.guest, &recentCall{
		ended: m.ended, took: took, waited: t.waited(began), generation: answer.Generation,
		topic: shortened(t.topic, topicKept), from: t.from, action: m.action,
		outcome: answer.Outcome, reason: answer.Reason,
	})
	return err
}

// guestCall is the call itself.
func (c *capsule) guestCall(m *invocation, payload []byte) (capsulehost.Result, error) {
	returned := false
	defer func() {
		c.stats.idle()
		if !returned {
			c.exited("call", m)
		}
	}()
	result, err := guarded(func() (capsulehost.Result, error) { return c.guest.Invoke(&m.ctx, m.action, payload) })
	returned = true
	return result, err
}

// noTrigger stands for the trigger of a call that none makes.
var noTrigger trigger //nolint:gochecknoglobals // never changed

// waited returns how long a call has waited to be run.
func (t *trigger) waited(began monotime.Time) time.Duration {
	if t.made == monotime.None {
		return 0
	}
	return began.Sub(t.made)
}

// observe reports an event about the current instance.
func (c *capsule) observe(detail messages.Detail) {
	c.cfg.Observe(messages.Event{Path: CapsulePath(c.cfg.ID), Generation: c.run.generation, Detail: detail})
}

// lost reports whether an error means that the guest is lost.
func lost(err error) bool {
	_, ok := errors.AsType[*capsulehost.Failure](err)
	return ok
}
