package system

import (
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// dispatcher runs actors on goroutines that are parked between activations: a
// fresh goroutine for each, the library's way, spends most of a round trip on
// growing its stack. An actor that blocks in a guest keeps its goroutine, and
// the next activation gets another; there is no limit that could deadlock.
type dispatcher struct {
	work    chan func() // unbuffered: handed to a parked worker or not at all
	closed  chan struct{}
	parked  atomic.Int64
	maximum int64 // of parked workers
}

var _ actor.Dispatcher = (*dispatcher)(nil)

func newDispatcher(maximum int) *dispatcher {
	return &dispatcher{work: make(chan func()), closed: make(chan struct{}), maximum: int64(maximum)}
}

// Schedule runs fn soon, on a goroutine of its own.
func (d *dispatcher) Schedule(fn func()) {
	select {
	case d.work <- fn:
	default:
		go d.worker(fn)
	}
}

// Throughput is how many messages an actor may handle before it lets others run.
func (d *dispatcher) Throughput() int { return 300 }

func (d *dispatcher) worker(fn func()) {
	for {
		fn()
		if d.parked.Add(1) > d.maximum {
			d.parked.Add(-1)
			return
		}
		select {
		case fn = <-d.work:
			d.parked.Add(-1)
		case <-d.closed:
			d.parked.Add(-1)
			return
		}
	}
}

// close ends the parked workers, and the others as they finish.
func (d *dispatcher) close() { close(d.closed) }
