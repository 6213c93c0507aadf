package capsulehost

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// DefaultTick is after how many reductions a guest is looked at: the number that
// the BEAM uses.
const DefaultTick = 4000

// What a host call costs, in reductions: it takes longer than an iteration of a
// loop, and longer for more bytes.
const (
	hostCallCost      = 8
	bytesPerReduction = 16
)

// Budget bounds what a guest may spend of the machine, in reductions: function
// entries, iterations of loops, and as much for what takes as long. The same
// module with the same input spends the same on every machine.
type Budget struct {
	// Reductions is the most that one call may spend: it then ends with a
	// *Failure of KindBudget. 0 is no bound.
	Reductions uint64
	// Rate holds a guest back that spends more in a second, over all its calls.
	// nil is no bound.
	Rate *Rate
}

// Rate is how much a capsule may spend in each second. It outlives instances: a
// capsule's lives share one, one after the other. A guest that is ahead of it
// waits; only its own deadline, or a cancellation, ends it.
type Rate struct {
	perSecond int64
	left      int64     // below zero: to be waited for
	at        time.Time // when left was right
}

// NewRate returns a rate of so many reductions in each second. A capsule that was
// idle may spend those of one second at once.
func NewRate(perSecond uint64) *Rate {
	n := int64(min(perSecond, math.MaxInt64))
	return &Rate{perSecond: max(n, 1), left: max(n, 1)}
}

// spend takes n reductions away and returns how long to wait for that.
func (r *Rate) spend(n int64, now time.Time) time.Duration {
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

// meter counts what an instance spends, and decides at each tick whether it goes
// on. All of it but spentSoFar belongs to the goroutine that has the instance.
type meter struct {
	host    *Host
	budget  Budget
	counter api.MutableGlobal // what the guest counts down; nil before its first tick

	granted    int64         // all that the counter was ever set up by: without what it shows, what was spent
	charged    int64         // how much of that its Rate knows of
	limit      int64         // where the budget of the call that runs ends, in reductions spent
	spentSoFar atomic.Uint64 // as of the last tick or call

	deadline time.Time     // of the call that runs; zero for none
	quantum  int64         // how much to grant at a tick
	resumed  time.Time     // when the guest last went on after a tick; zero: not in this call
	before   time.Duration // what turn.used was when the call that runs began
	yielded  time.Duration // what it was when the guest last let others run
	turn     turn
}

func newMeter(h *Host) meter {
	return meter{host: h, limit: math.MaxInt64, quantum: min(firstQuantum, h.tick)}
}

// firstQuantum is what is granted to a guest that is not known: with straight-line
// code and slow instructions only, even a reduction can take microseconds.
const firstQuantum = 250

// The time that a guest may take from tick to tick before it is granted less, and
// below which it is granted more again.
const (
	slowTick  = 400 * time.Microsecond
	quickTick = 100 * time.Microsecond
)

// yieldEvery is how long a guest runs before it lets others run. A tick may come
// far sooner: 4,000 iterations of the tightest loop take 3 µs. To yield wakes
// another processor, which takes the guest over: every 20 µs, that cost a quarter
// of its speed.
const yieldEvery = 100 * time.Microsecond

// turnAfter is how much time of a processor a call may use before it needs a turn:
// shorter ones use every processor that there is.
const turnAfter = 2 * time.Millisecond

// stopped is why a tick ended its guest.
type stopped struct {
	kind  Kind
	cause error
}

func (e *stopped) Error() string { return e.cause.Error() }
func (e *stopped) Unwrap() error { return e.cause }

// SetBudget sets what the calls to come may spend.
func (i *Instance) SetBudget(b Budget) { i.meter.budget = b }

// Reductions is what the instance has spent in its life. It may be asked from any
// goroutine; while a call runs it is behind by at most a tick.
func (i *Instance) Reductions() uint64 { return i.meter.spentSoFar.Load() }

// BudgetLeft is what is left of the budget of the call that runs; false where it
// has none. It is for HostAPI, on the goroutine of the call: what a guest
// has others do for it can be bounded by what it may still spend itself.
func (i *Instance) BudgetLeft() (left uint64, bounded bool) {
	m := &i.meter
	if m.limit == math.MaxInt64 {
		return 0, false
	}
	return uint64(max(0, m.limit-m.spent())), true
}

// Charge has the call that runs pay for n reductions that others spent for it. It
// is for HostAPI, on the goroutine of the call; the guest stops for it at its
// next tick, not here.
func (i *Instance) Charge(n uint64) {
	i.meter.charge(min(n, math.MaxInt64>>2))
}

func (m *meter) charge(n uint64) {
	if m.counter == nil {
		m.granted += int64(n) //nolint:gosec // far from full
		return
	}
	m.counter.Set(m.counter.Get() - n) // signed, in the guest
}

// spent is what the guest has spent in its life.
func (m *meter) spent() int64 {
	if m.counter == nil {
		return m.granted
	}
	return m.granted - int64(m.counter.Get()) //nolint:gosec // signed, in the guest
}

// grant sets the counter so that the next tick comes in time, and where the
// budget ends.
func (m *meter) grant(spent int64) {
	n := max(0, min(m.quantum, m.limit-spent))
	m.counter.Set(uint64(n))
	m.granted = spent + n
}

// begin is called before the guest runs. What is left on the counter stays: only
// ticks refill it, and so a guest is looked at however short its calls are.
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

// end is called when it has run.
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

// tick is what guests import.
func tick(ctx context.Context, guest api.Module, _ []uint64) {
	i, _ := ctx.Value(instanceKey{}).(*Instance)
	i.tick(guest)
}

// tick is what the guest calls when its counter is spent. It returns when the
// guest may go on, and panics where it may not.
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
		m.turn.used += min(took, slowTick) // more of it was not the guest's, but the system's
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

// stopIfEnded panics where the call has no time left, or was cancelled.
func (i *Instance) stopIfEnded(now time.Time) {
	if late := !i.meter.deadline.IsZero() && !now.Before(i.meter.deadline); late && i.ctx.Err() == nil {
		// Its timer is about to say so, with the cause.
		sleep(i.ctx, time.Millisecond)
		if i.ctx.Err() == nil {
			panic(&stopped{KindTimeout, context.DeadlineExceeded})
		}
	}
	if i.ctx.Err() != nil {
		panic(interrupted(i.ctx))
	}
}

// fill makes the failure say why it was stopped.
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

// interrupted says how a context ended a guest.
func interrupted(ctx context.Context) *stopped {
	kind := KindCancelled
	if ctx.Err() == context.DeadlineExceeded {
		kind = KindTimeout
	}
	return &stopped{kind, context.Cause(ctx)}
}

// ahead is how long the guest has to wait for its rate.
func (m *meter) ahead(spent int64, now time.Time) time.Duration {
	if m.budget.Rate == nil {
		return 0
	}
	n := spent - m.charged
	m.charged = spent
	return m.budget.Rate.spend(n, now)
}

// yield waits for so long, and lets others run, where some want to.
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

// outside is called around what may wait for somebody else.
func (i *Instance) outside(call func()) {
	m := &i.meter
	m.host.scheduler.give(&m.turn)
	call()
	if !m.resumed.IsZero() {
		m.resumed = time.Now() // the wait was not the guest's work
	}
}
