package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// hostAPI answers one instance's guest. Its methods run on the guest's goroutine:
// the one that runs the actor, or the run loop's.
type hostAPI struct {
	caller   *capsulehost.Caller // during one call
	depth    int                 // of the publications that the call follows from
	call     *invocation         // during one call
	metered  metered             // the guest, if its reductions are counted
	budget   capsulehost.Budget  // of each call, by its version
	before   uint64              // its reductions when its call began
	instance *instance
	bus      *guestBus // nil without one
	services capsulehost.Services
	span     context.Context // with the call's span; nil unless triggers are traced, and in a run loop
	spare    *trigger        // zero, for the guest's next trigger; nil if there is none

	mu        sync.Mutex
	signalled bool          // the guest has called astrid_signal_ready
	ready     chan struct{} // closed then; nil in tests of the host API alone
	signal    func()        // reports that; nil before the run loop has started
}

var (
	_ capsulehost.HostAPI = (*hostAPI)(nil)
	_ capsulehost.Peers   = (*hostAPI)(nil)
	_ capsulehost.Output  = (*hostAPI)(nil)
)

func (a *hostAPI) Log(level capsulehost.LogLevel, message string) {
	principal := ""
	if a.caller != nil && a.caller.Principal != nil {
		principal = *a.caller.Principal
	}
	a.instance.ref.cfg.Lines.Write(level, principal, message)
}

// WriteLine logs a line that the guest has written to a standard stream.
func (a *hostAPI) WriteLine(stream, line string) { a.Log(capsulehost.LevelInfo, stream+": "+line) }

func (a *hostAPI) Name() string                { return a.instance.ref.cfg.ID }
func (a *hostAPI) Config(key string) string    { return a.instance.version.Config(key) }
func (a *hostAPI) Caller() *capsulehost.Caller { return a.caller }
func (a *hostAPI) Now() time.Time              { return time.Now() }

// Services are the same for the instance's whole life.
func (a *hostAPI) Services() *capsulehost.Services { return &a.services }

// SignalReady counts once, and also if it comes while the capsule loads.
func (a *hostAPI) SignalReady() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.signalled {
		return
	}
	a.signalled = true
	close(a.ready)
	if a.signal != nil {
		a.signal()
	}
}

func (a *hostAPI) hasSignalled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.signalled
}

// loopStarted says how a run loop's signal is noted.
func (a *hostAPI) loopStarted(signal func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signal = signal
	if a.signalled {
		signal()
	}
}

// TriggerHook makes a nested trigger. It leaves its caller a sixteenth of the
// time that it has, so that the answer can still be used.
func (a *hostAPI) TriggerHook(ctx context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	cfg := &a.instance.ref.cfg
	made := monotime.Now()
	timeout := cfg.TriggerTimeout
	if deadline := deadlineOf(ctx); deadline != monotime.None {
		left := deadline.Sub(made)
		timeout = min(timeout, left-left/16)
	}
	t := a.newTrigger()
	defer a.reuse(t)
	t.router, t.topic, t.payload = cfg.Router, topic, payload
	t.from, t.asking, t.asker = cfg.ID, &a.instance.ref.node, ctx
	t.made, t.deadline, t.reductions = made, made.Add(timeout), a.inherited()
	t.depth = a.depth
	spans := ctx
	if a.span != nil {
		spans = a.span
	}
	t.traced = a.call.join(topic, cfg.ID, false, made)
	_, err := cfg.Router.run(ctx, spans, t)
	a.pay(t.legs)
	switch {
	case errors.Is(err, ErrNoRoutes):
		// As if there were no registry: the capsule need not die of our fault.
		cfg.Log.Error("trigger answered with nothing", "capsule", cfg.ID, "err", err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	cfg.Router.WarnOfLegs(cfg.Log, cfg.ID, topic, t.legs)
	values := make([]json.RawMessage, 0, len(t.legs))
	for n := range t.legs {
		if value := t.legs[n].Value; len(value) > 0 {
			values = append(values, value)
		}
	}
	return values, nil
}

// newTrigger returns a trigger that is zero.
func (a *hostAPI) newTrigger() *trigger {
	t := a.spare
	if a.spare = nil; t == nil {
		t = &trigger{}
	}
	return t
}

// reuse keeps a trigger that has ended for the guest's next one, if nobody else can
// hold a part of it. Only of WebAssembly is it certain that it makes one trigger at a
// time.
func (a *hostAPI) reuse(t *trigger) {
	switch {
	case t.isShared():
		if a.call != nil && a.call.trigger != nil { // whoever runs a call of it looks at the call that made it
			a.call.trigger.shared.Store(true)
		}
	case a.instance.inline:
		*t = trigger{}
		a.spare = t
	}
}

// deadlineOf returns a context's deadline, of one of our own without a look at the
// clock.
func deadlineOf(ctx context.Context) monotime.Time {
	if c, ok := ctx.(*callContext); ok {
		return c.deadline
	}
	return monotime.Deadline(ctx)
}

// CheckCapability asks the registry. No answer is no.
func (a *hostAPI) CheckCapability(ctx context.Context, sourceUUID, capability string) bool {
	cfg := &a.instance.ref.cfg
	answer, err := cfg.System.Ask(ctx, cfg.Registry, &messages.CheckCapability{SourceUUID: sourceUUID, Capability: capability})
	checked, ok := answer.(*messages.CapabilityChecked)
	if err != nil || !ok {
		cfg.Log.Warn("capability check not answered: denied", "capsule", cfg.ID, "err", err, "capability", capability)
		return false
	}
	return checked.Allowed
}

// judge turns the result of a guest call into its leg's outcome.
func judge(answer *messages.Leg, result capsulehost.Result, err error, isStep bool) {
	if err != nil {
		judgeError(answer, err)
	} else {
		judgeResult(answer, result, isStep)
	}
	answer.Reason = shortened(answer.Reason, reasonKept)
}

func judgeError(answer *messages.Leg, err error) {
	failure, isLost := errors.AsType[*capsulehost.Failure](err)
	switch {
	case isLost && errors.Is(err, errDeadline):
		answer.Outcome, answer.Reason = messages.OutcomeTimeout, reasonDeadline
	case isLost:
		answer.Outcome, answer.Reason = messages.OutcomeCrashed, failure.Error()
		if spent, ok := errors.AsType[triggerBudgetSpent](err); ok {
			answer.Reason = spent.Error()
		}
	default:
		answer.Outcome, answer.Reason = messages.OutcomeFailed, err.Error()
	}
}

func judgeResult(answer *messages.Leg, result capsulehost.Result, isStep bool) {
	switch {
	case result.Action == capsulehost.Deny:
		answer.Outcome, answer.Reason = messages.OutcomeDenied, string(result.Data)
	case isStep:
		judgeStep(answer, result)
	case result.Action == capsulehost.Continue && len(result.Data) == 0:
		answer.Outcome = messages.OutcomeEmpty
	case len(result.Data) > maxAnswer:
		answer.Outcome = messages.OutcomeInvalid
		answer.Reason = fmt.Sprintf("the answer of %d bytes is over the limit of %d", len(result.Data), maxAnswer)
	default:
		answer.Outcome = messages.OutcomeContinue
		if result.Action == capsulehost.Final {
			answer.Outcome = messages.OutcomeFinal
		}
		value, err := capsulehost.CompactJSON(result.Data)
		if err != nil {
			answer.Outcome, answer.Reason = messages.OutcomeInvalid, "the answer is not JSON: "+err.Error()
			return
		}
		answer.Value = value
	}
}
