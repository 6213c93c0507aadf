package actors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// surroundings is what one incarnation's guest sees of the world. Its methods
// run on the guest's goroutine: the actor's, or the run loop's.
type surroundings struct {
	capsule *capsule
	self    *actor.PID
	caller  *capsulehost.Caller // for the length of one call
	signal  func()              // nil where there is no run loop
}

var (
	_ capsulehost.Surroundings = (*surroundings)(nil)
	_ capsulehost.Peers        = (*surroundings)(nil)
)

// lastTrigger numbers triggers in one process; only messages and logs carry the number.
var lastTrigger atomic.Uint64

// NextTrigger returns a fresh number for a trigger.
func NextTrigger() uint64 { return lastTrigger.Add(1) }

func (s *surroundings) Log(level capsulehost.LogLevel, message string) {
	principal := ""
	if s.caller != nil && s.caller.Principal != nil {
		principal = *s.caller.Principal
	}
	s.capsule.cfg.Lines.Write(level, principal, message)
}

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
	timeout := cfg.TriggerTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline)*15/16)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	reply, err := Route(ctx, cfg.System, cfg.Router, cfg.Waits, &messages.RouteTrigger{
		Trigger: NextTrigger(), Topic: topic, Payload: payload,
		FromCapsule: cfg.ID, Deadline: deadline.UnixNano(),
	})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, ErrNoRouter) {
			return nil, cause
		}
		return nil, err
	}
	WarnOfLegs(&s.capsule.log, reply)
	values := make([]json.RawMessage, 0, len(reply.GetLegs()))
	for _, leg := range reply.GetLegs() {
		if len(leg.GetValue()) > 0 {
			values = append(values, leg.GetValue())
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
		s.capsule.log.Warn().Err(err).Str("capability", capability).Msg("capability check not answered: denied")
		return false
	}
	return checked.GetAllowed()
}

// judge turns what a guest call came to into its leg's outcome.
func judge(answer *messages.InterceptorAnswered, result capsulehost.Result, err error) {
	var failure *capsulehost.Failure
	switch {
	case errors.As(err, &failure) && errors.Is(err, errDeadline):
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_TIMEOUT, "no answer by the trigger's deadline"
	case errors.As(err, &failure):
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_CRASHED, failure.Error()
	case err != nil:
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_FAILED, err.Error()
	case result.Action == capsulehost.Deny:
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_DENIED, string(result.Data)
	case result.Action == capsulehost.Continue && len(result.Data) == 0:
		answer.Outcome = messages.Outcome_OUTCOME_EMPTY
	default:
		answer.Outcome = messages.Outcome_OUTCOME_CONTINUE
		if result.Action == capsulehost.Final {
			answer.Outcome = messages.Outcome_OUTCOME_FINAL
		}
		var compact bytes.Buffer
		if !utf8.Valid(result.Data) || json.Compact(&compact, result.Data) != nil {
			answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_INVALID, "the answer is not JSON"
			return
		}
		answer.Value = compact.Bytes()
	}
}

// fromCaller is the caller context as a guest sees it; nil where there is none.
func fromCaller(c *messages.Caller) *capsulehost.Caller {
	if c == nil {
		return nil
	}
	return &capsulehost.Caller{Principal: c.Principal, SourceID: c.GetSourceId(), Timestamp: c.GetTimestamp().AsTime()}
}

// CapsulesPath is the path of the `capsules` supervisor, below the root.
const CapsulesPath = "capsules"

// CapsulePath is a capsule's name in the tree, and in its events.
func CapsulePath(id string) string { return CapsulesPath + "/" + id }

// capsulePID is where a capsule's actor is reached.
func capsulePID(sys *system.System, id string) *actor.PID { return sys.PID("root/" + CapsulePath(id)) }
