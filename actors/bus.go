package actors

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// BusName is the event bus's name in the tree, and in its events.
const BusName = "event-bus"

// MaxDepth is how many publications may follow from each other: a capsule that
// publishes what it intercepts must not loop for ever.
const MaxDepth = 16

// How much one publisher may have under way in chains: what it publishes beyond that
// reaches subscriptions, and no interceptor.
const (
	publisherMessages = 4096
	publisherBytes    = 64 << 20
)

// Bus numbers messages and delivers them: to subscriptions, each a bounded queue, and
// through the chain of matching interceptors. As the hook router, it holds tables that
// everybody reads, so publishing needs no other goroutine. The event-bus actor does what
// the kernel does on the bus. The Bus outlives restarts of the actor, as subscriptions
// do. Its methods may be called from any goroutine.
type Bus struct {
	cfg           BusConfig
	self          *actor.PID
	subscriptions subscriptionTable
	durable       durable
	sequence      atomic.Uint64
	stats         *BusStats

	outside, own *publisher // all that is outside, and the kernel

	mu       sync.Mutex
	capsules map[string]*publisher

	unreported atomic.Uint64 // messages lost since astrid.v1.event_bus.lagged
}

// BusConfig describes a bus.
type BusConfig struct {
	System *system.System
	// Router has the interceptors.
	Router *Router
	// Stats counts; nil means fresh counts.
	Stats *BusStats
	// Durable keeps the messages of durable topics; nil means that there are none.
	Durable DurableLog
}

// NewBus returns a bus without subscriptions.
func NewBus(cfg BusConfig) *Bus {
	b := &Bus{cfg: cfg, self: cfg.System.PID(BusPath), stats: cfg.Stats, capsules: map[string]*publisher{}}
	b.durable.log, b.durable.of = cfg.Durable, map[string]*durableCapsule{}
	b.outside, b.own = newPublisher(b, ""), newPublisher(b, "kernel")
	if b.stats == nil {
		b.stats = &BusStats{}
	}
	return b
}

// Publication is what somebody publishes.
type Publication struct {
	Topic   string // well formed
	Payload capsulehost.Payload
	// SourceID is a UUID, and Principal may be "".
	SourceID, Principal string
	Timestamp           time.Time // zero means now

	depth int         // of the publications that it follows from
	by    *invocation // the call that publishes it; nil for none
}

// Publish delivers a message from outside. It returns before any interceptor has been
// called. It fails only for a durable topic: then nobody has the message, unless ctx ended.
func (b *Bus) Publish(ctx context.Context, p *Publication) error { return b.outside.publish(ctx, p) }

// Subscribe returns a new subscription, for a reader in Go. The pattern must be well
// formed. Close it.
func (b *Bus) Subscribe(pattern string) *Subscription {
	return b.subscribe(&Subscription{pattern: pattern, held: &atomic.Int64{}})
}

func (b *Bus) subscribe(s *Subscription) *Subscription {
	b.newSubscription(s)
	b.subscriptions.add(s)
	return s
}

// newSubscription prepares a subscription that receives nothing yet.
func (b *Bus) newSubscription(s *Subscription) *Subscription {
	s.bus, s.wake = b, make(chan struct{}, 1)
	return s
}

// End ends every subscription, once its reader has read what it has, and the reading of
// durable topics. Nothing may be published any more.
func (b *Bus) End() {
	b.endDurable()
	b.subscriptions.mu.Lock()
	b.subscriptions.ended = true
	b.subscriptions.mu.Unlock()
	for _, s := range b.subscriptions.all() {
		s.end()
	}
}

// publisher is one source of messages: a capsule, over all its instances, or all that is
// outside. Its lock gives its messages their order.
type publisher struct {
	bus *Bus
	id  string // the capsule's, or "kernel"; "" for outside

	mu       sync.Mutex
	routes   map[string]*route // by topic
	lanes    map[string]*lane  // by receiver
	messages int               // under way in chains
	bytes    int
	due      []*chain // whose turn it is
}

func newPublisher(b *Bus, id string) *publisher {
	return &publisher{bus: b, id: id, routes: map[string]*route{}, lanes: map[string]*lane{}}
}

// publisher returns that of a capsule.
func (b *Bus) publisher(id string) *publisher {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.capsules[id]
	if p == nil {
		p = newPublisher(b, id)
		b.capsules[id] = p
	}
	return p
}

// publish numbers a message and delivers it. That of a durable topic is kept first, so
// that nobody has received a message which a crash could lose.
func (p *publisher) publish(ctx context.Context, what *Publication) error {
	b := p.bus
	kept := b.durable.log != nil && b.durable.log.Durable(what.Topic)
	if what.depth > MaxDepth {
		b.stats.deadLetter(what.Topic, p.id, "", DeadDepth)
		if kept { // nobody may believe that it is
			return fmt.Errorf("the durable topic %q: the message follows from %d others, which is the limit", what.Topic, MaxDepth)
		}
		return nil
	}
	m := &capsulehost.Message{
		Topic: what.Topic, Payload: what.Payload, SourceID: what.SourceID, Principal: what.Principal, Timestamp: what.Timestamp,
	}
	if m.Timestamp.IsZero() {
		m.Timestamp = time.Now()
	}
	if kept {
		if err := b.durable.log.Append(ctx, &Kept{Message: m, Publisher: p.id, Depth: what.depth}); err != nil {
			return fmt.Errorf("the durable topic %q: %w", m.Topic, err)
		}
	}
	p.deliver(m, what, kept)
	return nil
}

// deliver delivers a message to everybody, except to durable interceptors if it is kept:
// they read it.
func (p *publisher) deliver(m *capsulehost.Message, what *Publication, kept bool) {
	b := p.bus
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.routeLocked(m.Topic)
	m.Sequence = b.sequence.Add(1)
	delivered := b.subscriptions.deliver(m, r)
	matches := r.interceptors(b.cfg.Router.table.Load(), m.Topic, kept)
	r.count.published(m, p, delivered, len(matches))
	if len(matches) > 0 {
		p.startLocked(m, what, matches)
	}
}

// lost records messages that a subscription has lost, and has the kernel say so on the
// bus.
func (b *Bus) lost(n uint64) {
	b.stats.lagged.Add(n)
	if b.unreported.Add(n) == n {
		b.cfg.System.Send(b.self, &lagged{})
	}
}

// kernel publishes a message of the kernel's own.
func (b *Bus) kernel(topic string, payload capsulehost.Payload, source string) {
	// It can't fail: none of the kernel's topics is durable.
	_ = b.own.publish(context.Background(), &Publication{Topic: topic, Payload: payload, SourceID: source})
}

// KernelSource is the source of the kernel's answers and announcements: guests compare
// it.
const KernelSource = "00000000-0000-0000-0000-000000000000"

// ownSource is the source of the kernel's other messages: a fresh UUID for each.
func ownSource() string { return uuid.NewString() }
