package capsulehost

import "sync/atomic"

// Usage is what an instance has taken of the machine.
type Usage struct {
	// Reductions is what it has spent in its life: see Budget.
	Reductions uint64
	// SharedBytes is how many bytes the host has copied to and from the memory
	// that the guest shares with it, in its life.
	SharedBytes uint64
	// MemoryBytes is what its memories take now.
	MemoryBytes uint64
}

// published is the Usage that others see.
type published struct{ shared, memory atomic.Uint64 }

// Usage may be asked from any goroutine. While a call runs, it is behind by the
// time between two turns of the guest: some 100 µs, where others let it run.
func (i *Instance) Usage() Usage {
	return Usage{Reductions: i.Reductions(), SharedBytes: i.usage.shared.Load(), MemoryBytes: i.usage.memory.Load()}
}

// publish is for the goroutine that has the instance.
func (i *Instance) publish() {
	i.usage.shared.Store(i.kernel.Copied())
	if memory := i.MemoryBytes(); memory != i.usage.memory.Load() {
		i.usage.memory.Store(memory) // seldom: a load costs less
	}
}
