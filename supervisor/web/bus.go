package web

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

const (
	// subscriptionRows bounds the subscriptions on the page of the bus: those with the most
	// messages that wait come first.
	subscriptionRows = 200
	deadLetterRows   = 40
	listenersShown   = 8 // of one topic
)

// topicRow is one topic, with those who publish to it and listen to it.
type topicRow struct {
	messages.BusTopic
	Place     int
	Listeners []string // ids of capsules, sorted
	More      int      // listeners that are not shown
}

// subscriptionRow is one subscription.
type subscriptionRow struct {
	messages.BusSubscription
	Place int
}

// durableRow is one durable topic.
type durableRow struct {
	messages.DurableTopic
	Place int
}

// bus shows the event bus: topics, publishers, listeners, what waits and what was lost.
func (p *page) bus(v *view) {
	v.Title = "Event bus"
	f := v.Frame
	bus := &f.tree.Bus
	var topics, subscriptions []part
	for i := range bus.Topics {
		row := topicRow{BusTopic: bus.Topics[i], Place: i, Listeners: f.listeners(bus.Topics[i].Name)}
		row.More = max(0, len(row.Listeners)-listenersShown)
		row.Listeners = row.Listeners[:len(row.Listeners)-row.More]
		topics = append(topics, part{"topic-" + strconv.Itoa(i), "topic", row})
	}
	for i := range bus.Subscriptions[:min(subscriptionRows, len(bus.Subscriptions))] {
		subscriptions = append(subscriptions, part{"subscription-" + strconv.Itoa(i), "subscription", subscriptionRow{bus.Subscriptions[i], i}})
	}
	letters := p.watch.events(f, deadLetterRows, 0, func(e messages.Event) bool {
		_, dead := e.Detail.(messages.DeadLetter)
		return dead
	})
	var durable []part
	for i := range bus.Durable {
		durable = append(durable, part{"durable-" + strconv.Itoa(i), "durable", durableRow{bus.Durable[i], i}})
	}
	v.Lists = append(v.Lists, list{"topics", topics}, list{"durables", durable}, list{"subscriptions", subscriptions}, list{"dead-letters", happenings(letters)})
	v.Parts = append(v.Parts,
		part{"letters", "letters", bus},
		part{"unlisted", "unlisted", bus.SubscriptionCount - uint64(len(subscriptions))},
		part{"no-topics", "empty", emptyNote{"no-topics", "Nothing was published yet.", len(topics) == 0}},
		part{"no-durables", "empty", emptyNote{"no-durables", "No capsule declares one.", len(durable) == 0}},
		part{"no-subscriptions", "empty", emptyNote{"no-subscriptions", "Nobody subscribes: interceptors receive messages without a subscription.", len(subscriptions) == 0}},
		part{"no-letters", "empty", emptyNote{"no-letters", "Every message has reached its interceptors.", len(letters) == 0}},
	)
}

// listeners returns the ids of the capsules that receive a topic, by an interceptor or a
// subscription.
func (f *frame) listeners(topic string) []string {
	ids := map[string]bool{}
	for _, c := range f.tree.Capsules {
		for _, i := range c.Interceptors {
			if capsulehost.TopicMatches(topic, i.Event) {
				ids[c.ID] = true
			}
		}
	}
	for _, s := range f.tree.Bus.Subscriptions {
		if s.Capsule != "" && subscribes(topic, s.Pattern) {
			ids[s.Capsule] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// subscribes reports whether a topic matches the pattern of a subscription: its last
// segment, if it is `*` and not the only one, stands for one or more.
func subscribes(topic, pattern string) bool {
	if head, open := strings.CutSuffix(pattern, ".*"); open {
		n := strings.Count(head, ".") + 1
		if segments := strings.Split(topic, "."); len(segments) > n {
			return capsulehost.TopicMatches(strings.Join(segments[:n], "."), head)
		}
	}
	return capsulehost.TopicMatches(topic, pattern)
}
