package actors

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// The kernel's own topics.
const (
	TopicTick          = "astrid.v1.watchdog.tick"
	TopicCapsulesReady = "astrid.v1.capsules_loaded"
	TopicLagged        = "astrid.v1.event_bus.lagged"
	TopicHealthFailed  = "astrid.v1.health.failed"

	// A capsule's life, so that others can react to it: a monitor, in Erlang's words.
	TopicCapsuleReady   = "astrid.v1.capsule.ready"
	TopicCapsuleCrashed = "astrid.v1.capsule.crashed"
	TopicCapsuleFailed  = "astrid.v1.capsule.failed"
	TopicCapsuleStopped = "astrid.v1.capsule.stopped"

	requestPrefix  = "astrid.v1.request."
	responsePrefix = "astrid.v1.response."
)

const (
	tickEvery   = 5 * time.Second
	laggedEvery = 10 * time.Second
)

// Props describes the event-bus actor, which speaks for the kernel on the bus: it ticks,
// tells of lost messages, crashes and the end of the start, and answers requests. Its
// parent is the root. A restart loses nothing: messages are delivered without it, and
// requests that wait are answered.
func (b *Bus) Props(kernel Kernel, log *slog.Logger) *actor.Props {
	requests := b.Subscribe(requestPrefix + "*")
	requests.notify = func() { b.cfg.System.Send(b.self, &requestsWait{}) }
	return b.cfg.System.Props(func() actor.Actor {
		return &eventBus{bus: b, kernel: kernel, log: log, requests: requests}
	}, system.NewMailbox(0, nil))
}

// eventBus is one run of the event-bus actor.
type eventBus struct {
	bus      *Bus
	kernel   Kernel
	log      *slog.Logger
	requests *Subscription
	limits   requestLimits

	tick, lag *time.Timer
	told      monotime.Time // when TopicLagged was last published; None before
}

// Self-messages, and those of the Bus: what is due.
type (
	tickDue      struct{}
	lagged       struct{}
	requestsWait struct{}
)

// Receive handles one message.
func (e *eventBus) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		e.start()
	case *tickDue:
		e.ticked()
	case *lagged:
		e.lagged()
	case *requestsWait:
		e.answerRequests()
	case *CapsuleDied:
		e.died(m)
	case *CapsuleChanged:
		e.bus.kernel(m.Topic, raw(m), KernelSource)
	case *SystemReady:
		e.ready()
	case *actor.Stopping, *actor.Restarting:
		e.stop()
	case *actor.Stopped:
	default:
		e.log.Error("event bus: message not understood", "message", fmt.Sprintf("%T", m))
	}
}

func (e *eventBus) start() {
	e.tick = e.after(tickEvery, &tickDue{})
	e.answerRequests()
}

func (e *eventBus) after(d time.Duration, message any) *time.Timer {
	return time.AfterFunc(d, func() { e.bus.cfg.System.Send(e.bus.self, message) })
}

func (e *eventBus) stop() {
	for _, timer := range []*time.Timer{e.tick, e.lag} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// ticked wakes capsules that have no timers of their own.
func (e *eventBus) ticked() {
	e.tick.Reset(tickEvery)
	e.bus.kernel(TopicTick, custom(struct{}{}), ownSource())
}

// lagged says that subscriptions have lost messages, now or when that may be said again.
func (e *eventBus) lagged() {
	now := monotime.Now()
	if e.told != monotime.None && now.Sub(e.told) < laggedEvery {
		e.lag = e.after(laggedEvery-now.Sub(e.told), &lagged{})
		return
	}
	e.told = now
	count := e.bus.unreported.Swap(0)
	e.bus.kernel(TopicLagged, custom(map[string]uint64{"lagged_count": count}), ownSource())
}

// ready says that the first start of every capsule has a result.
func (e *eventBus) ready() {
	e.bus.kernel(TopicCapsulesReady, raw(map[string]string{"status": "ready"}), KernelSource)
}

// died says that an instance has died. What its supervisor does about it is no matter of
// the bus.
func (e *eventBus) died(m *CapsuleDied) {
	id := m.Path[strings.LastIndexByte(m.Path, '/')+1:] // its groups come before it
	id, _, _ = strings.Cut(id, "#")                     // and the number of its instance after it
	e.bus.kernel(TopicHealthFailed, custom(map[string]string{"capsule_id": id, "reason": m.Reason}), ownSource())
}

// CapsuleChanged has the event-bus actor publish that a capsule's state has changed, on one
// of the topics of a capsule's life. The payload is the message in JSON.
type CapsuleChanged struct {
	Topic   string `json:"-"`
	Capsule string `json:"capsule"`
	// Instance is the number of the instance of a pool.
	Instance   int    `json:"instance,omitempty"`
	Generation uint64 `json:"generation"`
	Reason     string `json:"reason,omitempty"`
}

// CapsuleDied has the event-bus actor publish that an instance has died.
type CapsuleDied struct{ Path, Reason string }

// SystemReady has it publish that the first start of every capsule has a result.
type SystemReady struct{}

// custom is a payload of the kernel's of kind custom; raw is one of kind raw_json. What
// they hold can be encoded.
func custom(data any) capsulehost.Payload {
	payload, _ := capsulehost.ParsePayload(encode(data))
	return payload
}

func raw(object any) capsulehost.Payload {
	payload, _ := capsulehost.RawPayload(encode(object))
	return payload
}
