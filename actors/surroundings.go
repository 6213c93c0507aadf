package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// surroundings is what one incarnation's guest sees of the world. Its methods
// run on the guest's goroutine: the actor's, or the run loop's.
type surroundings struct {
	capsule *capsule
	caller  *capsulehost.Caller    // for the length of one call
	metered metered                // the guest, where its reductions are counted
	before  uint64                 // what it had spent when its call began
	signal  func()                 // nil where there is no run loop
	trace   *messages.TraceContext // of the call's span; nil where nobody traces, and in a run loop
}

var (
	_ capsulehost.HostAPI = (*surroundings)(nil)
	_ capsulehost.Peers   = (*surroundings)(nil)
)

func (s *surroundings) Log(level capsulehost.LogLevel, message string) {
	principal := ""
	if s.caller != nil && s.caller.Principal != nil {
		principal = *s.caller.Principal
	}
	s.capsule.cfg.Lines.Write(level, principal, message)
}

func (s *surroundings) Name() string                { return s.capsule.cfg.ID }
func (s *surroundings) Config(key string) string    { return s.capsule.cfg.Config(key) }
func (s *surroundings) Caller() *capsulehost.Caller { return s.caller }
func (s *surroundings) Now() time.Time              { return time.Now() }
func (s *surroundings) Peers() capsulehost.Peers    { return s }

func (s *surroundings) SignalReady() {
	if s.signal != nil {
		s.signal()
	}
}

// TriggerHook makes a nested trigger. It leaves its caller a sixteenth of the
// time that it has, so that the answer can still be used.
func (s *surroundings) TriggerHook(ctx context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	cfg := &s.capsule.cfg
	made, timeout := now(), cfg.TriggerTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline)*15/16)
	}
	// A timer of its own, and the end of the capsule's life: ctx would make another timer.
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	m := &messages.RouteTrigger{
		Topic: topic, Payload: payload, FromCapsule: cfg.ID, Deadline: int64(made.add(timeout)),
		Reductions: s.inherited(), Trace: s.trace,
	}
	legs, err := cfg.Triggers.gather(s.capsule.life.ctx, made, timer.C, m)
	s.pay(legs)
	switch {
	case errors.Is(err, ErrNoRouter):
		// As where there is no registry at all. The capsule need not die of our fault.
		cfg.Log.Error().Str("capsule", cfg.ID).Err(err).Msg("trigger answered with nothing")
		return nil, nil
	case err != nil:
		return nil, err
	}
	cfg.Triggers.WarnOfLegs(&cfg.Log, m, legs)
	values := make([]json.RawMessage, 0, len(legs))
	for _, leg := range legs {
		if len(leg.GetValue()) > 0 {
			values = append(values, json.RawMessage(leg.GetValue()))
		}
	}
	return values, nil
}

// CheckCapability asks the registry. No answer is no.
func (s *surroundings) CheckCapability(ctx context.Context, sourceUUID, capability string) bool {
	answer, err := s.capsule.cfg.System.Ask(ctx, s.capsule.cfg.Registry, &messages.CheckCapability{
		SourceUuid: sourceUUID, Capability: capability,
	})
	checked, ok := answer.(*messages.CapabilityChecked)
	if err != nil || !ok {
		s.capsule.cfg.Log.Warn().Str("capsule", s.capsule.cfg.ID).Err(err).Str("capability", capability).Msg("capability check not answered: denied")
		return false
	}
	return checked.GetAllowed()
}

// judge turns what a guest call came to into its leg's outcome.
func judge(answer *messages.InterceptorAnswered, result capsulehost.Result, err error) {
	defer func() { answer.Reason = shortened(answer.Reason, reasonKept) }()
	failure, isLost := errors.AsType[*capsulehost.Failure](err)
	switch {
	case isLost && errors.Is(err, errDeadline):
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_TIMEOUT, reasonDeadline
	case isLost:
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_CRASHED, failure.Error()
		if spent, ok := errors.AsType[triggerBudgetSpent](err); ok {
			answer.Reason = spent.Error()
		}
	case err != nil:
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_FAILED, err.Error()
	case result.Action == capsulehost.Deny:
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_DENIED, string(result.Data)
	case result.Action == capsulehost.Continue && len(result.Data) == 0:
		answer.Outcome = messages.Outcome_OUTCOME_EMPTY
	case len(result.Data) > maxAnswer:
		answer.Outcome = messages.Outcome_OUTCOME_INVALID
		answer.Reason = fmt.Sprintf("the answer of %d bytes is over the limit of %d", len(result.Data), maxAnswer)
	default:
		answer.Outcome = messages.Outcome_OUTCOME_CONTINUE
		if result.Action == capsulehost.Final {
			answer.Outcome = messages.Outcome_OUTCOME_FINAL
		}
		value, err := capsulehost.CompactJSON(result.Data)
		if err != nil {
			answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_INVALID, "the answer is not JSON: "+err.Error()
			return
		}
		answer.Value = value
	}
}

// fromCaller is the caller context as a guest sees it; nil where there is none.
func fromCaller(c *messages.Caller) *capsulehost.Caller {
	if c == nil {
		return nil
	}
	return &capsulehost.Caller{Principal: c.Principal, SourceID: c.GetSourceId(), Timestamp: c.GetTimestamp().AsTime()}
}
