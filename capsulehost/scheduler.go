package capsulehost

import (
	"container/heap"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// scheduler decides which guests go on where more want to than there are processors.
// Only a call that has run for a while (turnAfter) takes part: shorter ones never
// wait, and pay nothing. The others wait here for one of a few places, and whoever has
// used the least time goes first.
//
// There is one place less than Go has processors: a processor that is not always
// busy is what keeps the latency of all else. Go looks at the network when a
// processor finds nothing to run, and otherwise only every 10 ms.
//
// It may be used by any goroutine. A guest that waits for something else than a
// turn gives its own up first, so that no two wait for each other.
type scheduler struct {
	processors int          // how many may run at a time; 0 is one less than Go has
	waiters    atomic.Int32 // len(waiting), to be looked at without the lock

	mu      sync.Mutex
	running int
	waiting turnHeap
	floor   time.Duration // what the one that was let on last had used
}

// turn is one guest's part in it. It belongs to the guest's goroutine, but for
// what is said to be under the lock.
type turn struct {
	used time.Duration // on a processor, since it is known; under the lock while it waits
	held bool
	wake chan struct{} // one token: the turn has come
	at   int           // index in waiting, -1 outside; under the lock
}

// grain is how much more than the first that waits a guest may have used before
// it makes way: long against what a change costs, short for a person.
const grain = 200 * time.Microsecond

// take returns when it is t's turn, or when done is closed.
func (s *scheduler) take(t *turn, done <-chan struct{}) {
	s.mu.Lock()
	t.used = max(t.used, s.floor) // no credit for time that it did not want
	if s.running < s.room() && len(s.waiting) == 0 {
		s.running++
		t.held = true
		s.mu.Unlock()
		return
	}
	s.wait(t, done)
}

// pass gives t's turn to whoever has used less by more than a grain, and takes a
// new one. Without anybody who waits it costs next to nothing.
func (s *scheduler) pass(t *turn, done <-chan struct{}) {
	if s.waiters.Load() == 0 {
		return
	}
	s.mu.Lock()
	if len(s.waiting) == 0 || t.used < s.waiting[0].used+grain {
		s.mu.Unlock()
		return
	}
	t.held = false
	s.running--
	s.wait(t, done)
}

// give gives t's turn up.
func (s *scheduler) give(t *turn) {
	if !t.held {
		return
	}
	s.mu.Lock()
	t.held = false
	s.running--
	s.next()
	s.mu.Unlock()
}

// wait queues t, lets on whoever is first, and returns when that is t. It is
// called with the lock, and returns without.
func (s *scheduler) wait(t *turn, done <-chan struct{}) {
	if t.wake == nil {
		t.wake = make(chan struct{}, 1)
	}
	heap.Push(&s.waiting, t)
	s.next()
	s.mu.Unlock()
	select {
	case <-t.wake:
		t.held = true
	case <-done:
		s.mu.Lock()
		if t.at >= 0 {
			heap.Remove(&s.waiting, t.at)
			s.waiters.Store(int32(len(s.waiting))) //nolint:gosec // guests of one process
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		<-t.wake // it had been let on at the same time
		t.held = true
	}
}

func (s *scheduler) room() int {
	if s.processors > 0 {
		return s.processors
	}
	return max(1, runtime.GOMAXPROCS(0)-1)
}

// next lets on as many as there is room for. It is called with the lock.
func (s *scheduler) next() {
	for len(s.waiting) > 0 && s.running < s.room() {
		t, _ := heap.Pop(&s.waiting).(*turn)
		s.running++
		s.floor = max(s.floor, t.used)
		t.wake <- struct{}{}
	}
	s.waiters.Store(int32(len(s.waiting))) //nolint:gosec // guests of one process
}

// turnHeap has the turn of least use first.
type turnHeap []*turn

func (h turnHeap) Len() int           { return len(h) }
func (h turnHeap) Less(i, j int) bool { return h[i].used < h[j].used }

func (h turnHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push is for container/heap.
func (h *turnHeap) Push(x any) {
	t, _ := x.(*turn)
	t.at = len(*h)
	*h = append(*h, t)
}

// Pop is for container/heap.
func (h *turnHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last], *h = nil, (*h)[:last]
	t.at = -1
	return t
}

// sleep waits for so long, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
