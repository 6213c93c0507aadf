package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
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
	if err := r.run(ctx, ctx, t); err != nil {
		return nil, err
	}
	t.reply = messages.Reply{Topic: t.topic, Responses: joinResponses(t.legs), Legs: t.legs}
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
// below that of spans.
func (r *Router) run(ctx, spans context.Context, t *trigger) error {
	table := r.table.Load()
	if table == nil {
		return fmt.Errorf("trigger %q: %w", t.topic, ErrNoRoutes)
	}
	r.open.Add(1)
	defer r.open.Add(-1)
	if t.from != "" {
		r.stats.asked()
	}
	t.spans = r.traced(spans, t)
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
	return err
}

// longCall is how long a call may have taken last time to be run by the goroutine
// that asks.
const longCall = 50 * time.Microsecond

// inlineShare is how much work, by the same measure, a goroutine that asks does at
// least before it leaves some to others.
const inlineShare = 100 * time.Microsecond

// dispatch has the calls of a trigger made. The last ones run here, on the
// goroutine that asks, if they are expected to be short: handing a call of a
// microsecond to another goroutine costs more than the call. The others go to
// their capsules' queues first, so that they run meanwhile.
//
// Calls of one capsule stay in order: those that run here come after those that
// were queued. It returns the time: at the end of the last call that ran here.
func (t *trigger) dispatch() monotime.Time {
	first := t.firstInline()
	for n := range t.calls {
		if c := &t.calls[n]; c.ref != nil && (n < first || c.ref.expected() > longCall) {
			ref := c.ref
			c.ref = nil
			ref.post(c)
		}
	}
	at := t.made
	t.next.Store(int64(first))
	for c := t.nextCall(); c != nil; c = t.nextCall() {
		at = c.ref.run(c, at)
	}
	return at
}

// nextCall takes the next call that was to run on the goroutine that asks; nil if
// there is none. It may be called from any goroutine.
func (t *trigger) nextCall() *invocation {
	for {
		n := int(t.next.Add(1)) - 1
		if n >= len(t.calls) {
			return nil
		}
		if c := &t.calls[n]; c.ref != nil {
			return c
		}
	}
}

// firstInline returns the first call that may run on the goroutine that asks: it
// keeps its share of the short ones, the last.
func (t *trigger) firstInline() int {
	var work time.Duration
	for n := range t.calls {
		if c := &t.calls[n]; c.ref != nil {
			if expected := c.ref.expected(); expected <= longCall {
				work += expected
			}
		}
	}
	share, first := work, 0
	if work > inlineShare {
		share = max(inlineShare, work/time.Duration(runtime.GOMAXPROCS(0)))
		first = len(t.calls)
	}
	for mine := time.Duration(0); first > 0; first-- {
		if c := &t.calls[first-1]; c.ref != nil {
			if expected := c.ref.expected(); expected <= longCall {
				if mine += expected; mine > share {
					break
				}
			}
		}
	}
	return first
}

// handOver queues the calls that wait behind one that runs on the goroutine that
// asks and turns out to be long.
func (t *trigger) handOver() {
	for c := t.nextCall(); c != nil; c = t.nextCall() {
		c.ref.post(c)
	}
}
