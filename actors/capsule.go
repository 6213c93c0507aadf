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

// CapsuleConfig describes a capsule, for all its versions and their instances.
type CapsuleConfig struct {
	ID string
	// Path is the capsule's place in the tree; "" means CapsulePath(ID).
	Path string
	// Version is the first one.
	Version *Version
	// TriggerReductions bounds each leg of a trigger that the capsule makes; 0 is no
	// bound.
	TriggerReductions uint64
	// TriggerTimeout is the deadline of the triggers that the capsule makes; it
	// must have one.
	TriggerTimeout time.Duration

	System *system.System
	// Registry and HookRouter hear of each instance; Router makes the triggers of
	// the capsule.
	Registry   *actor.PID
	HookRouter *actor.PID
	Router     *Router
	// Bus is the event bus; nil is none. Principal is the capsule's own.
	Bus       *Bus
	Principal string
	// Generation is that of its last load so far: the first one from now on is one
	// more. 0 means that there was none.
	Generation uint64
	// Stats counts the capsule's calls; nil means fresh ones.
	Stats *CallStats
	// InstanceStats returns those of one instance of a pool; nil means fresh ones.
	InstanceStats func(number int) *CallStats
	// Observe receives events, in order, on the capsule's goroutine. It must not block.
	Observe func(messages.Event)
	// Lines receives astrid_log.
	Lines LineWriter
	Log   *slog.Logger
}

// LineWriter receives astrid_log lines. Principal is the caller's, or "".
type LineWriter interface {
	Write(level capsulehost.LogLevel, principal, message string)
}

// capsule is one run of a capsule's actor. It owns exactly one instance and runs one
// call at a time; calls that wait are in its mailbox, which survives restarts, as its
// CapsuleRef does. Its parent is the capsules' supervisor. All fields belong to the
// actor's goroutine.
type capsule struct {
	*CapsuleRef
	own     *system.Mailbox
	current *instance       // nil before the start and after an end
	dropped map[string]bool // the actions of the version before that the current one has not; mostly nil
	took    time.Duration   // by the last call
}

// newCapsule makes the actor for a run. It takes the memory of the actor before, which has
// ended: there it lies beside what else a call needs.
func newCapsule(r *CapsuleRef, mailbox *system.Mailbox) *capsule {
	r.run = capsule{CapsuleRef: r, own: mailbox}
	return &r.run
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
		if next := c.withdraw(); next != nil {
			next.close(c.cfg.Log)
		}
	case *actor.Stopped:
	case *takeOver:
		c.takeOver(ctx)
	case *loopSignalled:
		c.signalled(ctx, m)
	case *loopEnded:
		c.loopEnded(m)
	case *halt:
		c.halt(m)
	case *interrupted:
		c.interrupted(m)
	default:
		c.cfg.Log.Error("capsule: message not understood", "capsule", c.cfg.ID, "message", fmt.Sprintf("%T", m))
	}
}

// Handle makes a call.
func (c *capsule) Handle(message any) bool {
	call, isCall := message.(*invocation)
	if isCall {
		c.invoke(call)
	}
	return isCall
}

// start loads the guest; a failure to do so is a crash like any other.
func (c *capsule) start(ctx actor.Context) {
	if c.own.Closed() {
		return // it is to stop before it has begun
	}
	if c.halting.Load() != 0 {
		c.giveUpInstance()
	}
	from := c.Version()
	if c.settled(ctx) {
		c.current = c.accept()
		c.current.receive(nil)
		c.tookOver(ctx, from, nil)
		return
	}
	c.current = c.begin()
	if err := c.load(); err != nil {
		c.escalate(c.died("load", err))
		return
	}
	c.stats.born(c.current.guest)
	switch {
	case c.own.Closed():
		c.discard(messages.StateStopped)
	case c.current.runLoop:
		c.startLoop(ctx)
	default:
		c.isReady(ctx)
		c.afterRestart()
	}
}

// load loads the current instance.
func (c *capsule) load() error {
	returned := false
	defer func() {
		if !returned {
			c.exited("load", nil)
		}
	}()
	err := c.current.load()
	returned = true
	return err
}

