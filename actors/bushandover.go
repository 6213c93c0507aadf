package actors

import (
	"maps"
	"slices"
)

// This file exchanges the subscriptions of two instances of a capsule in an upgrade. While
// an instance is prepared beside the one that runs, its subscriptions receive nothing: all
// messages are for the other one. When it takes over, all of them change at one moment,
// and what the other one has not read goes to the subscription with the same pattern. So
// each message reaches exactly one of the two.

// receive has the instance's subscriptions receive messages from now on, in place of those
// of old, whose guest has ended; old may be nil.
func (i *instance) receive(old *instance) {
	i.beside = false
	if i.api.bus == nil {
		return
	}
	var before []*Subscription
	if old != nil && old.api.bus != nil {
		before = old.api.bus.all()
	}
	i.api.bus.takeOver(before)
}

// all returns the subscriptions in the order in which they were made.
func (g *guestBus) all() []*Subscription {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.allLocked()
}

func (g *guestBus) allLocked() []*Subscription {
	all := make([]*Subscription, 0, len(g.subscriptions))
	for _, handle := range slices.Sorted(maps.Keys(g.subscriptions)) {
		all = append(all, g.subscriptions[handle])
	}
	return all
}

// takeOver begins to receive, in place of other subscriptions.
func (g *guestBus) takeOver(before []*Subscription) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waits = false
	table := &g.publisher.bus.subscriptions
	table.mu.Lock() // nothing is delivered meanwhile
	defer table.mu.Unlock()
	for _, old := range before {
		table.removeLocked(old)
	}
	for _, s := range g.allLocked() {
		samePattern := func(old *Subscription) bool { return old.pattern == s.pattern }
		if at := slices.IndexFunc(before, samePattern); at >= 0 {
			s.inherit(before[at])
			before = slices.Delete(before, at, at+1)
		}
		table.addLocked(s)
	}
}

// inherit takes what another subscription holds. Neither is in the table.
func (s *Subscription) inherit(old *Subscription) {
	old.mu.Lock()
	ring, first, count, bytes, lagged, lost := old.ring, old.first, old.count, old.bytes, old.lagged, old.lost
	old.ring, old.first, old.count, old.bytes, old.lagged = nil, 0, 0, 0, 0
	old.held.Add(-bytes)
	old.mu.Unlock()
	s.mu.Lock()
	s.ring, s.first, s.count, s.bytes, s.lagged, s.lost = ring, first, count, bytes, lagged, lost
	s.held.Add(bytes)
	s.mu.Unlock()
	s.wakeUp()
}
