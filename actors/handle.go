package actors

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Handle is the part of a capsule that outlives its instances, and that others
// may touch while its actor is busy inside the guest: its generation, its queue,
// and the way to interrupt it. Its methods may be called from any goroutine.
type Handle struct {
	cfg     CapsuleConfig
	mailbox atomic.Pointer[system.Mailbox] // of the present actor; never nil
	calls   atomic.Uint64
	memory  atomic.Uint64 // bytes, as of the end of the last call

	mu         sync.Mutex
	generation uint64
	interrupt  context.CancelCauseFunc // of the present incarnation; nil before the first
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
	h := &Handle{cfg: cfg}
	h.mailbox.Store(system.NewMailbox(cfg.Queue, h.refuse))
	return h
}

// Props describes the capsule's actor, with an empty queue: once for its first
// start and once for each start after it has stopped. Its parent gets the
// capsule's CapsuleUp, and decides what follows its failures, whose reason is
// always a *Crash.
func (h *Handle) Props() *actor.Props {
	mailbox := system.NewMailbox(h.cfg.Queue, h.refuse)
	h.mailbox.Store(mailbox)
	return h.cfg.System.Props(func() actor.Actor { return newCapsule(h, mailbox) }, mailbox)
}

// Interrupt ends a generation's running guest, and whatever it waits for,
// within moments. Where cause is ErrKilled the capsule crashes even if it is
// idle; with ErrStopping and ErrRestarting its stop or restart must be under
// way already. A generation that is over is left in peace.
func (h *Handle) Interrupt(generation uint64, cause error) {
	h.mu.Lock()
	interrupt, present := h.interrupt, h.generation
	h.mu.Unlock()
	if present == generation && interrupt != nil {
		h.mailbox.Load().PostUserMessage(&interrupted{generation: generation})
		interrupt(cause)
	}
}

// Close refuses every call that waits and all that come: the capsule ends for good.
func (h *Handle) Close() { h.mailbox.Load().Close() }

// Queue is how many calls wait.
func (h *Handle) Queue() int { return h.mailbox.Load().UserMessageCount() }

// Calls is how many guest calls were made, all generations together.
func (h *Handle) Calls() uint64 { return h.calls.Load() }

// MemoryBytes is what the guest's memory took at the end of its last call; 0
// while there is no instance.
func (h *Handle) MemoryBytes() uint64 { return h.memory.Load() }

// Generation counts the capsule's loads, from 1; 0 before the first.
func (h *Handle) Generation() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.generation
}

// incarnate begins a new life.
func (h *Handle) incarnate() *incarnation {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.generation++
	life := &incarnation{generation: h.generation, session: uuid.NewString()}
	life.ctx, life.end = context.WithCancelCause(context.Background())
	h.interrupt = life.end
	return life
}

// refuse answers a call that the mailbox won't take. Other messages have nobody
// who waits for them.
func (h *Handle) refuse(message any, sender *actor.PID, why system.Refusal) bool {
	call, isCall := message.(*messages.InvokeInterceptor)
	if !isCall {
		return false
	}
	answer := unavailable("the capsule is stopping, or has stopped")
	if why == system.Full {
		answer = &messages.InterceptorAnswered{
			Outcome: messages.Outcome_OUTCOME_OVERLOADED, Reason: "the capsule's queue is full",
		}
	}
	answer.Trigger, answer.Leg, answer.Generation = call.GetTrigger(), call.GetLeg(), h.Generation()
	if sender != nil {
		h.cfg.System.Send(sender, answer)
	}
	return true
}
