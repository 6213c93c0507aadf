package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// MaxRunLoopInterceptors is how many interceptors a run-loop capsule may have.
const MaxRunLoopInterceptors = 64

// ActionAfterRestart is invoked, with an empty payload, after a capsule that
// has an interceptor of this name was restarted. What it answers is ignored.
const ActionAfterRestart = "handle_lifecycle_restart"

// Why a capsule is interrupted from outside.
var (
	ErrKilled     = errors.New("killed by an operator")
	ErrStopping   = errors.New("stopped before it had answered")
	ErrRestarting = errors.New("restarted by an operator before it had answered")
)

// errDeadline: the deadline of the trigger, not the capsule's own limit, ended a call.
var errDeadline = errors.New("the trigger's deadline passed")

// Guest is what a capsule actor needs of a loaded capsule. One goroutine at a
// time calls it; ending ctx interrupts it. A *capsulehost.Failure means that it
// is lost, any other error that it reported one itself.
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
	Load func(ctx context.Context, s capsulehost.Surroundings) (Guest, error)
	// LoadTimeout is the limit of one load; CallTimeout that of one guest call.
	// 0 is none.
	LoadTimeout time.Duration
	CallTimeout time.Duration
	// TriggerTimeout is the deadline of the triggers that the capsule makes.
	TriggerTimeout time.Duration
	// Queue is how many calls may wait.
	Queue int

	System   *system.System
	Registry *actor.PID
	Router   *actor.PID
	Waits    *Waits
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

// Crash is the reason that a capsule's supervisor gets for its failure. The
// calls that it broke have been answered.
type Crash struct {
	Generation uint64
	Failure    *messages.CapsuleFailure
	// During is what died: "load", "call", "run", "killed".
	During string
	// Clean: the guest ended by itself without an error.
	Clean bool
	// Blameless: a caller's deadline ended the call, not the capsule's own
	// limit. The instance is lost all the same, but no restart is counted.
	Blameless bool
	// Up is how long the instance had been Ready.
	Up time.Duration
}

// capsule is one incarnation of a capsule's actor. It owns exactly one guest
// instance and runs one call at a time; calls that wait are in its mailbox,
// which outlives it, as does its Handle. Its parent is the `capsules`
// supervisor. All fields belong to the actor's goroutine; a run loop's guest,
// once running, to the loop's.
type capsule struct {
	*Handle
	own   *system.Mailbox
	log   zerolog.Logger
	life  *incarnation
	guest Guest // nil before the load and after a death
	ready time.Time
	world *surroundings
	loop  chan struct{} // closed when the run loop's goroutine has ended; nil without one
}

func newCapsule(h *Handle, mailbox *system.Mailbox) *capsule {
	return &capsule{Handle: h, own: mailbox, log: h.cfg.Log.With().Str("capsule", h.cfg.ID).Logger()}
}

// Receive handles one message.
func (c *capsule) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.start(ctx)
	case *actor.Restarting:
		c.discard()
	case *actor.Stopping:
		c.own.Close()
		c.discard()
	case *actor.Stopped:
	case *messages.InvokeInterceptor:
		c.invoke(ctx, m)
	case *loopSignalled:
		c.signalled(ctx, m)
	case *loopEnded:
		c.loopEnded(m)
	case *interrupted:
		c.interrupted(m)
	default:
		c.log.Error().Type("message", m).Msg("capsule: message not understood")
	}
}

// start loads the guest; a failure to is a crash like any other.
func (c *capsule) start(ctx actor.Context) {
	began := time.Now()
	c.life = c.incarnate()
	c.observe(&messages.Event{What: &messages.Event_CapsuleLoading{
		CapsuleLoading: &messages.CapsuleLoading{Version: c.cfg.Version},
	}})
	c.world = &surroundings{capsule: c, self: ctx.Self()}
	loadCtx, cancel := c.limited(c.cfg.LoadTimeout, time.Time{})
	guest, err := c.cfg.Load(loadCtx, c.world)
	cancel()
	if err != nil {
		c.die("load", err)
		return
	}
	c.guest = guest
	c.memory.Store(guest.MemoryBytes())
	if guest.RunLoop() {
		c.startLoop(ctx, began)
		return
	}
	c.up(ctx, messages.CapsuleState_CAPSULE_STATE_READY, began)
	c.afterRestart()
}

