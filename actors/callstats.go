package actors

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// callsKept is how many of each capsule's last calls are kept.
const callsKept = 32

// CallStats counts the calls of one capsule, over all its instances. The zero value
// is ready for use. The capsule's goroutine writes, with a lock and no allocation
// for each call; any other may read.
type CallStats struct {
	began atomic.Int64 // monotime.Time at which the current call began; 0 without one

	mu      sync.Mutex
	calls   uint64
	current user      // the instance; nil without one, or if it does not report its usage
	over    uint64    // calls that were entered in figures.recent
	kind    *callKind // of the last one; nil before the first
	figures *figures  // nil before the first call

	memory uint64            // of an instance that does not report it
	peak   uint64            // of past instances
	past   capsulehost.Usage // of past instances, without memory
}

// user is a guest that reports its usage at any time.
type user interface{ Usage() capsulehost.Usage }

// figures are for capsules that are called: an idle one costs no memory for them.
type figures struct {
	recent       [callsKept]recentCall
	counted      uint64 // calls of recent whose times are in the counts below
	took, waited messages.Counts
}

// recentCall is a guest call that has ended. It fills one cache line: the place of the next
// call is in no cache any more, and more lines would each cost a wait for memory.
type recentCall struct {
	ended        monotime.Time
	took, waited time.Duration
	generation   uint64
	kind         *callKind
	reason       *string // nil for none
	outcome      messages.Outcome
	_            [15]byte
}

// callKind is what a call shares with most others of its capsule.
type callKind struct{ topic, from, action string }

// born records a new instance.
func (s *CallStats) born(guest Guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current = ability[user](guest); s.current == nil {
		s.memory = guest.MemoryBytes()
	}
}

// died records that the instance is about to be closed.
func (s *CallStats) died() {
	s.began.Store(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.usageLocked()
	s.peak = max(s.peak, last.MemoryBytes)
	s.past = capsulehost.Usage{Reductions: last.Reductions, SharedBytes: last.SharedBytes}
	s.current, s.memory = nil, 0
}

// begin records that a call begins.
func (s *CallStats) begin(at monotime.Time) { s.began.Store(int64(at)) }

// idle records that it has returned, or was ended by runtime.Goexit.
func (s *CallStats) idle() { s.began.Store(0) }

// end records a call and its answer. It sets the call's kind.
func (s *CallStats) end(guest Guest, call *recentCall, kind *callKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		s.memory = guest.MemoryBytes()
		s.peak = max(s.peak, s.memory)
	}
	s.calls++
	if s.kind == nil || *s.kind != *kind {
		fresh := *kind
		s.kind = &fresh
	}
	call.kind = s.kind
	f := s.figuresLocked()
	f.recent[s.over%callsKept] = *call
	if s.over++; s.over%callsKept == 0 {
		s.countLocked()
	}
}

// countLocked counts the times of the calls that were entered since it was last called.
// It is for many at once: the counts are in no cache after a while without a call, and
// each would wait for memory.
func (s *CallStats) countLocked() *figures {
	f := s.figuresLocked()
	for ; f.counted < s.over; f.counted++ {
		call := &f.recent[f.counted%callsKept]
		f.took.Add(call.took)
		f.waited.Add(call.waited)
	}
	return f
}

// looped counts a run loop that has ended.
func (s *CallStats) looped() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
}

// missed counts the wait of a call that was not made: it was given up meanwhile.
func (s *CallStats) missed(waited time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.figuresLocked().waited.Add(waited)
}

func (s *CallStats) figuresLocked() *figures {
	if s.figures == nil {
		s.figures = &figures{}
	}
	return s.figures
}

// usageLocked sums the usage of all instances; memory is the current one's.
func (s *CallStats) usageLocked() capsulehost.Usage {
	sum := s.past
	sum.MemoryBytes = s.memory
	if s.current != nil {
		now := s.current.Usage()
		sum.Reductions += now.Reductions
		sum.SharedBytes += now.SharedBytes
		sum.MemoryBytes = now.MemoryBytes
	}
	return sum
}

// Calls returns how many guest calls were made, all generations together.
func (s *CallStats) Calls() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// MemoryBytes returns the memory of the current instance, 0 without one: as of the
// end of the last call, or of the last tick of the current one.
func (s *CallStats) MemoryBytes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usageLocked().MemoryBytes
}

// Show fills the figures into a snapshot of the capsule.
func (s *CallStats) Show(c *messages.Capsule) {
	if began := s.began.Load(); began != 0 {
		c.Busy = (max(1, monotime.Now().Sub(monotime.Time(began))))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	usage := s.usageLocked()
	c.Calls = s.calls
	c.Reductions, c.KernelBytes, c.MemoryBytes = usage.Reductions, usage.SharedBytes, usage.MemoryBytes
	c.MemoryPeakBytes = max(s.peak, usage.MemoryBytes)
	if s.figures != nil {
		f := s.countLocked()
		c.CallDuration, c.QueueWait = f.took.Histogram(), f.waited.Histogram()
	}
}

// RecentCalls returns the last calls, oldest first.
func (s *CallStats) RecentCalls() []messages.RecentCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.figures == nil {
		return nil
	}
	f := s.figures
	first := uint64(0)
	if s.over > callsKept {
		first = s.over - callsKept
	}
	epoch := monotime.Epoch() // one for all: else a later call could seem to come first
	out := make([]messages.RecentCall, 0, s.over-first)
	for i := first; i < s.over; i++ {
		call := &f.recent[i%callsKept]
		shown := messages.RecentCall{
			At: epoch.Add(time.Duration(call.ended)), Topic: call.kind.topic, Action: call.kind.action, FromCapsule: call.kind.from,
			Outcome: call.outcome, Generation: call.generation, Duration: call.took, QueueWait: call.waited,
		}
		if call.reason != nil {
			shown.Reason = *call.reason
		}
		out = append(out, shown)
	}
	return out
}
