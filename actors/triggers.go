package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.opentelemetry.io/otel/trace"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// ErrNoRouter: the hook router is not there, failed, or did not take a trigger
// up before its deadline.
var ErrNoRouter = errors.New("the hook router did not answer")

// Triggers are the open triggers of one system: it numbers them, is the process
// that their legs answer to, and holds the graph of which capsule waits for
// which. It outlives the restarts of the router, as the triggers in it do. Its
// methods may be called from any goroutine.
type Triggers struct {
	sys      *system.System
	router   *actor.PID
	self     *actor.PID
	waits    waits
	traffic  *Traffic
	tracer   trace.Tracer // nil where nobody traces
	warnings warnings

	last  atomic.Uint64 // number of the latest trigger; only messages and logs carry it
	open  sync.Map      // number → *collector; looked into twice for each leg
	count atomic.Int64  // of the open ones
}

// NewTriggers returns the place for the triggers that a router routes.
func NewTriggers(sys *system.System, router *actor.PID) *Triggers {
	t := &Triggers{sys: sys, router: router, traffic: &Traffic{}}
	t.self = sys.Register(t)
	return t
}

// CountIn has the triggers counted in traffic. Call it before the first.
func (t *Triggers) CountIn(traffic *Traffic) { t.traffic = traffic }

// Route makes a trigger, which it numbers and gives ctx's deadline, and waits
// for its one answer: every leg has exactly one outcome in it, legs without an
// answer at the deadline `timeout`. It returns an error only where ctx is
// cancelled, or the router is not there. What capsules still do for an abandoned
// trigger is not waited for: nobody may change m from here on.
func (t *Triggers) Route(ctx context.Context, m *messages.RouteTrigger) (*messages.TriggerReply, error) {
	if deadline, ok := ctx.Deadline(); ok {
		m.Deadline = int64(now().add(time.Until(deadline)))
	}
	if t.tracer != nil {
		m.Trace = injected(ctx)
	}
	legs, err := t.gather(ctx, now(), nil, m)
	if err != nil {
		return nil, err
	}
	return &messages.TriggerReply{Topic: m.GetTopic(), Responses: joinResponses(legs), Legs: legs}, nil
}

// Open is how many triggers are open, nested ones included.
func (t *Triggers) Open() int { return int(t.count.Load()) }

// Awaited is how many legs capsules wait for, inside their guests.
func (t *Triggers) Awaited() int { return t.waits.count() }

// gather routes a trigger that was just made, and waits until every leg has its
// outcome, deadline fires, or ctx ends.
func (t *Triggers) gather(ctx context.Context, made moment, deadline <-chan time.Time, m *messages.RouteTrigger) ([]*messages.Leg, error) {
	c := t.begin(made, m)
	t.sys.Request(t.router, m, t.self)
	var cancelled, late error
	select {
	case <-c.answered:
	case <-deadline:
		late = context.DeadlineExceeded
	case <-ctx.Done():
		if late = ctx.Err(); !errors.Is(late, context.DeadlineExceeded) {
			cancelled = context.Cause(ctx)
		}
	}
	legs := t.end(m.GetTrigger(), c)
	ended := now()
	var err error
	switch {
	case cancelled != nil:
		err = fmt.Errorf("trigger %q: %w", m.GetTopic(), cancelled)
	case legs == nil && late != nil:
		err = fmt.Errorf("trigger %q: %w: %w", m.GetTopic(), ErrNoRouter, late)
	case legs == nil:
		err = fmt.Errorf("trigger %q: %w", m.GetTopic(), ErrNoRouter)
	}
	c.traced.end(err, ended)
	if err != nil {
		return nil, err
	}
	t.traffic.answered(m, legs, ended.time(), c.age(ended))
	return legs, nil
}

// begin opens a trigger.
func (t *Triggers) begin(made moment, m *messages.RouteTrigger) *collector {
	if m.GetFromCapsule() != "" {
		t.traffic.asked()
	}
	m.Made = int64(made)
	c := &collector{triggers: t, made: m, traced: t.traced(m, made), answered: make(chan struct{})}
	m.Trigger = t.last.Add(1)
	t.count.Add(1)
	t.open.Store(m.Trigger, c)
	return c
}

// end closes a trigger: nobody finds it from here on, and no leg changes.
func (t *Triggers) end(trigger uint64, c *collector) []*messages.Leg {
	t.open.Delete(trigger)
	t.count.Add(-1)
	return c.close()
}

// find returns an open trigger's collector, or nil.
func (t *Triggers) find(trigger uint64) *collector {
	c, _ := t.open.Load(trigger)
	found, _ := c.(*collector)
	return found
}

// SendUserMessage takes the answer to one leg, or the news that there will be
// none, on the goroutine of whoever brings it. What is late, or not asked for,
// changes nothing.
func (t *Triggers) SendUserMessage(_ *actor.PID, message any) {
	switch _, m, _ := actor.UnwrapEnvelope(message); m := m.(type) {
	case *messages.InterceptorAnswered:
		t.answer(m)
	case *system.Undelivered:
		switch lost := m.Message.(type) {
		case *invocation:
			a := unavailable("the capsule has stopped")
			a.Trigger, a.Leg = lost.GetRoute().GetTrigger(), lost.GetLeg()
			t.answer(a)
		case *messages.RouteTrigger:
			t.unrouted(lost.GetTrigger())
		}
	}
}

// SendSystemMessage ignores what the library has to say.
func (t *Triggers) SendSystemMessage(*actor.PID, any) {}

// Stop is for actors.
func (t *Triggers) Stop(*actor.PID) {}

func (t *Triggers) answer(a *messages.InterceptorAnswered) {
	if c := t.find(a.GetTrigger()); c != nil {
		c.answer(a, nil)
	}
}

// unrouted ends a trigger that the router will not take up.
func (t *Triggers) unrouted(trigger uint64) {
	if c := t.find(trigger); c != nil {
		c.unrouted()
	}
}

// unavailable is the answer of a capsule that does not serve.
func unavailable(reason string) *messages.InterceptorAnswered {
	return &messages.InterceptorAnswered{Outcome: messages.Outcome_OUTCOME_UNAVAILABLE, Reason: reason}
}
