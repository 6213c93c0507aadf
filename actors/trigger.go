package actors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// trigger is one open trigger: the request, and the outcome of each of its legs.
// Legs are answered on the goroutines of the capsules, or on the asking one.
type trigger struct {
	router *Router
	topic  string
	// payload is compact JSON, shared by all legs and never changed.
	payload []byte
	from    string    // the capsule that asks; "" for a trigger from outside
	asking  *waitNode // that capsule; nil for a trigger from outside
	// publisher is the capsule whose message it is, of a step of a chain; "" for one from
	// outside.
	publisher string
	step      messageStep         // nil unless it is a call with a message
	depth     int                 // how many publications it follows from
	caller    *capsulehost.Caller // nil for a trigger of a capsule
	asker     context.Context     // of the caller: its end abandons the trigger
	made      monotime.Time
	deadline  monotime.Time // None if there is none
	// reductions is how many each leg may spend, with all that it triggers in
	// turn; 0 is no bound.
	reductions uint64
	spans      *spans // nil unless triggers are traced
	traced     tracePoint
	grown      atomic.Pointer[traceTree] // of one from outside whose guests have made some

	calls []invocation  // one for each leg
	kept  *[]invocation // the same, to be used again; nil if there is one at most
	edges []waitEdge    // one for each leg; nil for a trigger from outside
	legs  []messages.Leg
	front int // of the calls, how many are taken at this end; owned by the goroutine that asks

	abandoned atomic.Bool    // a call on the goroutine that asks was ended because that has given up
	shared    atomic.Bool    // others may hold a part of it after its end
	system    *system.System // of the capsules whose calls are made here
	helpers   atomic.Int32   // goroutines that have been asked to help, and have not ended
	helping   atomic.Bool    // one has been asked because of a long call, and has not begun

	// What helpers and the goroutine that asks change in turn lies together: their
	// processors hand it to each other.
	taken   atomic.Int64 // how many calls are taken
	back    atomic.Int64 // of these, how many at the end of the list
	mu      sync.Mutex   // guards all to done, and the legs
	pending int
	closed  atomic.Bool // no answer counts any more; set under mu
	charges []answerCharge
	done    chan struct{} // closed when no leg is pending; made only to wait for it

	// Room for the one leg that most triggers have.
	one struct {
		leg  [1]messages.Leg
		call [1]invocation
		edge [1]waitEdge
	}
	reply messages.Reply
}

// messageStep is a call of an interceptor with a message, which is a trigger with one leg.
type messageStep interface {
	// answered is called once, when the leg has its outcome, on the goroutine that answers.
	answered()
}

// answerCharge is how much of a capsule's quota an answer takes.
type answerCharge struct {
	quota *answerQuota
	bytes int64
}

// invocation asks a capsule to run one interceptor: one leg of a trigger.
type invocation struct {
	trigger *trigger // nil for a call that no trigger makes
	leg     int
	action  string
	ref     *CapsuleRef // nil if the leg was decided without a call, or waits at its pool
	pooled  *pooledCall // nil unless the capsule is a pool
	first   bool        // it is still to be taken, with all that come after it
	then    *invocation // the next call of the same capsule; nil if there is none
	ctx     callContext
	span    context.Context // with the leg's span; nil unless triggers are traced
	version *Version        // of the instance that was called; set by the capsule
	began   monotime.Time   // None unless it runs without having been queued
	ended   monotime.Time   // set by the capsule
	// interrupted: it has failed as its instance was ended from outside: killed, stopped or
	// halted. Set by the capsule.
	interrupted bool
}

// room makes the legs and calls for n matches.
func (t *trigger) room(n int) {
	if n <= 1 {
		t.legs, t.calls, t.edges = t.one.leg[:n], t.one.call[:n], t.one.edge[:n]
		return
	}
	t.legs = make([]messages.Leg, n)
	t.kept, _ = callRooms.Get().(*[]invocation)
	if t.kept == nil || cap(*t.kept) < n {
		fresh := make([]invocation, n)
		t.kept = &fresh
	}
	t.calls = (*t.kept)[:n]
	if t.asking != nil {
		t.edges = make([]waitEdge, n)
	}
}

