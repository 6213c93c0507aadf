package actors

import (
	"cmp"
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

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
	// What each call needs comes first, and together.
	likely  atomic.Int64                   // how long the next call is likely to take, in nanoseconds; 0 if it must be queued
	mailbox atomic.Pointer[system.Mailbox] // of the current actor; never nil
	stats   *CallStats
	run     capsule // the current actor, which alone uses it
	quota   answerQuota
	node    waitNode // it in the graph of waits

	cfg        CapsuleConfig
	version    atomic.Pointer[Version] // of the next load; never nil
	generation atomic.Uint64
	announced  atomic.Pointer[CapsuleUp] // of the current instance; nil without one
	halting    atomic.Uint64             // the halt that the capsule is to obey; 0 is none
	halts      uint64                    // how many there have been; its supervisor's
	pool       *Pool                     // nil unless it is one instance of several
	number     int                       // of the instance, from 1; 0 without a pool
	ready      monotime.Time             // of the current instance, None before; the actor's, and its supervisor's while the actor is suspended

	// loads counts generations, also those of instances that are being prepared: it is
	// last, or the pool's.
	loads *atomic.Uint64
	last  atomic.Uint64

	mu        sync.Mutex
	first     uint64                  // the generation of its first load; 0 before
	next      *instance               // prepared, to take over; nil without one
	interrupt context.CancelCauseFunc // of the current instance; nil before it and after its end
	declined  *declined               // an offer of which the supervisor does not know yet; nil without one
	settling  context.CancelCauseFunc // of the one for which the capsule's actor waits, to take over; nil without one
}

// NewCapsuleRef prepares a capsule. Nothing runs before its Props are spawned.
func NewCapsuleRef(cfg CapsuleConfig) *CapsuleRef {
	r := &CapsuleRef{cfg: cfg, stats: cfg.Stats}
	if r.stats == nil {
		r.stats = &CallStats{}
	}
	r.generation.Store(cfg.Generation)
	r.last.Store(cfg.Generation)
	r.loads = &r.last
	cfg.Version.hold()
	r.version.Store(cfg.Version)
	r.mailbox.Store(system.NewMailbox(cfg.Version.Queue, r.refuse))
	return r
}

// Props describes the capsule's actor, with an empty queue: once for its first
// start and once for each start after it has stopped. Its parent gets the
// capsule's *CapsuleUp, and decides what follows its failures, whose reason is a
// *Crash unless the actor itself is at fault.
func (r *CapsuleRef) Props() *actor.Props {
	mailbox := system.NewMailbox(r.version.Load().Queue, r.refuse)
	r.mailbox.Store(mailbox)
	return r.cfg.System.Props(func() actor.Actor { return newCapsule(r, mailbox) }, mailbox)
}

// whole stands for the capsule: of a pool, its first instance.
func (r *CapsuleRef) whole() *CapsuleRef {
	if r.pool == nil {
		return r
	}
	return r.pool.first
}

// Path returns the capsule's place in the tree, as its events have it.
func (r *CapsuleRef) Path() string {
	path := cmp.Or(r.cfg.Path, CapsulePath(r.cfg.ID))
	if r.pool != nil {
		path = instanceName(path, r.number)
	}
	return path
}

// ID returns the capsule's id.
func (r *CapsuleRef) ID() string { return r.cfg.ID }

// Name returns the id, followed by the number of the instance if it is one of a pool:
// "worker#2".
func (r *CapsuleRef) Name() string {
	if r.pool == nil {
		return r.cfg.ID
	}
	return instanceName(r.cfg.ID, r.number)
}

// Version returns the capsule's current version: that of its next load.
func (r *CapsuleRef) Version() *Version { return r.version.Load() }

// post queues a call.
func (r *CapsuleRef) post(c *invocation) { r.mailbox.Load().PostUserMessage(c) }

// expected returns how long a call is likely to take, by the shorter one of the last two;
// forever, if it must be queued.
func (r *CapsuleRef) expected() time.Duration {
	if last := r.likely.Load(); last > 0 {
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
	if r.settling != nil && !errors.Is(cause, ErrRestarting) { // a restart is what it is for
		r.settling(cause)
	}
	return true
}

// Close refuses every call that waits and all that come: the capsule ends for good.
func (r *CapsuleRef) Close() {
	if r.pool != nil {
		r.pool.leave(r) // its calls are given to others
	}
	r.mailbox.Load().Close()
}

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
		Ref: r, Generation: r.Generation(), State: state, Reason: reason, Interceptors: r.Version().Interceptors,
	})
}

// begin begins a new instance, and observes it.
func (r *CapsuleRef) begin() *instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.Version()
	i := r.newInstance(v, r.loads.Add(1))
	r.becomeCurrentLocked(i)
	r.cfg.Observe(messages.Event{
		Path: r.Path(), Generation: i.generation, Detail: messages.CapsuleLoading{Version: v.Number},
	})
	return i
}

// becomeCurrentLocked makes an instance the one that Interrupt is about.
func (r *CapsuleRef) becomeCurrentLocked(i *instance) {
	r.generation.Store(i.generation)
	r.interrupt, r.ready = i.end, monotime.None
	if r.first == 0 {
		r.first = i.generation
	}
}

// During runs f with the current generation. No other begins meanwhile, and this
// one has been observed: the events of f come after it. f must not block.
func (r *CapsuleRef) During(f func(generation uint64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.generation.Load())
}

// over records that the current instance has ended.
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
	if call.pooled != nil && call.pooled.pool.refused(call, why) {
		return true
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

// CapsulePath returns a capsule's name in the tree, and in its events, if it is in no
// group. One in a group has the names of those around it before its id.
func CapsulePath(id string) string { return CapsulesPath + "/" + id }
