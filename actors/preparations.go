package actors

import (
	"maps"
	"slices"
	"sync"
)

// Preparations counts the goroutines that prepare or close instances beside those that
// run, so that an end can wait for them, and name the capsules whose guests delay it. The
// zero value is ready for use. All methods may be called at any time.
type Preparations struct {
	group sync.WaitGroup
	mu    sync.Mutex
	of    map[string]int // by the capsule's path
}

// start runs f on a goroutine of its own, for the capsule at a path.
func (p *Preparations) start(path string, f func()) {
	p.count(path, 1)
	p.group.Go(func() {
		defer p.count(path, -1)
		f()
	})
}

func (p *Preparations) count(path string, by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string]int{}
	}
	if p.of[path] += by; p.of[path] == 0 {
		delete(p.of, path)
	}
}

func (p *Preparations) wait() { p.group.Wait() }

// Paths returns the paths of the capsules with preparations in progress, sorted.
func (p *Preparations) Paths() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.of))
}
