package actors

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// RouterName is the hook router's name in the tree, and in its events.
const RouterName = "hook-router"

// RouterConfig is what the hook router is made of.
type RouterConfig struct {
	System   *system.System
	Triggers *Triggers
	Log      zerolog.Logger
}

// RouterProps describes the hook router: it knows which capsule wants which
// topics, and sends the legs of each trigger to their capsules. It waits for
// nothing: the answers go to the trigger. Its parent is the root.
//
// A restart loses the index. The `capsules` supervisor then announces every
// capsule again, and at the end says Announced; triggers are held until then.
func RouterProps(cfg RouterConfig) *actor.Props {
	restarted := false
	return cfg.System.DirectProps(func() actor.Actor {
		r := &router{RouterConfig: cfg, targets: map[string]*target{}, rebuilding: restarted}
		restarted = true
		return r
	}, system.NewMailbox(0, nil))
}

// router is one incarnation of the hook router.
type router struct {
	RouterConfig
	targets    map[string]*target // by capsule id
	index      topicIndex
	rebuilding bool
	held       []*messages.RouteTrigger // while rebuilding; at most one for each open trigger
}

// target is a capsule as the router knows it: every capsule that was ever
// announced, so that a trigger can say who would have been asked.
type target struct {
	news
	capsule      string
	interceptors []*messages.Interceptor
	pid          *actor.PID
	down         string // why it can't be asked; empty where it can
}

// Receive handles one message.
func (r *router) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *messages.RouteTrigger:
		r.route(ctx, m)
	case *messages.CapsuleUp:
		r.up(m)
	case *messages.CapsuleDown:
		r.down(m)
	case *Announced:
		r.announced(ctx)
	case *actor.Stopping, *actor.Restarting:
		r.giveUp()
	case *actor.Started, *actor.Stopped:
	default:
		r.Log.Error().Type("message", m).Msg("hook router: message not understood")
	}
}

// call is what one leg is asked, in its envelope: one allocation serves all legs
// of a trigger.
type call struct {
	to       *target // nil where the leg is decided already
	envelope actor.MessageEnvelope
	invoke   invocation
}

// invocation is an InvokeInterceptor as a capsule gets it, with room for the call's
// context.
type invocation struct {
	messages.InvokeInterceptor
	limit limited
}

// route plans a trigger's legs, hands them to it, and sends those that can be asked.
func (r *router) route(ctx actor.Context, m *messages.RouteTrigger) {
	if r.rebuilding {
		r.held = append(r.held, m)
		return
	}
	trigger := r.Triggers.find(m.GetTrigger())
	if trigger == nil {
		return // given up while it was queued
	}
	matches := r.index.match(m.GetTopic())
	legs := make([]*messages.Leg, 0, len(matches))
	store := make([]messages.Leg, len(matches))
	calls := make([]call, len(matches))
	for _, match := range matches {
		if match.target.capsule == m.GetFromCapsule() {
			continue
		}
		n := len(legs)
		r.plan(m, n, match, &store[n], &calls[n])
		legs = append(legs, &store[n])
	}
	if !trigger.plan(legs) {
		r.leave(m.GetFromCapsule(), calls)
		return
	}
	trigger.traceCalls(calls)
	for i := range calls {
		if to := calls[i].to; to != nil {
			ctx.Send(to.pid, &calls[i].envelope)
		}
	}
}

// plan decides one leg: what it will be asked, or why not.
func (r *router) plan(m *messages.RouteTrigger, place int, s subscription, leg *messages.Leg, c *call) {
	t := s.target
	leg.Capsule, leg.Action, leg.Priority = t.capsule, s.interceptor.GetAction(), s.interceptor.GetPriority()
	switch {
	case t.down != "":
		leg.Outcome, leg.Reason = messages.Outcome_OUTCOME_UNAVAILABLE, t.down
		return
	case m.GetFromCapsule() != "" && !r.Triggers.waits.enter(m.GetFromCapsule(), t.capsule):
		leg.Outcome = messages.Outcome_OUTCOME_DEADLOCK
		leg.Reason = fmt.Sprintf("%s waits for %s", t.capsule, m.GetFromCapsule())
		return
	}
	c.to = t
	c.invoke.Route, c.invoke.Leg, c.invoke.Action = m, uint32(place), leg.Action //nolint:gosec // a count
	c.envelope.Message, c.envelope.Sender = &c.invoke, r.Triggers.self
}

// leave takes the edges back that calls which are not sent have entered.
func (r *router) leave(from string, calls []call) {
	for i := range calls {
		if to := calls[i].to; to != nil && from != "" {
			r.Triggers.waits.leave(from, to.capsule)
		}
	}
}

// up enters a capsule that serves, in place of what it was before.
func (r *router) up(m *messages.CapsuleUp) {
	if t := r.target(m.GetCapsule()); t.news.up(m.GetGeneration()) {
		r.subscribe(t, m.GetInterceptors())
		t.down = ""
		if m.GetRunLoop() {
			t.down = "it is a run loop, which triggers do not reach"
		}
	}
}

// down keeps a capsule that does not serve, so that its legs are answered.
func (r *router) down(m *messages.CapsuleDown) {
	if t := r.target(m.GetCapsule()); t.news.down(m.GetGeneration()) {
		r.subscribe(t, m.GetInterceptors())
		if t.down = m.GetReason(); t.down == "" {
			t.down = "it does not serve"
		}
	}
}

// announced: every capsule is known again.
func (r *router) announced(ctx actor.Context) {
	held := r.held
	r.rebuilding, r.held = false, nil
	for _, m := range held {
		r.route(ctx, m)
	}
}

// giveUp answers the triggers that this incarnation holds and will not route.
func (r *router) giveUp() {
	for _, m := range r.held {
		r.Triggers.unrouted(m.GetTrigger())
	}
}

// target returns the entry for a capsule, a new one where it is not known.
func (r *router) target(capsule string) *target {
	t := r.targets[capsule]
	if t == nil {
		t = &target{capsule: capsule, pid: capsulePID(r.System, capsule), down: "it has not been started"}
		r.targets[capsule] = t
	}
	return t
}

// subscribe indexes a capsule under its present interceptors. It announces the
// very same slice until its manifest is read again.
func (r *router) subscribe(t *target, interceptors []*messages.Interceptor) {
	if len(t.interceptors) == len(interceptors) && (len(interceptors) == 0 || &t.interceptors[0] == &interceptors[0]) {
		return
	}
	for _, i := range t.interceptors {
		r.index.remove(t, i.GetEvent())
	}
	t.interceptors = interceptors
	for position, i := range interceptors {
		r.index.add(subscription{target: t, interceptor: i, position: position})
	}
}
