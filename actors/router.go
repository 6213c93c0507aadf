package actors

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// RouterConfig is what the hook router is made of.
type RouterConfig struct {
	System *system.System
	Waits  *Waits
	Log    zerolog.Logger
}

// RouterProps describes the hook router: it knows which capsule wants which
// topics, and sends the legs of each trigger to their capsules. It waits for
// nothing: the answers go to the trigger's collector. Its parent is the root. A
// restart loses the index; the `capsules` supervisor then announces every
// capsule again.
func RouterProps(cfg RouterConfig) *actor.Props {
	return cfg.System.Props(
		func() actor.Actor { return &router{RouterConfig: cfg, targets: map[string]*target{}} },
		system.NewMailbox(0, nil),
	)
}

// router is one incarnation of the hook router.
type router struct {
	RouterConfig
	targets map[string]*target // by capsule id
	index   topicIndex
}

// target is a capsule as the router knows it: every capsule that was ever
// announced, so that a trigger can say who would have been asked.
type target struct {
	capsule      string
	generation   uint64
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
	case *actor.Started, *actor.Restarting, *actor.Stopping, *actor.Stopped:
	default:
		r.Log.Error().Type("message", m).Msg("hook router: message not understood")
	}
}

// route plans a trigger's legs, tells its collector, and sends those that can be asked.
func (r *router) route(ctx actor.Context, m *messages.RouteTrigger) {
	collector := ctx.Sender()
	if collector == nil || !r.System.Alive(collector) {
		return // given up while it was queued
	}
	matches := r.index.match(m.GetTopic())
	legs := make([]*messages.Leg, 0, len(matches))
	asked := make([]*target, 0, len(matches))
	for _, match := range matches {
		t := match.target
		if t.capsule == m.GetFromCapsule() {
			continue
		}
		leg := &messages.Leg{Capsule: t.capsule, Action: match.interceptor.GetAction(), Priority: match.interceptor.GetPriority()}
		switch {
		case t.down != "":
			leg.Outcome, leg.Reason, leg.Generation = messages.Outcome_OUTCOME_UNAVAILABLE, t.down, t.generation
		case m.GetFromCapsule() != "" && !r.Waits.enter(m.GetFromCapsule(), t.capsule):
			leg.Outcome = messages.Outcome_OUTCOME_DEADLOCK
			leg.Reason = fmt.Sprintf("%s waits for %s", t.capsule, m.GetFromCapsule())
			leg.Generation = t.generation
		}
		legs, asked = append(legs, leg), append(asked, t)
	}

	// The collector owns the legs from here on: decide what to send before.
	addresses := make([]actor.PID, len(legs))
	calls := make([]*messages.InvokeInterceptor, len(legs))
	for i, leg := range legs {
		if leg.GetOutcome() != messages.Outcome_OUTCOME_UNSPECIFIED {
			continue
		}
		address := &addresses[i]
		address.Address, address.Id, address.RequestId = collector.Address, collector.Id, uint32(i)
		calls[i] = &messages.InvokeInterceptor{
			Trigger: m.GetTrigger(), Leg: uint32(i), Action: leg.GetAction(),
			Payload: m.GetPayload(), Caller: m.GetCaller(), Deadline: m.GetDeadline(),
		}
	}
	ctx.Send(collector, &plan{legs: legs})
	for i, call := range calls {
		if call != nil {
			ctx.RequestWithCustomSender(asked[i].pid, call, &addresses[i])
		}
	}
}

// up enters a capsule that serves, in place of what it was before.
func (r *router) up(m *messages.CapsuleUp) {
	t := r.target(m.GetCapsule(), m.GetInterceptors())
	t.generation = m.GetGeneration()
	t.pid = capsulePID(r.System, m.GetCapsule())
	t.down = ""
	if m.GetRunLoop() {
		t.down = "it is a run loop, which triggers do not reach"
	}
}

// down keeps a capsule that does not serve, so that its legs are answered.
func (r *router) down(m *messages.CapsuleDown) {
	t := r.target(m.GetCapsule(), m.GetInterceptors())
	t.generation, t.down = m.GetGeneration(), m.GetReason()
}

// target returns the entry for a capsule, indexed under its present interceptors.
func (r *router) target(capsule string, interceptors []*messages.Interceptor) *target {
	t := r.targets[capsule]
	if t != nil && sameSlice(t.interceptors, interceptors) {
		return t
	}
	if t == nil {
		t = &target{capsule: capsule}
		r.targets[capsule] = t
	}
	for _, i := range t.interceptors {
		r.index.remove(t, i.GetEvent())
	}
	t.interceptors = interceptors
	for position, i := range interceptors {
		r.index.add(subscription{target: t, interceptor: i, position: position})
	}
	return t
}

// sameSlice says whether a and b are the very same elements in memory: a
// capsule announces the same slice until its manifest is read again.
func sameSlice(a, b []*messages.Interceptor) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
