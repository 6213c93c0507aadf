package journal

import (
	"runtime/metrics"

	"github.com/astrid-actors/astrid-actors/messages"
)

// process measures the memory of the process. The holder of the journal's lock uses it.
type process struct{ samples []metrics.Sample }

// show adds the figures to a snapshot: the memory that the Go runtime has obtained from
// the system, including guests' memories, and has not returned.
func (p *process) show(tree *messages.Tree) {
	if p.samples == nil {
		p.samples = []metrics.Sample{
			{Name: "/memory/classes/total:bytes"},
			{Name: "/memory/classes/heap/released:bytes"},
			{Name: "/sched/goroutines:goroutines"},
		}
	}
	metrics.Read(p.samples)
	tree.ProcessMemoryBytes = p.samples[0].Value.Uint64() - p.samples[1].Value.Uint64()
	tree.Goroutines = p.samples[2].Value.Uint64()
}
