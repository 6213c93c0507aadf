package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// The topics of the bus. None of the patterns that triggers match does.
const (
	liveTopic = "bus.live.x" // its chain is the action hear
	keptTopic = "bus.kept.x" // its durable interceptor is the action keep
	busGrants = "ipc_publish = [\"bus.*.*\"]\nipc_subscribe = [\"bus.*.*\"]"
)

// note is the payload of a message: the number that its publisher has given it.
type note struct {
	By string `json:"by"`
	N  uint64 `json:"n"`
}

// busAudit is what must be true of the bus and of state, whatever happens: promise 9, and
// the order of each publisher's messages at each receiver.
type busAudit struct {
	w *world

	mu     sync.Mutex
	sent   map[string]uint64          // the last number that each publisher has used
	acked  map[string][]uint64        // what was published to the durable topic, by publisher
	heard  map[string]uint64          // the last number of each pair of receiver and publisher, in chains
	seen   map[string]map[uint64]bool // what was called, by pair, of the durable topic
	dead   map[string]map[uint64]bool // what has become a dead letter, by pair
	skips  []skip                     // since the last check
	stored map[string]stored          // by capsule
}

// stored is what a capsule's only key holds, at least and at most.
type stored struct{ acked, tried uint64 }

func newBusAudit(w *world) *busAudit {
	return &busAudit{
		w: w, sent: map[string]uint64{}, acked: map[string][]uint64{}, heard: map[string]uint64{},
		seen: map[string]map[uint64]bool{}, dead: map[string]map[uint64]bool{}, stored: map[string]stored{},
	}
}

// drawBus has some capsules take part: they hear live messages, keep those of the durable
// topic, or both.
func (d *drawn) drawBus(r *rand.Rand) {
	d.hears, d.keeps = chance(r, 40), chance(r, 40)
}

// busManifest returns the interceptors of the bus, for a manifest.
func (d *drawn) busManifest() (text string) {
	if d.loop {
		return ""
	}
	if d.hears {
		text += fmt.Sprintf("[[interceptor]]\nevent = %q\naction = \"hear\"\n", "bus.live.*")
	}
	if d.keeps {
		text += fmt.Sprintf("[[interceptor]]\nevent = %q\naction = \"keep\"\ndurable = true\nattempts = 2\n", keptTopic)
	}
	return text
}

// drawTopics has the operator declare the durable topic.
func drawTopics() []supervisor.Topic { return []supervisor.Topic{{Name: keptTopic, Durable: true}} }

// next numbers a publisher's next message. Publishers publish one after another.
func (b *busAudit) next(by string) note {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent[by]++
	return note{by, b.sent[by]}
}

// published records a message of the durable topic whose publisher was told that it is kept.
func (b *busAudit) published(n note) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked[n.By] = append(b.acked[n.By], n.N)
}

// publisher publishes from outside.
func (w *world) publisher() {
	r := w.rng("publisher", 0)
	for range r.IntN(40) {
		if chance(r, 40) {
			w.sleep(context.Background(), r, pick(r, 10*ms, 500*ms))
		}
		topic, n := pick(r, liveTopic, keptTopic), w.bus.next("outside")
		payload, err := json.Marshal(n)
		if err == nil {
			err = w.sys.Publish(context.Background(), topic, payload, nil)
		}
		switch {
		case err == nil:
			w.tally.add("published to " + topic)
			if topic == keptTopic {
				w.bus.published(n)
			}
		case w.stopping.Load(), errors.Is(err, supervisor.ErrNotServing):
			return
		default:
			w.fail("publish: %v", err)
		}
	}
}

// letters reads dead letters until ctx ends.
func (w *world) letters(ctx context.Context) {
	for m, err := range w.sys.Subscribe(ctx, "dead_letter."+keptTopic) {
		var letter struct {
			Capsule string
			Payload note
		}
		if err == nil {
			err = json.Unmarshal(m.Payload, &letter)
		}
		if errors.Is(err, supervisor.ErrNotServing) {
			return
		}
		if err != nil || m.Lost > 0 {
			w.fail("dead letters: %v, %d lost", err, m.Lost)
			return
		}
		w.tally.add("dead letter")
		w.bus.mu.Lock()
		put(w.bus.dead, letter.Capsule+" "+letter.Payload.By, letter.Payload.N)
		w.bus.mu.Unlock()
	}
}

func put(sets map[string]map[uint64]bool, key string, n uint64) {
	if sets[key] == nil {
		sets[key] = map[uint64]bool{}
	}
	sets[key][n] = true
}

