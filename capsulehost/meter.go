package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// DefaultTick is the default maximum number of reductions between two checks of a
// guest, the same as in the BEAM.
const DefaultTick = 4000

// Costs of a host call in reductions. It takes longer than a loop iteration, and longer
// for more bytes.
const (
	hostCallCost      = 8
	bytesPerReduction = 16
)

// Budget limits a guest's work in reductions: function entries, loop iterations, and
// the equivalent for longer operations. The same module with the same input spends the
// same number on every machine.
type Budget struct {
	// Reductions is the limit for one call; a call that exceeds it ends with a *Failure
	// of KindBudget. 0 means no limit.
	Reductions uint64
	// Rate slows down a guest that exceeds it, over all its calls. nil means no limit.
	Rate *Rate
}

// Rate is a limit on reductions per second. All instances of a capsule share one, one
// after the other, across restarts. A guest that exceeds it waits; the wait ends early
// only at the call's deadline or cancellation.
type Rate struct {
	perSecond int64

	mu   sync.Mutex // the instances of a pool share a rate
	left int64      // negative: the guest must wait
	at   time.Time  // the time at which left was computed
}

// NewRate returns a rate of perSecond reductions per second. An idle capsule may spend
// those of one second at once.
func NewRate(perSecond uint64) *Rate {
	n := int64(min(perSecond, math.MaxInt64))
	return &Rate{perSecond: max(n, 1), left: max(n, 1)}
}

// spend subtracts n reductions, and returns how long the guest must wait for them.
func (r *Rate) spend(n int64, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if passed := now.Sub(r.at); r.at.IsZero() || passed >= time.Second {
		r.left = r.perSecond
	} else {
		r.left = min(r.perSecond, r.left+int64(float64(r.perSecond)*passed.Seconds()))
	}
	r.at = now
	if r.left -= n; r.left >= 0 {
		return 0
	}
	return time.Duration(float64(-r.left) / float64(r.perSecond) * float64(time.Second))
}

// meter counts an instance's reductions, and decides at each tick whether the guest
// continues. Only the instance's goroutine may use it, except for spentSoFar.
type meter struct {
	host    *Host
	budget  Budget
	counter api.MutableGlobal // the guest decrements it; nil before its first tick

	granted    int64         // total ever put on the counter; granted - counter = spent
	charged    int64         // reductions already reported to the Rate
	limit      int64         // value of spent() at which the current call's budget ends
	spentSoFar atomic.Uint64 // spent() at the last tick or call

	deadline time.Time     // of the current call; zero for none
	quantum  int64         // reductions to grant at a tick
	resumed  time.Time     // when the guest last resumed after a tick; zero: not in this call
	before   time.Duration // turn.used when the current call started
	yielded  time.Duration // turn.used when the guest last yielded
	turn     turn
}

func newMeter(h *Host) meter {
	return meter{host: h, limit: math.MaxInt64, quantum: min(firstQuantum, h.tick)}
}

// firstQuantum is the first grant of a guest of unknown speed: in straight-line code
// with slow instructions, even one reduction can take microseconds.
const firstQuantum = 250

// A guest that takes longer than slowTick from tick to tick is granted less; one that
// takes less than quickTick is granted more.
const (
	slowTick  = 400 * time.Microsecond
	quickTick = 100 * time.Microsecond
)

// yieldEvery is how long a guest runs before it yields to other goroutines. Ticks can
// come far more often: 4,000 iterations of the tightest loop take 3 µs. Yielding wakes
// another processor, which takes over the guest; doing so every 20 µs costs a quarter
// of the guest's speed.
const yieldEvery = 100 * time.Microsecond

// turnAfter is the processor time that a call may use before it needs a turn of the
// scheduler. Shorter calls use all processors.
const turnAfter = 2 * time.Millisecond

// stopped is the reason why a tick ended its guest.
type stopped struct {
	kind  Kind
	cause error
}

func (e *stopped) Error() string { return e.cause.Error() }
func (e *stopped) Unwrap() error { return e.cause }

// SetBudget sets the budget of later calls.
func (i *Instance) SetBudget(b Budget) { i.meter.budget = b }

// Reductions returns the number that the instance has spent since it was created. It is
// safe for concurrent use; during a call it is behind by at most one tick.
func (i *Instance) Reductions() uint64 { return i.meter.spentSoFar.Load() }

// BudgetLeft returns the rest of the current call's budget; bounded is false if there is
// no limit. A HostAPI may call it on the goroutine of the call, to limit work that it
// does for the guest to what the guest could still spend itself.
func (i *Instance) BudgetLeft() (left uint64, bounded bool) {
	m := &i.meter
	if m.limit == math.MaxInt64 {
		return 0, false
	}
	return uint64(max(0, m.limit-m.spent())), true
}

// Charge adds n reductions that others spent for it to the current call. A HostAPI may
// call it on the goroutine of the call. If the budget is exceeded, the guest stops at
// its next tick, not here.
func (i *Instance) Charge(n uint64) {
	i.meter.charge(min(n, math.MaxInt64>>2))
}

func (m *meter) charge(n uint64) {
	if m.counter == nil {
		m.granted += int64(n) //nolint:gosec // far from overflow
		return
	}
	m.counter.Set(m.counter.Get() - n) // the guest treats it as signed
}

// spent returns the number of reductions spent since the instance was created.
func (m *meter) spent() int64 {
	if m.counter == nil {
		return m.granted
	}
	return m.granted - int64(m.counter.Get()) //nolint:gosec // the guest treats it as signed
}

