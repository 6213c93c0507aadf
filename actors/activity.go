package actors

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// callsKept is how many of each capsule's last calls are kept.
const callsKept = 32

// Activity is what is counted of one capsule, all its lives together. Its zero
// value is ready for use. The capsule's goroutine writes, a lock and no
// allocation for each call; any other may read.
type Activity struct {
	began atomic.Int64 // when the call began that runs, a moment; 0 while none does

	mu      sync.Mutex
	living  user              // nil where no instance lives, or where it does not say
	memory  uint64            // of the living instance, where it does not say itself
	peak    uint64            // of those that lived
	past    capsulehost.Usage // of those that lived, without memory
	calls   uint64
	figures *figures // nil before the first call
}

// user is a guest that says at any time what it takes.
type user interface{ Usage() capsulehost.Usage }

// figures are for capsules that are called: an idle one costs no memory for them.
type figures struct {
	over         uint64 // calls that were entered in recent
	took, waited messages.Counts
	recent       [callsKept]recentCall
}

// recentCall is one guest call that is over.
type recentCall struct {
	ended        moment
	topic, from  string
	action       string
	outcome      messages.Outcome
	reason       string
	took, waited time.Duration
	generation   uint64
}

// born notes an instance that was made.
func (a *Activity) born(guest Guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.living = ability[user](guest); a.living == nil {
		a.memory = guest.MemoryBytes()
	}
}

// died notes that the instance is about to be closed.
func (a *Activity) died() {
	a.began.Store(0)
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.usageLocked()
	a.peak = max(a.peak, last.MemoryBytes)
	a.past = capsulehost.Usage{Reductions: last.Reductions, SharedBytes: last.SharedBytes}
	a.living, a.memory = nil, 0
}

// begin notes that a call runs from now on.
func (a *Activity) begin(at moment) { a.began.Store(int64(at)) }

// idle notes that it has returned, or was ended by runtime.Goexit.
func (a *Activity) idle() { a.began.Store(0) }

// end notes that it is over, and its answer known.
func (a *Activity) end(guest Guest, call *recentCall) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.living == nil {
		a.memory = guest.MemoryBytes()
		a.peak = max(a.peak, a.memory)
	}
	f := a.figuresLocked()
	a.calls++
	f.took.Add(call.took)
	f.waited.Add(call.waited)
	f.recent[f.over%callsKept] = *call
	f.over++
}

// looped counts a run loop that has ended.
func (a *Activity) looped() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
}

// missed counts the wait of a call that was not made: it was given up meanwhile.
func (a *Activity) missed(waited time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.figuresLocked().waited.Add(waited)
}

func (a *Activity) figuresLocked() *figures {
	if a.figures == nil {
		a.figures = &figures{}
	}
	return a.figures
}

// usageLocked is what the lives so far have taken together; memory is the present one's.
func (a *Activity) usageLocked() capsulehost.Usage {
	sum := a.past
	sum.MemoryBytes = a.memory
	if a.living != nil {
		now := a.living.Usage()
		sum.Reductions += now.Reductions
		sum.SharedBytes += now.SharedBytes
		sum.MemoryBytes = now.MemoryBytes
	}
	return sum
}

// Calls is how many guest calls were made, all generations together.
func (a *Activity) Calls() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// MemoryBytes is what the guest's memory takes; 0 while there is no instance. It
// is as of the end of the last call, or of one of the last moments of one that runs.
func (a *Activity) MemoryBytes() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.usageLocked().MemoryBytes
}

// Show fills the figures into a snapshot of the capsule.
func (a *Activity) Show(c *messages.Capsule) {
	if began := a.began.Load(); began != 0 {
		c.Busy = durationpb.New(now().after(moment(began)))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	usage := a.usageLocked()
	c.Calls = a.calls
	c.Reductions, c.KernelBytes, c.MemoryBytes = usage.Reductions, usage.SharedBytes, usage.MemoryBytes
	c.MemoryPeakBytes = max(a.peak, usage.MemoryBytes)
	if a.figures != nil {
		c.CallDuration, c.QueueWait = a.figures.took.Histogram(), a.figures.waited.Histogram()
	}
}

// RecentCalls returns the last calls, oldest first.
func (a *Activity) RecentCalls() []*messages.RecentCall {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.figures == nil {
		return nil
	}
	f := a.figures
	first := uint64(0)
	if f.over > callsKept {
		first = f.over - callsKept
	}
	date := calendar() // once: or what followed could seem to come first
	out := make([]*messages.RecentCall, 0, f.over-first)
	for i := first; i < f.over; i++ {
		call := &f.recent[i%callsKept]
		out = append(out, &messages.RecentCall{
			At: timestamppb.New(date.Add(time.Duration(call.ended))), Topic: call.topic, Action: call.action, FromCapsule: call.from,
			Outcome: call.outcome, Reason: call.reason, Generation: call.generation,
			Duration: durationpb.New(call.took), QueueWait: durationpb.New(call.waited),
		})
	}
	return out
}