// up announces the instance: first to the registry and the router, so that
// a reader of the event finds it there.
func (c *capsule) up(ctx actor.Context, state messages.CapsuleState, events ...messages.Detail) {
	i, v := c.current, c.current.version
	m := &CapsuleUp{
		Ref: c.CapsuleRef, Generation: i.generation, Session: i.session, Version: v.Number,
		Interceptors: v.Interceptors, RunLoop: i.runLoop,
		AllowPromptInjection: v.AllowPromptInjection, State: state,
	}
	c.announced.Store(m)
	ctx.Send(c.cfg.Registry, m)
	if c.cfg.Router != nil {
		c.cfg.Router.up(m)
	}
	if c.pool != nil {
		c.pool.serves()
	}
	if c.cfg.Bus != nil && state == messages.StateReady {
		c.cfg.Bus.capsuleUp(m)
	}
	ctx.Send(c.cfg.HookRouter, m)
	if state == messages.StateReady {
		c.ready = monotime.Now()
	}
	for _, event := range events {
		c.observe(event)
	}
	ctx.Send(ctx.Parent(), m)
}

// isReady announces that the current instance serves.
func (c *capsule) isReady(ctx actor.Context) {
	i := c.current
	c.up(ctx, messages.StateReady, messages.CapsuleReady{Session: i.session, Took: monotime.Now().Sub(i.began)})
}

// afterRestart calls ActionAfterRestart of a capsule that has such an interceptor.
func (c *capsule) afterRestart() {
	if c.current.generation == c.first || !c.current.version.has(ActionAfterRestart) {
		return
	}
	var answer messages.Leg
	if err := c.call(&invocation{action: ActionAfterRestart}, monotime.Now(), &answer); lost(err) {
		c.escalate(c.died("call", err))
	}
}

// invoke runs one interceptor and answers its leg. If the guest dies of it, the
// leg is answered before the crash.
func (c *capsule) invoke(m *invocation) {
	t, began := m.trigger, m.began
	if began == monotime.None {
		began = monotime.Now()
	}
	if m.pooled != nil {
		defer m.pooled.served()
	}
	if !t.isOpen() {
		c.stats.missed(t.waited(began))
		return // its trigger has ended
	}
	var answer messages.Leg
	switch {
	case c.current == nil || c.current.runLoop:
		answer.Outcome, answer.Reason = messages.OutcomeUnavailable, "the capsule does not serve"
	case c.dropped[m.action]:
		answer.Outcome, answer.Reason = messages.OutcomeUnavailable, "the capsule was upgraded, and has no such action any more"
	case t.deadline != monotime.None && began >= t.deadline:
		answer.Outcome, answer.Reason = messages.OutcomeTimeout, "the trigger's deadline passed while the call was queued"
		c.stats.missed(t.waited(began))
	default:
		span := c.beginSpan(m, began)
		err := c.call(m, began, &answer)
		c.endSpan(span, &answer, began)
		if lost(err) {
			t.shared.Store(true) // the supervisor is told what the capsule died of
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
	t, i := cmp.Or(m.trigger, &noTrigger), c.current
	m.ctx.begin(i.ctx, began, i.callTimeout, t.deadline)
	i.api.caller, i.api.depth, i.api.call = t.caller, t.depth, m
	m.version = i.version
	i.api.grant(t.reductions)
	c.stats.begin(began)
	result, err := c.guestCall(m, t.payload)
	i.api.caller, i.api.depth, i.api.call = nil, 0, nil
	if err != nil {
		err = i.api.explain(m.ctx.explain(err), t.reductions)
		m.interrupted = i.ctx.Err() != nil
	}
	m.ctx.release()
	m.ended = monotime.Now()
	took := m.ended.Sub(began)
	answer.Generation, answer.Duration, answer.Reductions = i.generation, took, i.api.spent()
	judge(answer, result, err, t.step != nil)
	if m.trigger != nil {
		c.quota.charge(answer)
	}
	if i.inline {
		expected := took
		if c.likely.Load() != 0 {
			expected = min(took, c.took) // one that met a pause of the machine says little
		}
		c.took = took
		c.likely.Store(max(1, int64(expected)))
	}
	done := recentCall{ended: m.ended, took: took, waited: t.waited(began), generation: answer.Generation, outcome: answer.Outcome}
	if answer.Reason != "" {
		reason := answer.Reason
		done.reason = &reason
	}
	c.stats.end(i.guest, &done, &callKind{topic: shortened(t.topic, topicKept), from: t.source(), action: m.action})
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
	result, err := guarded(func() (capsulehost.Result, error) { return c.current.guest.Invoke(&m.ctx, m.action, payload) })
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
	c.cfg.Observe(messages.Event{Path: c.Path(), Generation: c.current.generation, Detail: detail})
}

// lost reports whether an error means that the guest is lost.
func lost(err error) bool {
	_, ok := errors.AsType[*capsulehost.Failure](err)
	return ok
}
