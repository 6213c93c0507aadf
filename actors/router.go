package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.opentelemetry.io/otel/trace"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// RouterName is the hook router's name in the tree, and in its events.
const RouterName = "hook-router"

// MaxLegs is how many capsules' interceptors one trigger asks. Further ones are
// answered OutcomeOverloaded, so that one topic can't fill the host.
const MaxLegs = 4096

// ErrNoRoutes: the hook router has not been told of the capsules yet.
var ErrNoRoutes = errors.New("the hook router does not serve yet")

// Router makes triggers. It holds the routing table, which everybody reads, as an
// ETS table: the hook-router actor maintains it, and a capsule enters itself when
// it is up. So a trigger is planned, and an idle capsule run, on the goroutine that
// asks. It also holds the graph of which capsule waits for which. It outlives
// restarts of the actor, as open triggers do. Its methods may be called from any
// goroutine.
type Router struct {
	table    atomic.Pointer[routingTable] // nil until the actor has been told of every capsule
	waits    waits
	stats    *TriggerStats
	tracer   trace.Tracer // nil if triggers are not traced
	warnings warnings
	open     atomic.Int64
	traces   traces
}

// NewRouter returns a router whose triggers are counted in stats and traced with
// tracer, each unless nil.
func NewRouter(stats *TriggerStats, tracer trace.Tracer) *Router {
	if stats == nil {
		stats = &TriggerStats{}
	}
	return &Router{stats: stats, tracer: tracer}
}

// Props describes the hook-router actor: it keeps the routing table by what
// capsules and their supervisor announce. Its parent is the root.
//
// A restart loses nothing that triggers need: they go on with the old table. The
// supervisor announces every capsule again, and the new table takes over at
// resyncDone.
func (r *Router) Props(sys *system.System, log *slog.Logger) *actor.Props {
	return sys.DirectProps(func() actor.Actor {
		return &hookRouter{router: r, log: log, table: newRoutingTable()}
	}, system.NewMailbox(0, nil))
}

// hookRouter is one run of the hook-router actor.
type hookRouter struct {
	router *Router
	log    *slog.Logger
	table  *routingTable // read by others once it is the router's
}

// Receive handles one message.
func (h *hookRouter) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *CapsuleUp:
		h.table.up(m)
	case *CapsuleDown:
		h.table.down(m)
	case *CapsuleGone:
		h.table.gone(m)
	case *resyncDone:
		h.router.table.Store(h.table)
	case *actor.Started, *actor.Stopping, *actor.Stopped, *actor.Restarting:
	default:
		h.log.Error("hook router: message not understood", "message", fmt.Sprintf("%T", m))
	}
}

// TriggerRequest asks every capsule whose interceptors match a topic.
type TriggerRequest struct {
	Topic string
	// Payload is compact JSON. The router keeps it: it must not be changed.
	Payload []byte
	// Caller is nil for none.
	Caller *capsulehost.Caller
	// Timeout applies if the context has no deadline; 0 is none.
	Timeout time.Duration
	// Reductions bounds what each leg spends; 0 is no bound.
	Reductions uint64
}

// Trigger asks, and waits for the one answer: every leg has exactly one outcome
// in it, legs without an answer at the deadline OutcomeTimeout. It returns an
// error only if ctx is cancelled, or for ErrNoRoutes. What capsules still do for
// an abandoned trigger is not waited for.
func (r *Router) Trigger(ctx context.Context, q TriggerRequest) (*messages.Reply, error) {
	t := &trigger{
		router: r, topic: q.Topic, payload: q.Payload, caller: q.Caller, asker: ctx, made: monotime.Now(),
		reductions: q.Reductions,
	}
	if t.deadline = monotime.Deadline(ctx); t.deadline == monotime.None && q.Timeout > 0 {
		t.deadline = t.made.Add(q.Timeout)
	}
	id, err := r.run(ctx, ctx, t)
	if err != nil {
		return nil, err
	}
	t.reply = messages.Reply{Topic: t.topic, Responses: joinResponses(t.legs), Legs: t.legs, Trace: id}
	return &t.reply, nil
}

// up enters a capsule in the table now, and not when the hook-router actor comes to
// its message: whoever sees the event that it is Ready must find it there. The
// message follows, and changes nothing unless the actor makes a new table.
func (r *Router) up(m *CapsuleUp) {
	if table := r.table.Load(); table != nil {
		table.up(m)
	}
}

// Open returns how many triggers are open, nested ones included.
func (r *Router) Open() int { return int(r.open.Load()) }

// Awaited returns how many legs capsules wait for, inside their guests.
func (r *Router) Awaited() int { return r.waits.count() }

// run plans a trigger, has its calls made, and waits until every leg has its
// outcome, its deadline passes or ctx ends. The trigger's span, if there is one, is
// below that of spans. It returns the id of the trace, 0 if it is another trigger's.
func (r *Router) run(ctx, spans context.Context, t *trigger) (uint64, error) {
	table := r.table.Load()
	if table == nil {
		return 0, fmt.Errorf("trigger %q: %w", t.topic, ErrNoRoutes)
	}
	r.open.Add(1)
	defer r.open.Add(-1)
	if t.from != "" {
		r.stats.asked()
	}
	if t.spans = r.traced(spans, t); t.spans != nil {
		t.shared.Store(true)
	}
	table.plan(t)
	defer t.close() // also if a tracer panics: no wait outlives its trigger
	t.spans.planned(t)
	ended := t.dispatch()
	waited, err := t.wait(ctx)
	t.close()
	if waited {
		ended = monotime.Now()
	}
	if err != nil {
		err = fmt.Errorf("trigger %q: %w", t.topic, err)
	}
	t.spans.end(err, ended)
	if err == nil {
		r.stats.answered(t, ended)
	}
	id := r.traces.answered(t, ended, err)
	t.discard()
	return id, err
}