// grant refills the counter: up to the next tick, or up to the end of the budget if that
// is earlier.
func (m *meter) grant(spent int64) {
	n := max(0, min(m.quantum, m.limit-spent))
	m.counter.Set(uint64(n))
	m.granted = spent + n
}

// begin must be called before the guest runs. It does not refill the counter, so a guest
// with many short calls still reaches a tick.
func (i *Instance) begin(ctx context.Context) {
	m := &i.meter
	i.ctx = ctx
	m.deadline, _ = ctx.Deadline()
	m.limit, m.resumed, m.before = math.MaxInt64, time.Time{}, m.turn.used
	if m.budget.Reductions > 0 && m.budget.Reductions < math.MaxInt64>>1 {
		spent := m.spent()
		m.limit = spent + int64(m.budget.Reductions)
		if m.counter != nil {
			m.grant(spent)
		}
	}
}

// end must be called after the guest has run.
func (i *Instance) end() {
	m := &i.meter
	m.host.scheduler.give(&m.turn)
	m.spentSoFar.Store(uint64(m.spent())) //nolint:gosec // not negative
	m.limit, m.deadline = math.MaxInt64, time.Time{}
	i.ctx = context.Background()
}

// bind finds the guest's counter.
func (i *Instance) bind(guest api.Module) {
	i.meter.counter, _ = guest.ExportedGlobal(reductions.Counter).(api.MutableGlobal)
}

// tick is the function that guests import.
func tick(ctx context.Context, guest api.Module, _ []uint64) {
	i, _ := ctx.Value(instanceKey{}).(*Instance)
	i.tick(guest)
}

// tick runs when the guest's counter is used up. It returns when the guest may continue,
// and panics to stop it.
func (i *Instance) tick(guest api.Module) {
	m := &i.meter
	if m.counter == nil { // in the module's start function
		i.bind(guest)
	}
	spent := m.spent()
	m.spentSoFar.Store(uint64(spent)) //nolint:gosec // not negative
	if spent > m.limit {
		panic(&stopped{KindBudget, fmt.Errorf("more than the %d reductions of one call", m.budget.Reductions)})
	}
	i.callee.stopIfDeep()
	now := time.Now()
	i.stopIfEnded(now)
	if !m.resumed.IsZero() {
		took := now.Sub(m.resumed)
		m.turn.used += min(took, slowTick) // time beyond slowTick was used by the system, not by the guest
		switch {
		case took > slowTick:
			m.quantum = max(1, m.quantum*int64(quickTick)/int64(took))
		case took < quickTick:
			m.quantum = min(m.host.tick, 2*m.quantum)
		}
	}
	m.resumed = now
	wait := m.ahead(spent, now)
	if wait > 0 || m.turn.used-m.yielded >= yieldEvery {
		i.publish()
		m.yield(i.ctx, wait)
		m.resumed, m.yielded = time.Now(), m.turn.used
		i.stopIfEnded(m.resumed)
	}
	m.grant(spent)
}

// stopIfEnded panics if the call's deadline has passed, or its context has ended.
func (i *Instance) stopIfEnded(now time.Time) {
	if late := !i.meter.deadline.IsZero() && !now.Before(i.meter.deadline); late && i.ctx.Err() == nil {
		// The context's timer is about to fire, and will set the cause.
		sleep(i.ctx, time.Millisecond)
		if i.ctx.Err() == nil {
			panic(&stopped{KindTimeout, context.DeadlineExceeded})
		}
	}
	if i.ctx.Err() != nil {
		panic(interrupted(i.ctx))
	}
}

// fill sets the failure's kind, cause and message.
func (e *stopped) fill(f *Failure) {
	f.Kind, f.cause = e.kind, e.cause
	switch e.kind {
	case KindTimeout:
		f.Message = "out of time: " + e.cause.Error()
	case KindBudget:
		f.Message = "out of budget: " + e.cause.Error()
	case KindStackOverflow:
		f.Message = "stack overflow: " + e.cause.Error()
	default:
		f.Message = "interrupted: " + e.cause.Error()
	}
}

// interrupted returns the reason for a guest that its context ended.
func interrupted(ctx context.Context) *stopped {
	kind, cause := KindCancelled, context.Cause(ctx)
	if ctx.Err() == context.DeadlineExceeded || errors.Is(cause, context.DeadlineExceeded) { // or whoever ended it kept the time
		kind = KindTimeout
	}
	return &stopped{kind, cause}
}

// ahead returns how long the guest must wait for its rate.
func (m *meter) ahead(spent int64, now time.Time) time.Duration {
	if m.budget.Rate == nil {
		return 0
	}
	n := spent - m.charged
	m.charged = spent
	return m.budget.Rate.spend(n, now)
}

// yield waits for the given time, and lets waiting guests and goroutines run.
func (m *meter) yield(ctx context.Context, wait time.Duration) {
	if wait > 0 {
		m.host.scheduler.give(&m.turn)
		sleep(ctx, wait)
	}
	switch {
	case m.turn.held:
		m.host.scheduler.pass(&m.turn, ctx.Done())
	case m.turn.used-m.before >= turnAfter:
		m.host.scheduler.take(&m.turn, ctx.Done())
	}
	runtime.Gosched()
}

// outside must wrap calls that may wait for others: it gives up the turn, and does not
// count the wait as the guest's work.
func (i *Instance) outside(call func()) {
	m := &i.meter
	m.host.scheduler.give(&m.turn)
	call()
	if !m.resumed.IsZero() {
		m.resumed = time.Now() // the wait was not the guest's work
	}
}
