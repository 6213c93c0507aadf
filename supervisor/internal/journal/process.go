package journal

import (
	"runtime/metrics"

	"github.com/astrid-actors/astrid-actors/messages"
)

// process looks at what the process takes of the machine. It belongs to whoever
// holds the record's lock.
type process struct{ samples []metrics.Sample }

// show adds the figures to a snapshot: what the Go run-time has from the system,
// guests' memories included, and what it has not given back.
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
