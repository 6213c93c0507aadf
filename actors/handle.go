package actors

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Why a capsule is interrupted from outside.
var (
	ErrKilled     = errors.New("killed by an operator")
	ErrStopping   = errors.New("stopped before it had answered")
	ErrRestarting = errors.New("restarted by an operator before it had answered")
)

// Handle is the part of a capsule that outlives its instances, and that others
// may touch while its actor is busy inside the guest: its generation, its queue,
// and the way to interrupt it. Its methods may be called from any goroutine.
type Handle struct {
	cfg        CapsuleConfig
	mailbox    atomic.Pointer[system.Mailbox] // of the present actor; never nil
	generation atomic.Uint64
	announced  atomic.Pointer[messages.CapsuleUp] // of the living instance; nil without one
	activity   *Activity
	held       held
	ready      moment // of the present instance, 0 before; the actor's, and its supervisor's while it stands still

	mu        sync.Mutex
	interrupt context.CancelCauseFunc // of the present incarnation; nil before it and after its death
}

// incarnation is one life of a capsule: from one load to the next death.
type incarnation struct {
	generation uint64
	session    string
	ctx        context.Context // ends when the capsule is interrupted
	end        context.CancelCauseFunc
}

// NewHandle prepares a capsule. Nothing runs before its Props are spawned.
func NewHandle(cfg CapsuleConfig) *Handle {
	h := &Handle{cfg: cfg, activity: cfg.Activity}
	if h.activity == nil {
		h.activity = &Activity{}
	}
	h.generation.Store(cfg.Generation)
	h.mailbox.Store(system.NewMailbox(cfg.Queue, h.refuse))
	return h
}

// Props describes the capsule's actor, with an empty queue: once for its first
// start and once for each start after it has stopped. Its parent gets the
// capsule's CapsuleUp, and decides what follows its failures, whose reason is a
// *Crash unless the actor itself is at fault.
func (h *Handle) Props() *actor.Props {
	mailbox := system.NewMailbox(h.cfg.Queue, h.refuse)
	h.mailbox.Store(mailbox)
	return h.cfg.System.Props(func() actor.Actor { return newCapsule(h, mailbox) }, mailbox)
}

// Interrupt ends a generation's running guest, and whatever it waits for, within
// moments. Where cause is ErrKilled the capsule crashes even if it is idle. With
// ErrRestarting its restart must be under way already; ErrStopping does nothing
// to a capsule whose queue was not closed. It returns false for a generation
// that is over, which is left in peace.
func (h *Handle) Interrupt(generation uint64, cause error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	mailbox := h.mailbox.Load()
	if h.interrupt == nil || h.generation.Load() != generation || (errors.Is(cause, ErrStopping) && !mailbox.Closed()) {
		return false
	}
	// The message first: an idle actor then meets it before any call that could
	// only fail with what follows.
	mailbox.PostUserMessage(&interrupted{generation: generation, cause: cause})
	h.interrupt(cause)
	return true
}

// Close refuses every call that waits and all that come: the capsule ends for good.
func (h *Handle) Close() { h.mailbox.Load().Close() }

// Queue is how many calls wait.
func (h *Handle) Queue() int { return h.mailbox.Load().UserMessageCount() }

// Activity is what is counted of the capsule.
func (h *Handle) Activity() *Activity { return h.activity }

// Calls is how many guest calls were made, all generations together.
func (h *Handle) Calls() uint64 { return h.activity.Calls() }

// MemoryBytes is what the guest's memory takes; 0 while there is no instance.
func (h *Handle) MemoryBytes() uint64 { return h.activity.MemoryBytes() }

// Generation counts the capsule's loads, from 1; 0 before the first.
func (h *Handle) Generation() uint64 { return h.generation.Load() }

// Announced returns how the living instance was announced to the registry and
// the router, nil where none is: what they must be told after a restart.
func (h *Handle) Announced() *messages.CapsuleUp { return h.announced.Load() }

// Up is how long the present instance has been Ready. It is for the capsule itself,
// and for its supervisor while the failed actor stands still.
func (h *Handle) Up() time.Duration {
	if h.ready == 0 {
		return 0
	}
	return now().after(h.ready)
}

// Revoke tells the registry that the present instance is no more: its session is
// invalid before anybody hears of its end otherwise. The router is not told: calls
// may wait for the next instance, unless the supervisor decides otherwise. It is
// for the capsule itself, and for its supervisor while the failed actor stands still.
func (h *Handle) Revoke(state messages.CapsuleState, reason string) {
	h.announced.Store(nil)
	h.cfg.System.Send(h.cfg.Registry, &messages.CapsuleDown{
		Capsule: h.cfg.ID, Generation: h.Generation(), State: state, Reason: reason, Interceptors: h.cfg.Interceptors,
	})
}

// incarnate begins a new life, and says so.
func (h *Handle) incarnate() *incarnation {
	h.mu.Lock()
	defer h.mu.Unlock()
	life := &incarnation{generation: h.generation.Add(1), session: uuid.NewString()}
	life.ctx, life.end = context.WithCancelCause(context.Background())
	h.interrupt, h.ready = life.end, 0
	h.cfg.Observe(&messages.Event{
		Path: CapsulePath(h.cfg.ID), Generation: life.generation,
		What: &messages.Event_CapsuleLoading{CapsuleLoading: &messages.CapsuleLoading{Version: h.cfg.Version}},
	})
	return life
}

// During runs f with the present generation. No other begins meanwhile, and this one
// has been told of: what f observes stands in its place. f must not block.
func (h *Handle) During(f func(generation uint64)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h.generation.Load())
}

// over notes that the present life has ended.
func (h *Handle) over() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.interrupt = nil
}

// refuse answers a call that will not be made, or was lost with the actor. Other
// messages have nobody who waits for them.
func (h *Handle) refuse(message any, sender *actor.PID, why system.Refusal) bool {
	call, isCall := message.(*invocation)
	if !isCall {
		return false
	}
	answer := unavailable("the capsule is stopping, or has stopped")
	switch why {
	case system.Full:
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_OVERLOADED, "the capsule's queue is full"
	case system.Failed:
		answer.Outcome, answer.Reason = messages.Outcome_OUTCOME_CRASHED, "the capsule's actor failed during the call"
	}
	answer.Trigger, answer.Leg, answer.Generation = call.GetRoute().GetTrigger(), call.GetLeg(), h.Generation()
	if sender != nil {
		h.cfg.System.Send(sender, answer)
	}
	return true
}

// CapsulesPath is the path of the `capsules` supervisor, below the root.
const CapsulesPath = "capsules"

// CapsulePath is a capsule's name in the tree, and in its events.
func CapsulePath(id string) string { return CapsulesPath + "/" + id }

// capsulePID is where a capsule's actor is reached.
func capsulePID(sys *system.System, id string) *actor.PID { return sys.PID("root/" + CapsulePath(id)) }
