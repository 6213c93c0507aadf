package actors

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Why a capsule is interrupted from outside.
var (
	ErrKilled     = errors.New("killed by an operator")
	ErrStopping   = errors.New("stopped before it had answered")
	ErrRestarting = errors.New("restarted by an operator before it had answered")
)

// CapsuleRef is the part of a capsule that outlives its instances, and that
// others may touch while its actor is busy inside the guest: its generation, its
// queue, and the way to interrupt it. Its methods may be called from any goroutine.
type CapsuleRef struct {
	cfg        CapsuleConfig
	mailbox    atomic.Pointer[system.Mailbox] // of the current actor; never nil
	generation atomic.Uint64
	announced  atomic.Pointer[CapsuleUp] // of the current instance; nil without one
	stats      *CallStats
	quota      answerQuota
	lastCall   atomic.Int64  // how long it took, in nanoseconds; 0 if it may not be run by the goroutine that asks
	ready      monotime.Time // of the current instance, None before; the actor's, and its supervisor's while the actor is suspended

	mu        sync.Mutex
	interrupt context.CancelCauseFunc // of the current run; nil before it and after its end
}

// run is one instance's time in its actor: from the beginning of its load to its
// death.
type run struct {
	generation uint64
	session    string
	ctx        context.Context // ends when the capsule is interrupted
	end        context.CancelCauseFunc
}

// NewCapsuleRef prepares a capsule. Nothing runs before its Props are spawned.
func NewCapsuleRef(cfg CapsuleConfig) *CapsuleRef {
	r := &CapsuleRef{cfg: cfg, stats: cfg.Stats}
	if r.stats == nil {
		r.stats = &CallStats{}
	}
	r.generation.Store(cfg.Generation)
	r.mailbox.Store(system.NewMailbox(cfg.Queue, r.refuse))
	return r
}

// Props describes the capsule's actor, with an empty queue: once for its first
// start and once for each start after it has stopped. Its parent gets the
// capsule's *CapsuleUp, and decides what follows its failures, whose reason is a
// *Crash unless the actor itself is at fault.
func (r *CapsuleRef) Props() *actor.Props {
	mailbox := system.NewMailbox(r.cfg.Queue, r.refuse)
	r.mailbox.Store(mailbox)
	return r.cfg.System.Props(func() actor.Actor { return newCapsule(r, mailbox) }, mailbox)
}

// ID returns the capsule's id.
func (r *CapsuleRef) ID() string { return r.cfg.ID }

// post queues a call.
func (r *CapsuleRef) post(c *invocation) { r.mailbox.Load().PostUserMessage(c) }

// run runs a call here and now if the capsule is idle, and else queues it. It
// returns the time at which it ended: now, and at least at.
func (r *CapsuleRef) run(c *invocation, at monotime.Time) monotime.Time {
	c.began, c.ctx.inline = at, c.trigger
	mailbox := r.mailbox.Load()
	switch {
	case !mailbox.TryRun(c):
		c.began, c.ctx.inline = monotime.None, nil
		mailbox.PostUserMessage(c)
		return at
	case c.ended == monotime.None: // its actor failed over it
		return monotime.Now()
	}
	return c.ended
}

// expected returns how long a call is likely to take, by the last one; forever,
// if it must not be run by the goroutine that asks.
func (r *CapsuleRef) expected() time.Duration {
	if last := r.lastCall.Load(); last > 0 {
		return time.Duration(last)
	}
	return math.MaxInt64
}

// Interrupt ends a generation's running guest, and its waits, within moments. With
// ErrKilled the capsule crashes even if it is idle. With ErrRestarting its restart
// must be under way already; ErrStopping does nothing to a capsule whose queue is
// open. It returns false for a generation that has ended, which is left alone.
func (r *CapsuleRef) Interrupt(generation uint64, cause error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	mailbox := r.mailbox.Load()
	if r.interrupt == nil || r.generation.Load() != generation || (errors.Is(cause, ErrStopping) && !mailbox.Closed()) {
		return false
	}
	// The message first: an idle actor then meets it before any call that could
	// only fail with what follows.
	mailbox.PostUserMessage(&interrupted{generation: generation, cause: cause})
	r.interrupt(cause)
	return true
}

// Close refuses every call that waits and all that come: the capsule ends for good.
func (r *CapsuleRef) Close() { r.mailbox.Load().Close() }

// Queue returns how many calls wait.
func (r *CapsuleRef) Queue() int { return r.mailbox.Load().UserMessageCount() }

// Stats returns the counts of the capsule's calls.
func (r *CapsuleRef) Stats() *CallStats { return r.stats }

// Generation counts the capsule's loads, from 1; it is 0 before the first.
func (r *CapsuleRef) Generation() uint64 { return r.generation.Load() }

// Announced returns how the current instance was announced to the registry and
// the router, nil if none serves: they must be told so again after a restart.
func (r *CapsuleRef) Announced() *CapsuleUp { return r.announced.Load() }

// Uptime returns how long the current instance has been Ready. It is for the
// capsule itself, and for its supervisor while the failed actor is suspended.
func (r *CapsuleRef) Uptime() time.Duration {
	if r.ready == monotime.None {
		return 0
	}
	return monotime.Now().Sub(r.ready)
}

// Revoke tells the registry that the current instance has ended: its session is
// invalid before anybody hears of its end otherwise. The router is not told: calls
// may wait for the next instance, unless the supervisor decides otherwise. It is
// for the capsule itself, and for its supervisor while the failed actor is suspended.
func (r *CapsuleRef) Revoke(state messages.CapsuleState, reason string) {
	r.announced.Store(nil)
	r.cfg.System.Send(r.cfg.Registry, &CapsuleDown{
		Ref: r, Generation: r.Generation(), State: state, Reason: reason, Interceptors: r.cfg.Interceptors,
	})
}

// begin begins a run, and observes it.
func (r *CapsuleRef) begin() *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := &run{generation: r.generation.Add(1), session: uuid.NewString()}
	run.ctx, run.end = context.WithCancelCause(context.Background())
	r.interrupt, r.ready = run.end, monotime.None
	r.cfg.Observe(messages.Event{
		Path: CapsulePath(r.cfg.ID), Generation: run.generation, Detail: messages.CapsuleLoading{Version: r.cfg.Version},
	})
	return run
}

// During runs f with the current generation. No other begins meanwhile, and this
// one has been observed: the events of f come after it. f must not block.
func (r *CapsuleRef) During(f func(generation uint64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.generation.Load())
}

// over records that the current run has ended.
func (r *CapsuleRef) over() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interrupt = nil
}

// refuse answers a call that will not be made, or was lost with the actor. Other
// messages need no answer.
func (r *CapsuleRef) refuse(message any, _ *actor.PID, why system.Refusal) bool {
	call, isCall := message.(*invocation)
	if !isCall {
		return false
	}
	answer := messages.Leg{
		Outcome: messages.OutcomeUnavailable, Reason: "the capsule is stopping, or has stopped", Generation: r.Generation(),
	}
	switch why {
	case system.Full:
		answer.Outcome, answer.Reason = messages.OutcomeOverloaded, "the capsule's queue is full"
	case system.Failed:
		answer.Outcome, answer.Reason = messages.OutcomeCrashed, "the capsule's actor failed during the call"
	}
	call.trigger.answer(call.leg, &answer, nil)
	return true
}

// CapsulesPath is the path of the capsules' supervisor, below the root.
const CapsulesPath = "capsules"

// CapsulePath returns a capsule's name in the tree, and in its events.
func CapsulePath(id string) string { return CapsulesPath + "/" + id }
