package actors

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// subscription is one interceptor of one capsule.
type subscription struct {
	target      *target
	interceptor *messages.Interceptor
	position    int // in the capsule's manifest
}

// order is the order of a trigger's legs: priority, capsule, place in the manifest.
func (s subscription) order(o subscription) int {
	return cmp.Or(
		cmp.Compare(s.interceptor.Priority, o.interceptor.Priority),
		cmp.Compare(s.target.id, o.target.id),
		cmp.Compare(s.position, o.position),
	)
}

// topicIndex finds the subscriptions whose pattern matches a topic, by walking
// the topic's segments down a tree: the cost depends on the depth of the topic
// and on the number of matches, not of subscriptions. The zero value
// is empty. It may be read by several goroutines at once, or changed by one.
type topicIndex struct{ root topicNode }

type topicNode struct {
	exact  map[string]*topicNode
	any    *topicNode // below `*`
	here   []subscription
	sorted atomic.Pointer[[]subscription] // here in the order of the legs; nil since it changed
}

// add enters s under its pattern. A malformed pattern is left out.
func (x *topicIndex) add(s subscription) {
	if !capsulehost.ValidTopic(s.interceptor.Event) {
		return
	}
	node := &x.root
	for segment := range strings.SplitSeq(s.interceptor.Event, ".") {
		node = node.child(segment)
	}
	node.here = append(node.here, s)
	node.sorted.Store(nil)
}

// remove takes every subscription of t under pattern out again.
func (x *topicIndex) remove(t *target, pattern string) {
	if capsulehost.ValidTopic(pattern) {
		x.root.remove(t, strings.Split(pattern, "."))
	}
}

// match returns what subscribes to topic, in the order of the legs. The result
// is good until the index changes.
func (x *topicIndex) match(topic string) []subscription {
	var few [8]*topicNode
	nodes := x.root.match(few[:0], topic)
	if len(nodes) == 1 {
		return nodes[0].ordered()
	}
	var found []subscription
	for _, node := range nodes {
		found = append(found, node.ordered()...)
	}
	slices.SortFunc(found, subscription.order)
	return found
}

func (n *topicNode) child(segment string) *topicNode {
	if segment == "*" {
		if n.any == nil {
			n.any = &topicNode{}
		}
		return n.any
	}
	if n.exact[segment] == nil {
		if n.exact == nil {
			n.exact = map[string]*topicNode{}
		}
		n.exact[segment] = &topicNode{}
	}
	return n.exact[segment]
}

// match appends to found where the subscriptions to rest are, the segments below n.
func (n *topicNode) match(found []*topicNode, rest string) []*topicNode {
	segment, below, more := strings.Cut(rest, ".")
	if segment == "" {
		return found // topic is malformed
	}
	for _, next := range [...]*topicNode{n.exact[segment], n.any} {
		switch {
		case next == nil:
		case more:
			found = next.match(found, below)
		case len(next.here) > 0:
			found = append(found, next)
		}
	}
	return found
}

// ordered returns what is here in the order of the legs. It sorts only once after
// each change: most topics have one pattern, and change seldom.
func (n *topicNode) ordered() []subscription {
	if sorted := n.sorted.Load(); sorted != nil {
		return *sorted
	}
	sorted := slices.Clone(n.here)
	slices.SortFunc(sorted, subscription.order)
	n.sorted.Store(&sorted) // two readers at once store the same
	return sorted
}

// remove also cuts off branches that it leaves empty.
func (n *topicNode) remove(t *target, pattern []string) (empty bool) {
	if len(pattern) == 0 {
		n.here = slices.DeleteFunc(n.here, func(s subscription) bool { return s.target == t })
		n.sorted.Store(nil)
	} else if segment := pattern[0]; segment == "*" {
		if n.any != nil && n.any.remove(t, pattern[1:]) {
			n.any = nil
		}
	} else if next := n.exact[segment]; next != nil && next.remove(t, pattern[1:]) {
		delete(n.exact, segment)
	}
	return len(n.here) == 0 && len(n.exact) == 0 && n.any == nil
}
