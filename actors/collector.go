package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// ErrNoRouter: the hook router is not there, or did not take a trigger up
// before its deadline.
var ErrNoRouter = errors.New("the hook router did not answer")

// Route makes a trigger and waits for its one answer: every leg has exactly one
// outcome in it, legs without an answer at ctx's deadline `timeout`. It returns
// an error only where ctx is cancelled otherwise, or the router is not there.
// What the capsules still do for an abandoned trigger is not waited for.
//
// A capsule may call it from inside a guest call; it waits on no actor's goroutine
// but its own.
func Route(ctx context.Context, sys *system.System, router *actor.PID, waits *Waits, t *messages.RouteTrigger) (*messages.TriggerReply, error) {
	c := &collector{waits: waits, from: t.GetFromCapsule(), answered: make(chan struct{})}
	self := sys.Register(c)
	defer sys.Unregister(self)
	sys.Request(router, t, self)

	select {
	case <-c.answered:
	case <-ctx.Done():
		c.abandon()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("trigger %q: %w", t.GetTopic(), context.Cause(ctx))
		}
	}
	if c.legs == nil {
		return nil, fmt.Errorf("trigger %q: %w", t.GetTopic(), ErrNoRouter)
	}
	return &messages.TriggerReply{Topic: t.GetTopic(), Responses: joinResponses(c.legs), Legs: c.legs}, nil
}

// plan is the router's word to a collector: the legs of its trigger, some of
// them answered already. The collector owns them from then on.
type plan struct{ legs []*messages.Leg }

// collector is the process that gathers the answers to one trigger. Its methods
// run on the goroutines of those that answer.
type collector struct {
	waits *Waits
	from  string // the capsule that waits; empty where none does

	mu       sync.Mutex
	legs     []*messages.Leg // nil until planned; not touched once over
	missing  int
	over     bool
	answered chan struct{} // closed when no leg is missing, or none will come
}

// SendUserMessage takes the plan, then one answer for each leg: pid is the
// leg's own address, whose RequestId is the leg's place.
func (c *collector) SendUserMessage(pid *actor.PID, message any) {
	switch _, m, _ := actor.UnwrapEnvelope(message); m := m.(type) {
	case *plan:
		c.plan(m.legs)
	case *messages.InterceptorAnswered:
		c.answer(int(m.GetLeg()), m)
	case *actor.DeadLetterResponse:
		c.undelivered(int(pid.RequestId))
	}
}

// SendSystemMessage ignores what the library has to say.
func (c *collector) SendSystemMessage(*actor.PID, any) {}

// Stop is not for collectors.
func (c *collector) Stop(*actor.PID) {}

func (c *collector) plan(legs []*messages.Leg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		c.abandonLocked(legs)
		return
	}
	c.legs = legs
	for _, leg := range legs {
		if leg.GetOutcome() == messages.Outcome_OUTCOME_UNSPECIFIED {
			c.missing++
		}
	}
	c.finishLocked()
}

func (c *collector) answer(place int, a *messages.InterceptorAnswered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || place >= len(c.legs) || c.legs[place].GetOutcome() != messages.Outcome_OUTCOME_UNSPECIFIED {
		return // too late, or answered before
	}
	leg := c.legs[place]
	leg.Outcome, leg.Value, leg.Reason = a.GetOutcome(), a.GetValue(), a.GetReason()
	leg.Generation, leg.Duration = a.GetGeneration(), a.GetDuration()
	c.settledLocked(leg)
	c.missing--
	c.finishLocked()
}

// undelivered is said of what nobody took: one leg's call or, before there are
// legs, the trigger itself.
func (c *collector) undelivered(place int) {
	c.mu.Lock()
	planned := c.legs != nil
	if !planned && !c.over {
		c.finishLocked()
	}
	c.mu.Unlock()
	if planned {
		c.answer(place, unavailable("the capsule has stopped"))
	}
}

// abandon ends the waiting: every missing leg gets the outcome `timeout`.
func (c *collector) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.abandonLocked(c.legs)
}

func (c *collector) abandonLocked(legs []*messages.Leg) {
	for _, leg := range legs {
		if leg.GetOutcome() == messages.Outcome_OUTCOME_UNSPECIFIED {
			leg.Outcome = messages.Outcome_OUTCOME_TIMEOUT
			leg.Reason = "no answer by the trigger's deadline"
			c.settledLocked(leg)
		}
	}
}

// settledLocked ends the wait for one leg that was sent.
func (c *collector) settledLocked(leg *messages.Leg) {
	if c.from != "" {
		c.waits.leave(c.from, leg.GetCapsule())
	}
}

func (c *collector) finishLocked() {
	if c.missing == 0 {
		c.over = true
		close(c.answered)
	}
}

// joinResponses is the JSON array of the values that legs gave, in their order.
func joinResponses(legs []*messages.Leg) []byte {
	size := 2
	for _, leg := range legs {
		size += len(leg.GetValue()) + 1
	}
	out := append(make([]byte, 0, size), '[')
	for _, leg := range legs {
		if len(leg.GetValue()) == 0 {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, leg.GetValue()...)
	}
	return append(out, ']')
}

// unavailable is the answer for a capsule that does not serve.
func unavailable(reason string) *messages.InterceptorAnswered {
	return &messages.InterceptorAnswered{Outcome: messages.Outcome_OUTCOME_UNAVAILABLE, Reason: reason}
}

// WarnOfLegs logs each leg that gave no value although it was asked for one.
func WarnOfLegs(log *zerolog.Logger, reply *messages.TriggerReply) {
	for _, leg := range reply.GetLegs() {
		switch leg.GetOutcome() {
		case messages.Outcome_OUTCOME_CONTINUE, messages.Outcome_OUTCOME_FINAL, messages.Outcome_OUTCOME_EMPTY:
		default:
			log.Warn().Str("topic", reply.GetTopic()).Str("asked", leg.GetCapsule()).Str("action", leg.GetAction()).
				Str("outcome", leg.GetOutcome().Word()).Str("reason", leg.GetReason()).
				Msg("interceptor gave no answer")
		}
	}
}
