package actors

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Why a message, or one step of its chain, is a dead letter.
const (
	DeadDepth   = "depth"   // it follows from MaxDepth publications
	DeadBacklog = "backlog" // its publisher has too much under way
	DeadFull    = "full"    // the capsule's queue is full
	DeadPoison  = "poison"  // a durable interceptor has failed too often
	DeadExpired = "expired" // its topic dropped it before a durable interceptor came to it
)

// reportEvery is how often dead letters are reported, in the long run.
const reportEvery = time.Second

// BusStats counts what happens on the bus. The zero value is ready for use, from any
// goroutine.
type BusStats struct {
	// Observe, unless nil, takes a sample of the dead letters as events. It must not
	// block.
	Observe func(messages.Event)

	lagged atomic.Uint64
	topics topicCounts

	mu       sync.Mutex
	steps    [messages.OutcomeCount]uint64
	dead     map[string]uint64      // letters, by reason
	reported map[string]*unreported // by reason and receiver
}

// unreported counts dead letters since the last event.
type unreported struct {
	limiter limiter
	count   uint64
}

// stepped counts a step of a chain.
func (s *BusStats) stepped(outcome messages.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps[outcome]++
}

// maxReported bounds the pairs of reason and receiver that are told apart.
const maxReported = 1024

// deadLetter counts one; see deadLetters.
func (s *BusStats) deadLetter(topic, publisher, receiver, reason string) {
	s.deadLetters(topic, publisher, receiver, reason, 1)
}

// deadLetters counts some, and reports them, unless there were many. Receiver is "" if
// there is no single one.
func (s *BusStats) deadLetters(topic, publisher, receiver, reason string, n uint64) {
	now := monotime.Now()
	s.mu.Lock()
	if s.dead == nil {
		s.dead, s.reported = map[string]uint64{}, map[string]*unreported{}
	}
	s.dead[reason] += n
	key := reason + "\x00" + receiver
	about := s.reported[key]
	if about == nil {
		if len(s.reported) >= maxReported {
			clear(s.reported)
		}
		about = &unreported{}
		s.reported[key] = about
	}
	about.count += n
	report := s.Observe != nil && about.limiter.take(now, reportEvery, 1)
	count := about.count
	if report {
		about.count = 0
	}
	s.mu.Unlock()
	if !report {
		return
	}
	path := BusName
	if receiver != "" {
		path = CapsulePath(receiver)
	}
	s.Observe(messages.Event{Path: path, Detail: messages.DeadLetter{
		Topic: shortened(topic, topicKept), Publisher: publisher, Reason: reason, Count: count,
	}})
}

// topicsCounted bounds the topics that are counted by name; the others are one.
const topicsCounted = 100

// otherTopics stands for all topics beyond those.
const otherTopics = "(other)"

// topicCounts counts messages by topic.
type topicCounts struct {
	counts sync.Map // topic to *topicCount
	mu     sync.Mutex
	known  int
}

// topicCount has one lock, as that costs less than an atomic variable for each count.
type topicCount struct {
	mu                                    sync.Mutex
	messages, bytes, delivered, receivers uint64
	last                                  int64      // UnixNano
	publisher                             *publisher // the last one
	publishers                            []string   // the first ones, by id
}

// publishersListed bounds the publishers that are listed of one topic.
const publishersListed = 16

// published counts a message.
func (c *topicCount) published(m *capsulehost.Message, publisher *publisher, delivered, chained int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages++
	c.bytes += uint64(m.Payload.Size())        //nolint:gosec // a count
	c.delivered += uint64(delivered)           //nolint:gosec // a count
	c.receivers += uint64(delivered + chained) //nolint:gosec // a count
	c.last = m.Timestamp.UnixNano()
	if c.publisher == publisher {
		return
	}
	c.publisher = publisher
	if len(c.publishers) < publishersListed && !slices.Contains(c.publishers, publisher.id) {
		c.publishers = append(c.publishers, publisher.id)
	}
}

// show returns the counts for a snapshot, and how many subscriptions have received messages.
func (c *topicCount) show(name string) (shown messages.BusTopic, delivered uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	shown = messages.BusTopic{
		Name: name, Messages: c.messages, Bytes: c.bytes, Receivers: c.receivers, Last: time.Unix(0, c.last),
		Publishers: slices.Clone(c.publishers),
	}
	if c.publisher != nil { // nil if its first message is still on its way
		shown.Publisher = c.publisher.id
	}
	return shown, c.delivered
}

// find returns the counts of a topic, or those of all others.
func (t *topicCounts) find(topic string) *topicCount {
	found, ok := t.counts.Load(topic)
	if !ok {
		found = t.enter(topic)
	}
	c, _ := found.(*topicCount)
	return c
}

func (t *topicCounts) enter(topic string) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known >= topicsCounted {
		topic = otherTopics
	}
	found, there := t.counts.LoadOrStore(topic, &topicCount{})
	if !there {
		t.known++
	}
	return found
}

// Show fills the counts into a snapshot.
func (s *BusStats) Show(b *messages.Bus) {
	b.Delivered, b.Lagged = 0, s.lagged.Load()
	s.topics.counts.Range(func(topic, count any) bool {
		name, _ := topic.(string)
		c, _ := count.(*topicCount)
		shown, delivered := c.show(name)
		b.Topics, b.Delivered = append(b.Topics, shown), b.Delivered+delivered
		return true
	})
	slices.SortFunc(b.Topics, func(x, y messages.BusTopic) int { return cmp.Compare(x.Name, y.Name) })
	s.mu.Lock()
	defer s.mu.Unlock()
	b.DeadLetters, b.Steps = maps.Clone(s.dead), map[messages.Outcome]uint64{}
	for outcome, n := range s.steps {
		if n > 0 {
			b.Steps[messages.Outcome(outcome)] = n
		}
	}
}

// subscriptionsShown bounds the subscriptions in a snapshot.
const subscriptionsShown = 1000

// Show fills the subscriptions into a snapshot.
func (b *Bus) Show(shown *messages.Bus) {
	for _, s := range b.subscriptions.all() {
		s.mu.Lock()
		one := messages.BusSubscription{Pattern: s.pattern, Capsule: s.owner, Waiting: uint32(s.count), Lost: s.lost} //nolint:gosec // a count
		s.mu.Unlock()
		shown.Subscriptions = append(shown.Subscriptions, one)
	}
	slices.SortFunc(shown.Subscriptions, func(x, y messages.BusSubscription) int {
		return cmp.Or(cmp.Compare(y.Waiting, x.Waiting), cmp.Compare(x.Pattern, y.Pattern), cmp.Compare(x.Capsule, y.Capsule))
	})
	shown.SubscriptionCount = uint64(len(shown.Subscriptions))
	if len(shown.Subscriptions) > subscriptionsShown {
		shown.Subscriptions = shown.Subscriptions[:subscriptionsShown:subscriptionsShown]
	}
}