// callRooms holds calls of triggers that have ended, all of them zero. They are half of
// what a trigger with many legs allocates.
var callRooms sync.Pool //nolint:gochecknoglobals // of memory that is nobody's

// discard gives the calls of a trigger that has ended back, unless others may hold one.
func (t *trigger) discard() {
	if t.kept == nil || t.isShared() {
		return
	}
	clear(t.calls)
	callRooms.Put(t.kept)
	t.calls, t.kept = nil, nil
}

// isShared reports whether others may hold a part of a trigger that has ended.
func (t *trigger) isShared() bool { return t.shared.Load() || t.helpers.Load() > 0 }

// answer records a leg's outcome, duration and value; only the first answer to a
// leg counts, and none after the end. What it takes of the capsule's quota, nil
// for none, is returned when the trigger ends.
func (t *trigger) answer(n int, a *messages.Leg, quota *answerQuota) {
	if t.record(n, a, quota) && t.step != nil {
		t.step.answered()
	}
}

// record reports whether it is the first answer.
func (t *trigger) record(n int, a *messages.Leg, quota *answerQuota) bool {
	bytes := chargedBytes(a)
	t.mu.Lock()
	defer t.mu.Unlock()
	leg := &t.legs[n]
	if t.closed.Load() || leg.Outcome != messages.OutcomePending {
		quota.refund(bytes)
		return false
	}
	if bytes > 0 {
		t.charges = append(t.charges, answerCharge{quota, bytes})
	}
	leg.Outcome, leg.Value, leg.Reason = a.Outcome, a.Value, a.Reason
	leg.Generation, leg.Duration, leg.Reductions = a.Generation, a.Duration, a.Reductions
	t.settleLocked(n)
	if t.pending--; t.pending == 0 && t.done != nil {
		close(t.done)
	}
	return true
}

// settleLocked ends the wait for one leg that was asked.
func (t *trigger) settleLocked(n int) {
	if t.asking != nil {
		t.router.waits.leave(&t.edges[n], t.asking)
	}
	t.spans.answered(n, &t.legs[n])
}

// isOpen reports whether anybody waits for the answer.
func (t *trigger) isOpen() bool { return !t.closed.Load() }

// wait returns when no leg is pending, at the trigger's deadline, or when ctx ends.
// Its error is the cause of a cancellation; the deadline is none. It reports whether
// it had to wait.
func (t *trigger) wait(ctx context.Context) (waited bool, err error) {
	t.mu.Lock()
	if t.pending == 0 {
		t.mu.Unlock()
		if t.abandoned.Load() {
			return true, cmp.Or(context.Cause(ctx), ctx.Err())
		}
		return false, nil
	}
	t.done = make(chan struct{})
	t.mu.Unlock()

	var due <-chan time.Time
	if t.deadline != monotime.None {
		timer := time.NewTimer(t.deadline.Until())
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-t.done:
		return true, nil
	case <-due:
		return true, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return true, nil
		}
		return true, context.Cause(ctx)
	}
}

// reasonDeadline explains a leg that was asked and has not answered.
const reasonDeadline = "no answer by the trigger's deadline"

// close ends the trigger: legs that are still pending get OutcomeTimeout, and
// nothing changes any more.
func (t *trigger) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed.Store(true)
	for _, c := range t.charges {
		c.quota.refund(c.bytes)
	}
	t.charges = nil
	for n := range t.legs {
		if leg := &t.legs[n]; leg.Outcome == messages.OutcomePending {
			leg.Outcome, leg.Reason = messages.OutcomeTimeout, reasonDeadline
			t.settleLocked(n)
		}
	}
}

// joinResponses is the JSON array of the values that legs gave, in their order.
func joinResponses(legs []messages.Leg) json.RawMessage {
	size := len("[]")
	for n := range legs {
		size += len(legs[n].Value) + len(",")
	}
	out := append(make([]byte, 0, size), '[')
	for n := range legs {
		if len(legs[n].Value) == 0 {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, legs[n].Value...)
	}
	return append(out, ']')
}