// up makes the instance known: first to the registry and the router, so that
// whoever sees the event finds it there.
func (c *capsule) up(ctx actor.Context, state messages.CapsuleState, began time.Time) {
	m := &messages.CapsuleUp{
		Capsule: c.cfg.ID, Generation: c.life.generation, Session: c.life.session, Version: c.cfg.Version,
		Interceptors: c.cfg.Interceptors, RunLoop: c.guest.RunLoop(),
		AllowPromptInjection: c.cfg.AllowPromptInjection, State: state,
	}
	ctx.Send(c.cfg.Registry, m)
	ctx.Send(c.cfg.Router, m)
	if state == messages.CapsuleState_CAPSULE_STATE_READY {
		c.ready = time.Now()
		c.observe(&messages.Event{What: &messages.Event_CapsuleReady{CapsuleReady: &messages.CapsuleReady{
			Session: c.life.session, Took: durationpb.New(c.ready.Sub(began)),
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
	if c.life.generation == 1 {
		return
	}
	for _, i := range c.cfg.Interceptors {
		if i.GetAction() != ActionAfterRestart {
			continue
		}
		ctx, cancel := c.limited(c.cfg.CallTimeout, time.Time{})
		defer cancel()
		var failure *capsulehost.Failure
		if _, err := c.guest.Invoke(ctx, ActionAfterRestart, nil); errors.As(err, &failure) {
			c.die("call", err)
		}
		return
	}
}

// invoke runs one interceptor and answers its leg. Where the guest dies of it,
// the leg is answered before the crash.
func (c *capsule) invoke(ctx actor.Context, m *messages.InvokeInterceptor) {
	answer := &messages.InterceptorAnswered{Trigger: m.GetTrigger(), Leg: m.GetLeg(), Generation: c.life.generation}
	deadline := time.Unix(0, m.GetDeadline())
	began := time.Now()
	switch {
	case c.guest == nil || c.guest.RunLoop():
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_UNAVAILABLE, "the capsule does not serve"
	case !began.Before(deadline):
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_TIMEOUT, "the trigger's deadline passed while the call was queued"
	case ctx.Sender() != nil && !c.cfg.System.Alive(ctx.Sender()):
		return // its trigger was given up: nobody is left to answer
	default:
		callCtx, cancel := c.limited(c.cfg.CallTimeout, deadline)
		c.world.caller = fromCaller(m.GetCaller())
		result, err := c.guest.Invoke(callCtx, m.GetAction(), m.GetPayload())
		c.world.caller = nil
		cancel()
		c.calls.Add(1)
		c.memory.Store(c.guest.MemoryBytes())
		answer.Duration = durationpb.New(time.Since(began))
		judge(answer, result, err)
		var failure *capsulehost.Failure
		if errors.As(err, &failure) {
			ctx.Respond(answer)
			c.die("call", err)
			return
		}
	}
	ctx.Respond(answer)
}

// limited returns a context for one guest call: it ends when the capsule is
// interrupted, after limit, and at deadline, where these are not zero.
func (c *capsule) limited(limit time.Duration, deadline time.Time) (context.Context, context.CancelFunc) {
	own := time.Time{}
	if limit > 0 {
		own = time.Now().Add(limit)
	}
	switch {
	case own.IsZero() && deadline.IsZero():
		return context.WithCancel(c.life.ctx)
	case own.IsZero() || (!deadline.IsZero() && deadline.Before(own)):
		return context.WithDeadlineCause(c.life.ctx, deadline, errDeadline)
	default:
		return context.WithDeadlineCause(c.life.ctx, own, fmt.Errorf("the capsule's limit of %v passed", limit))
	}
}

// die ends the present incarnation after a failed call or loop, unless it was
// stopped or is to be restarted on request: then what comes next is on its way.
func (c *capsule) die(during string, err error) {
	switch cause := context.Cause(c.life.ctx); {
	case errors.Is(cause, ErrStopping), errors.Is(cause, ErrRestarting):
		c.discard()
		return
	case errors.Is(cause, ErrKilled):
		during = "killed"
	}
	c.crash(during, err, false)
}

// crash reports the failure and hands it to the supervisor. It does not return.
func (c *capsule) crash(during string, err error, clean bool) {
	crash := &Crash{
		Generation: c.life.generation, Failure: failureOf(err), During: during,
		Clean: clean, Blameless: errors.Is(err, errDeadline),
	}
	if !c.ready.IsZero() {
		crash.Up = time.Since(c.ready)
	}
	var failure *capsulehost.Failure
	if errors.As(err, &failure) && failure.Kind == capsulehost.KindExit && failure.ExitCode == 0 {
		crash.Clean = true
	}
	c.cfg.System.Send(c.cfg.Registry, &messages.CapsuleDown{
		Capsule: c.cfg.ID, Generation: c.life.generation, State: messages.CapsuleState_CAPSULE_STATE_CRASHED,
		Reason: crash.Failure.GetMessage(), Interceptors: c.cfg.Interceptors,
	})
	c.observe(&messages.Event{What: &messages.Event_CapsuleCrashed{
		CapsuleCrashed: &messages.CapsuleCrashed{Failure: crash.Failure, During: during},
	}})
	c.discard()
	panic(crash)
}

// interrupted handles an interruption that found the capsule idle.
func (c *capsule) interrupted(m *interrupted) {
	if c.life == nil || m.generation != c.life.generation || c.guest == nil {
		return
	}
	if cause := context.Cause(c.life.ctx); errors.Is(cause, ErrKilled) {
		c.crash("killed", &capsulehost.Failure{Kind: capsulehost.KindCancelled, Message: cause.Error()}, false)
	}
}

// discard closes the instance. A run loop is interrupted and waited for.
func (c *capsule) discard() {
	if c.life != nil {
		c.life.end(ErrStopping)
	}
	if c.loop != nil {
		<-c.loop
		c.loop = nil
	}
	if c.guest != nil {
		if err := c.guest.Close(context.Background()); err != nil {
			c.log.Warn().Err(err).Msg("closing the instance failed")
		}
		c.guest = nil
		c.memory.Store(0)
	}
}

// observe completes an event with whom it is about, and passes it on.
func (c *capsule) observe(e *messages.Event) {
	e.Path, e.Generation = CapsulePath(c.cfg.ID), c.life.generation
	c.cfg.Observe(e)
}

// failureOf turns what ended an instance into its record.
func failureOf(err error) *messages.CapsuleFailure {
	out := &messages.CapsuleFailure{Kind: string(capsulehost.KindTrap), Message: err.Error(), At: timestamppb.Now()}
	var failure *capsulehost.Failure
	if errors.As(err, &failure) {
		out.Kind, out.Message, out.WasmStack = string(failure.Kind), failure.Error(), failure.Stack
	}
	return out
}

// interrupted is a capsule's word to itself that its present life was ended
// from outside. It overtakes the calls that wait.
type interrupted struct{ generation uint64 }

// Urgent makes it overtake.
func (*interrupted) Urgent() {}
