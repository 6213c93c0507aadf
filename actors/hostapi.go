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
	capsule  *capsule
	services capsulehost.Services
	caller   *capsulehost.Caller // during one call
	metered  metered             // the guest, if its reductions are counted
	before   uint64              // its reductions when its call began
	span     context.Context     // with the call's span; nil unless triggers are traced, and in a run loop

	mu        sync.Mutex
	signalled bool   // the guest has called astrid_signal_ready
	signal    func() // reports that; nil before the run loop has started
}

var (
	_ capsulehost.HostAPI = (*hostAPI)(nil)
	_ capsulehost.Peers   = (*hostAPI)(nil)
)

func (a *hostAPI) Log(level capsulehost.LogLevel, message string) {
	principal := ""
	if a.caller != nil && a.caller.Principal != nil {
		principal = *a.caller.Principal
	}
	a.capsule.cfg.Lines.Write(level, principal, message)
}

func (a *hostAPI) Name() string                { return a.capsule.cfg.ID }
func (a *hostAPI) Config(key string) string    { return a.capsule.cfg.Config(key) }
func (a *hostAPI) Caller() *capsulehost.Caller { return a.caller }
func (a *hostAPI) Now() time.Time              { return time.Now() }

// Services are the same for the instance's whole life.
func (a *hostAPI) Services() *capsulehost.Services { return &a.services }

// SignalReady counts once, and also if it comes while the capsule loads.
func (a *hostAPI) SignalReady() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.signalled && a.signal != nil {
		a.signal()
	}
	a.signalled = true
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
	cfg := &a.capsule.cfg
	made := monotime.Now()
	timeout := cfg.TriggerTimeout
	if deadline := deadlineOf(ctx); deadline != monotime.None {
		left := deadline.Sub(made)
		timeout = min(timeout, left-left/16)
	}
	t := &trigger{
		router: cfg.Router, topic: topic, payload: payload, from: cfg.ID, asker: ctx, made: made,
		deadline: made.Add(timeout), reductions: a.inherited(),
	}
	spans := ctx
	if a.span != nil {
		spans = a.span
	}
	err := cfg.Router.run(ctx, spans, t)
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
	values := t.one.value[:0]
	if len(t.legs) > 1 {
		values = make([]json.RawMessage, 0, len(t.legs))
	}
	for n := range t.legs {
		if value := t.legs[n].Value; len(value) > 0 {
			values = append(values, value)
		}
	}
	return values, nil
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
	cfg := &a.capsule.cfg
	answer, err := cfg.System.Ask(ctx, cfg.Registry, &messages.CheckCapability{SourceUUID: sourceUUID, Capability: capability})
	checked, ok := answer.(*messages.CapabilityChecked)
	if err != nil || !ok {
		cfg.Log.Warn("capability check not answered: denied", "capsule", cfg.ID, "err", err, "capability", capability)
		return false
	}
	return checked.Allowed
}

// judge turns the result of a guest call into its leg's outcome.
func judge(answer *messages.Leg, result capsulehost.Result, err error) {
	defer func() { answer.Reason = shortened(answer.Reason, reasonKept) }()
	failure, isLost := errors.AsType[*capsulehost.Failure](err)
	switch {
	case isLost && errors.Is(err, errDeadline):
		answer.Outcome, answer.Reason = messages.OutcomeTimeout, reasonDeadline
	case isLost:
		answer.Outcome, answer.Reason = messages.OutcomeCrashed, failure.Error()
		if spent, ok := errors.AsType[triggerBudgetSpent](err); ok {
			answer.Reason = spent.Error()
		}
	case err != nil:
		answer.Outcome, answer.Reason = messages.OutcomeFailed, err.Error()
	case result.Action == capsulehost.Deny:
		answer.Outcome, answer.Reason = messages.OutcomeDenied, string(result.Data)
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