// message is a call with a message: it is in order, and the guest may do anything.
func (g *guest) message(ctx context.Context, action string, payload []byte) (capsulehost.Result, error) {
	var n note
	if err := json.Unmarshal(payload, &n); err != nil {
		g.w.fail("%s: the message %q: %v", g.id, payload, err)
		return capsulehost.Result{}, nil
	}
	g.w.tally.add("call of " + action)
	g.w.bus.called(g, action, n)
	r := g.draw("message")
	what := r.IntN(100)
	if g.w.calm.Load() {
		what = 0
	}
	switch {
	case what < 40:
		g.store(ctx)
	case what < 50:
		if !g.w.sleep(ctx, r, pick(r, 5*ms, 100*ms)) {
			return capsulehost.Result{}, interrupted(ctx)
		}
	case what < 60:
		g.publish(ctx, pick(r, liveTopic, keptTopic))
	case what < 64:
		return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "trap with a message"}
	case what < 68:
		return capsulehost.Result{}, errors.New("a report about a message")
	case what < 72:
		return capsulehost.Result{Action: capsulehost.Deny}, nil
	case what < 76:
		return capsulehost.Result{Action: capsulehost.Final}, nil
	case what < 78:
		<-ctx.Done()
		return capsulehost.Result{}, interrupted(ctx)
	}
	return capsulehost.Result{Data: payload}, nil
}

// called checks that a receiver is called with each publisher's messages in order. Those of
// the durable topic may come again, from one that was not answered on.
func (b *busAudit) called(g *guest, action string, n note) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := g.id + " " + n.By
	if action == "hear" {
		if last := b.heard[key]; n.N <= last {
			b.w.fail("%s heard message %d of %s after %d", g.id, n.N, n.By, last)
		}
		b.heard[key] = n.N
		return
	}
	for _, before := range b.acked[n.By] {
		if before < n.N && !b.seen[key][before] {
			b.skips = append(b.skips, skip{key, n.N, before})
		}
	}
	if b.seen[key][n.N] {
		b.w.tally.add("a durable message again")
	}
	put(b.seen, key, n.N)
}

// skip is a message that came although the receiver had not been called with one before it.
type skip struct {
	key           string
	came, skipped uint64
}

// checkSkips runs between two steps, when all dead letters are known: only a message over
// which the receiver's actor has failed, before the guest had it, may be left out.
func (b *busAudit) checkSkips() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.skips {
		if !b.dead[s.key][s.skipped] && !b.w.stopping.Load() {
			b.w.fail("%s: called with message %d, and never with %d", s.key, s.came, s.skipped)
		}
	}
	b.skips = nil
}

// publish publishes as a guest does.
func (g *guest) publish(ctx context.Context, topic string) {
	n := g.w.bus.next(g.id)
	text, err := json.Marshal(n)
	if err != nil {
		g.w.fail("%v", err)
	}
	payload, err := capsulehost.ParsePayload(text)
	if err == nil {
		err = g.world.Services().Bus.Publish(ctx, topic, payload)
	}
	if err == nil && topic == keptTopic {
		g.w.bus.published(n)
	}
	if err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "follows from") { // it is too deep
		g.w.fail("%s publishes to %s: %v", g.id, topic, err)
	}
}

// store writes the next number under the capsule's only key.
func (g *guest) store(ctx context.Context) {
	b := g.w.bus
	n := g.w.tick.Add(1)
	b.mu.Lock()
	s := b.stored[g.id]
	s.tried = n
	b.stored[g.id] = s
	b.mu.Unlock()
	err := g.world.Services().State.Set(ctx, "", "last", strconv.AppendUint(nil, n, 10))
	if err != nil {
		g.w.tally.add("state refused")
		return
	}
	b.mu.Lock()
	s = b.stored[g.id]
	s.acked = max(s.acked, n)
	b.stored[g.id] = s
	b.mu.Unlock()
}

// check checks promise 9 while all is calm: each capsule that serves has been called with
// every message that was acknowledged, and keeps what it was told is stored.
func (b *busAudit) check(ready []*capsule) {
	tree := b.w.sys.Snapshot()
	at := slices.IndexFunc(tree.Bus.Durable, func(t messages.DurableTopic) bool { return t.Name == keptTopic })
	if at < 0 {
		b.w.fail("the durable topic is not in the snapshot")
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range ready {
		if !c.keeps {
			continue
		}
		for by, all := range b.acked {
			for _, n := range all {
				if !b.seen[c.id+" "+by][n] && !b.dead[c.id+" "+by][n] {
					b.w.fail("message %d of %s was acknowledged, and %s was never called with it: %+v", n, by, c.id, tree.Bus.Durable[at])
				}
			}
		}
		for _, s := range tree.Bus.Durable[at].Subscriptions {
			if s.Capsule == c.id && s.Lag > 0 {
				b.w.fail("all is calm, and %s has %d messages to answer", c.id, s.Lag)
			}
		}
	}
	for id, s := range b.stored {
		value, err := b.w.sys.State(id).Get(context.Background(), "last")
		got, _ := strconv.ParseUint(string(value), 10, 64)
		if s.acked > 0 && err != nil || got < s.acked || got > s.tried {
			b.w.fail("%s was told that %d is stored, and has tried %d: there is %q, %v", id, s.acked, s.tried, value, err)
		}
	}
}

// busPatience is how long a durable subscription may wait before it tries again.
const busPatience = 11 * time.Second
