package actors

import (
	"slices"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// route is where one publisher's messages of one topic go. To find that takes longer than
// to deliver a message, and most publishers use few topics, so it is kept for as long as
// neither subscriptions nor interceptors change. It belongs to the publisher's lock.
type route struct {
	count *topicCount

	subscriptions []*Subscription
	subscribed    uint64 // the version of the subscription table that they are of

	matches  []subscription
	table    *routingTable // that they are of; nil for none
	routed   uint64        // its version
	withKept bool          // they are without durable interceptors
}

// maxRoutes bounds the routes of one publisher: with more topics it finds them anew.
const maxRoutes = 256

// routeLocked returns the publisher's route for a topic.
func (p *publisher) routeLocked(topic string) *route {
	r := p.routes[topic]
	if r == nil {
		if len(p.routes) >= maxRoutes {
			clear(p.routes)
		}
		r = &route{count: p.bus.stats.topics.find(topic)}
		p.routes[topic] = r
	}
	return r
}

// interceptors returns those that a chain calls, by the table, which is nil before there is
// one. The result must not be changed.
func (r *route) interceptors(table *routingTable, topic string, kept bool) []subscription {
	if table == nil {
		return nil
	}
	if r.table != table || r.routed != table.version.Load() || r.withKept != kept {
		r.matches, r.routed = table.matches(topic, kept)
		r.table, r.withKept = table, kept
	}
	return r.matches
}

// matches returns the interceptors that a chain calls: those of run loops have
// subscriptions, and durable ones read what is kept. They are right until the version
// changes.
func (r *routingTable) matches(topic string, kept bool) (all []subscription, version uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all = r.index.match(topic)
	other := func(s subscription) bool { return s.target.runLoop || kept && s.interceptor.Durable }
	if slices.ContainsFunc(all, other) {
		all = slices.DeleteFunc(slices.Clone(all), other)
	}
	return all, r.version.Load()
}

// deliver pushes a message to every subscription that it matches, and returns how many
// they are.
func (t *subscriptionTable) deliver(m *capsulehost.Message, r *route) (n int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if r.subscribed != t.version {
		r.subscriptions, r.subscribed = t.matchLocked(r.subscriptions[:0], m.Topic), t.version
	}
	for _, s := range r.subscriptions {
		s.push(m)
	}
	return len(r.subscriptions)
}
