package capsulehost

import "sync/atomic"

// Usage is an instance's use of the machine.
type Usage struct {
	// Reductions is the number spent since the instance was created: see Budget.
	Reductions uint64
	// SharedBytes is the number of bytes copied between the host and the memory that
	// the guest shares with it, since the instance was created.
	SharedBytes uint64
	// MemoryBytes is the current size of its memories.
	MemoryBytes uint64
}

// published is the part of Usage that other goroutines read.
type published struct{ shared, memory atomic.Uint64 }

// Usage is safe for concurrent use. During a call it is behind by the time between two
// yields of the guest: some 100 µs of running time.
func (i *Instance) Usage() Usage {
	return Usage{Reductions: i.Reductions(), SharedBytes: i.usage.shared.Load(), MemoryBytes: i.usage.memory.Load()}
}

// publish updates the published values, on the instance's goroutine.
func (i *Instance) publish() {
	i.usage.shared.Store(i.kernel.Copied())
	if memory := i.MemoryBytes(); memory != i.usage.memory.Load() {
		i.usage.memory.Store(memory) // this changes seldom, and a load is cheaper than a store
	}
}
