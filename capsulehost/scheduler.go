package capsulehost

import (
	"container/heap"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// scheduler decides which guests run if more want to run than there are processors.
// Calls shorter than turnAfter do not use it, and never wait. Longer calls need a turn;
// the number of turns is limited, and the waiting guest that has used the least time
// gets the next one.
//
// By default there is one turn less than Go has processors. One processor that is not
// always busy keeps the latency of everything else low: Go polls the network when a
// processor has nothing to run, and otherwise only every 10 ms.
//
// scheduler is safe for concurrent use. A guest gives up its turn before it waits for
// anything else, so guests cannot deadlock on turns.
type scheduler struct {
	processors int          // number of turns; 0 means GOMAXPROCS - 1
	waiters    atomic.Int32 // len(waiting), readable without the lock

	mu      sync.Mutex
	running int
	waiting turnHeap
	floor   time.Duration // used time of the guest that got the last turn
}

// turn is one guest's state in the scheduler. It belongs to the guest's goroutine, except
// for the fields that mention the lock.
type turn struct {
	used time.Duration // processor time; guarded by scheduler.mu while waiting
	held bool
	wake chan struct{} // receives one token when the guest gets a turn
	at   int           // index in waiting, or -1; guarded by scheduler.mu
}

// grain is how much more time than the first waiting guest a guest may use before it
// gives up its turn: long compared with the cost of a switch, short for a person.
const grain = 200 * time.Microsecond

// take waits for a turn. It returns without one if done is closed first.
func (s *scheduler) take(t *turn, done <-chan struct{}) {
	s.mu.Lock()
	t.used = max(t.used, s.floor) // waiting for other things earns no credit
	if s.running < s.room() && len(s.waiting) == 0 {
		s.running++
		t.held = true
		s.mu.Unlock()
		return
	}
	s.wait(t, done)
}

// pass gives t's turn to the first waiting guest if that has used less time by more than
// a grain, and waits for a new turn. If no guest waits, it costs almost nothing.
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

// give gives up t's turn, if it holds one.
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

// wait queues t, and returns when t gets a turn or done is closed. The caller holds
// s.mu; wait releases it.
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
			s.waiters.Store(int32(len(s.waiting))) //nolint:gosec // number of guests in one process
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		<-t.wake // it got a turn at the same time
		t.held = true
	}
}

func (s *scheduler) room() int {
	if s.processors > 0 {
		return s.processors
	}
	return max(1, runtime.GOMAXPROCS(0)-1)
}

// next gives the free turns to waiting guests. The caller holds s.mu.
func (s *scheduler) next() {
	for len(s.waiting) > 0 && s.running < s.room() {
		t, _ := heap.Pop(&s.waiting).(*turn)
		s.running++
		s.floor = max(s.floor, t.used)
		t.wake <- struct{}{}
	}
	s.waiters.Store(int32(len(s.waiting))) //nolint:gosec // number of guests in one process
}

// turnHeap is a heap with the least used time first.
type turnHeap []*turn

func (h turnHeap) Len() int           { return len(h) }
func (h turnHeap) Less(i, j int) bool { return h[i].used < h[j].used }

func (h turnHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *turnHeap) Push(x any) {
	t, _ := x.(*turn)
	t.at = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *turnHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last], *h = nil, (*h)[:last]
	t.at = -1
	return t
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
