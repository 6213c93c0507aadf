package system

import (
	"runtime"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// dispatcher runs activations of actors on a pool of goroutines that are parked
// in between: a fresh goroutine for each, the library's way, spends most of a
// round trip on growing its stack.
//
// While activations wait, at least one worker is on its way to the queue, and at most
// one for each processor: Schedule sends for one, and so does a worker that arrives,
// before it begins. So a burst of short activations costs few switches of goroutine,
// and one that blocks in a guest delays no other: the number of running workers has
// no limit. Several come at once because Go lets another processor have the goroutine
// that was woken last only after some 60 µs.
type dispatcher struct {
	maximum    int // of parked workers
	processors int // how many workers may be on their way

	mu     sync.Mutex
	queue  fifo[func()]
	parked []chan struct{} // one for each parked worker, the latest last
	coming int             // workers on their way to the queue
	closed bool
}

var _ actor.Dispatcher = (*dispatcher)(nil)

func newDispatcher(maximum int) *dispatcher {
	return &dispatcher{maximum: maximum, processors: runtime.GOMAXPROCS(0)}
}

// Schedule runs fn soon, on a worker.
func (d *dispatcher) Schedule(fn func()) {
	d.mu.Lock()
	d.queue.push(fn)
	d.sendForLocked()
}

// Throughput is how many messages an actor may handle before it lets others run.
func (d *dispatcher) Throughput() int { return 300 }

// sendForLocked gets another worker if more activations wait than workers come. It
// unlocks.
func (d *dispatcher) sendForLocked() {
	if d.coming >= min(d.processors, d.queue.len()) {
		d.mu.Unlock()
		return
	}
	d.coming++
	var wake chan struct{}
	if n := len(d.parked); n > 0 {
		wake = d.parked[n-1]
		d.parked[n-1] = nil
		d.parked = d.parked[:n-1]
	}
	d.mu.Unlock()
	if wake != nil {
		wake <- struct{}{}
	} else {
		go d.worker()
	}
}

// worker runs activations, and parks if none waits.
func (d *dispatcher) worker() {
	wake := make(chan struct{}, 1)
	came := true
	for {
		d.mu.Lock()
		if came {
			d.coming, came = d.coming-1, false
		}
		if d.queue.len() > 0 {
			fn := d.queue.pop()
			d.sendForLocked()
			fn()
			continue
		}
		if d.closed || len(d.parked) >= d.maximum {
			d.mu.Unlock()
			return
		}
		d.parked = append(d.parked, wake)
		d.mu.Unlock()
		<-wake
		came = true
	}
}

// close ends the parked workers, and the others as they finish.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	parked := d.parked
	d.parked = nil
	d.coming += len(parked) // each counts itself off as it arrives
	d.mu.Unlock()
	for _, wake := range parked {
		wake <- struct{}{}
	}
}

// direct runs an actor on the goroutine that wakes it, without a switch: for actors
// that never block. One that is woken while it runs goes on there, and after some
// messages on a worker, so that no sender works for others for long.
type direct struct{ workers *dispatcher }

var _ actor.Dispatcher = direct{}

// Schedule runs fn now.
func (direct) Schedule(fn func()) { fn() }

// Throughput is how many messages a sender may have to handle.
func (direct) Throughput() int { return 32 }
