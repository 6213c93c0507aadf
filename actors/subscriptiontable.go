package actors

import (
	"slices"
	"strings"
	"sync"
)

// subscriptionTable finds the subscriptions to a topic. Publishers read it, each on its
// own goroutine; a subscriber writes it. The zero value is empty.
type subscriptionTable struct {
	mu    sync.RWMutex
	exact map[string][]*Subscription
	wild  patternNode // those whose pattern has a `*`
	count int
	ended bool // no message comes any more
	// version changes with what is in it.
	version uint64
}

// patternNode is a tree of patterns, by segment.
type patternNode struct {
	next   map[string]*patternNode // `*` is a segment like any other
	here   []*Subscription         // whose pattern ends here
	deeper []*Subscription         // whose pattern ends here with `.*`: topics with more segments
}

// add enters a subscription. Its pattern must be well formed.
func (t *subscriptionTable) add(s *Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addLocked(s)
}

func (t *subscriptionTable) addLocked(s *Subscription) {
	t.count++
	t.version++
	s.mu.Lock()
	s.ended = t.ended
	s.mu.Unlock()
	if !isWild(s.pattern) {
		if t.exact == nil {
			t.exact = map[string][]*Subscription{}
		}
		t.exact[s.pattern] = append(t.exact[s.pattern], s)
		return
	}
	path, deeper := strings.CutSuffix(s.pattern, ".*")
	node := &t.wild
	for segment := range strings.SplitSeq(path, ".") {
		below := node.next[segment]
		if below == nil {
			if node.next == nil {
				node.next = map[string]*patternNode{}
			}
			below = &patternNode{}
			node.next[segment] = below
		}
		node = below
	}
	if deeper {
		node.deeper = append(node.deeper, s)
	} else {
		node.here = append(node.here, s)
	}
}

// remove takes a subscription out, if it is in.
func (t *subscriptionTable) remove(s *Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(s)
}

func (t *subscriptionTable) removeLocked(s *Subscription) {
	t.version++
	if !isWild(s.pattern) {
		left, found := dropOne(t.exact[s.pattern], s)
		switch {
		case len(left) == 0:
			delete(t.exact, s.pattern)
		case found > 0:
			t.exact[s.pattern] = left
		}
		t.count -= found
		return
	}
	path, deeper := strings.CutSuffix(s.pattern, ".*")
	t.count -= t.wild.remove(strings.Split(path, "."), deeper, s)
}

// remove also cuts off branches that it leaves empty.
func (n *patternNode) remove(path []string, deeper bool, s *Subscription) (found int) {
	if len(path) == 0 {
		if deeper {
			n.deeper, found = dropOne(n.deeper, s)
		} else {
			n.here, found = dropOne(n.here, s)
		}
		return found
	}
	below := n.next[path[0]]
	if below == nil {
		return 0
	}
	found = below.remove(path[1:], deeper, s)
	if len(below.next)+len(below.here)+len(below.deeper) == 0 {
		delete(n.next, path[0])
	}
	return found
}

// all returns every subscription.
func (t *subscriptionTable) all() (all []*Subscription) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, exact := range t.exact {
		all = append(all, exact...)
	}
	return t.wild.collect(all)
}

// collect appends all subscriptions below n.
func (n *patternNode) collect(all []*Subscription) []*Subscription {
	all = append(append(all, n.here...), n.deeper...)
	for _, below := range n.next {
		all = below.collect(all)
	}
	return all
}

// matchLocked appends every subscription that matches a topic.
func (t *subscriptionTable) matchLocked(found []*Subscription, topic string) []*Subscription {
	found = append(found, t.exact[topic]...)
	if len(t.wild.next) > 0 {
		found = t.wild.match(found, topic)
	}
	return found
}

// match goes down the tree: rest is the segments below n.
func (n *patternNode) match(found []*Subscription, rest string) []*Subscription {
	segment, below, more := strings.Cut(rest, ".")
	for i, name := range [...]string{segment, "*"} {
		next := n.next[name]
		if next == nil || i == 1 && segment == "*" {
			continue
		}
		if more {
			found = append(next.match(found, below), next.deeper...)
		} else {
			found = append(found, next.here...)
		}
	}
	return found
}

// dropOne returns a list without one subscription, and how often that was in it.
func dropOne(list []*Subscription, s *Subscription) (left []*Subscription, found int) {
	left = slices.DeleteFunc(list, func(other *Subscription) bool { return other == s })
	return left, len(list) - len(left)
}

// isWild reports whether a pattern has a segment `*`.
func isWild(pattern string) bool {
	for segment := range strings.SplitSeq(pattern, ".") {
		if segment == "*" {
			return true
		}
	}
	return false
}
