package actors

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// DurableLog keeps the messages of durable topics, and how far each durable subscription
// has come. Its methods may be called from any goroutine.
type DurableLog interface {
	// Durable reports whether new messages of a topic are kept. Every publisher asks.
	Durable(topic string) bool

	// Append keeps a message. It is durable when Append returns nil. If ctx ends first,
	// it may be kept all the same.
	Append(ctx context.Context, k *Kept) error

	// Topics returns every topic of which there are, or will be, messages to read.
	Topics() []string

	// Open returns the cursor of a subscription. A new one begins with the oldest
	// message that is kept. arrived is called, on any goroutine, when Next may have
	// more to return; it must not block.
	Open(s DurableSubscription, arrived func()) DurableCursor
}

// DurableSubscription names one: an action of a capsule, for one topic.
type DurableSubscription struct{ Capsule, Action, Topic string }

// DurableCursor is how far a subscription has come. Next is for one goroutine; the other
// methods are called on the goroutine that answers, and must not block. What they say is
// stored soon after, with the fence of the generation that answered: if that is stale, the
// message is due again.
type DurableCursor interface {
	// Next returns the message that is due, or nil if there is none, and how many
	// messages the topic has dropped before the subscription came to them.
	Next(ctx context.Context) (due *Kept, dropped uint64, err error)
	// Answered moves on to the next message.
	Answered(k *Kept, generation uint64)
	// Failed counts an attempt.
	Failed(k *Kept, generation uint64)
	// Bury moves on to the next message, once bury has returned nil.
	Bury(k *Kept, generation uint64, bury func(ctx context.Context) error)
	// Close ends the use. What was answered is stored all the same.
	Close()
}

// Kept is a message of a durable topic.
type Kept struct {
	*capsulehost.Message

	Publisher string // a capsule, "kernel", or "" for outside
	Depth     int    // how many publications it follows from
	Position  uint64 // in its topic, from 1
	Attempts  int    // that have failed
}

// DefaultAttempts is how often a message is tried, before it becomes a dead letter. It is
// less than the default restart budget, so that one message that kills does not use it up.
const DefaultAttempts = 3

// DeadLetterPrefix and a topic's name is the topic of its dead letters.
const DeadLetterPrefix = "dead_letter."

// How long a durable subscription waits before it tries again: at first, and at most.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second
)

// durableReader calls one action of a capsule with the messages of one durable topic, one
// after another. Each is answered before the next one is called: it is called again until
// it is answered, or has failed too often. A reader that has nothing to do has no
// goroutine.
type durableReader struct {
	bus      *Bus
	ref      *CapsuleRef
	of       DurableSubscription
	attempts int
	cursor   DurableCursor
	ctx      context.Context // ends when the capsule has no such interceptor any more
	end      context.CancelFunc

	mu      sync.Mutex
	running bool
	again   bool // something has happened since the goroutine looked
}

// durable are the readers of a bus.
type durable struct {
	log DurableLog // nil without one

	mu      sync.Mutex
	ended   bool
	of      map[string]*durableCapsule
	working sync.WaitGroup // their goroutines
}

// durableCapsule is a capsule with durable interceptors that has been up.
type durableCapsule struct {
	ref          *CapsuleRef
	interceptors []messages.Interceptor
	readers      map[DurableSubscription]*durableReader
}

// capsuleUp has a capsule's durable interceptors read, as its current version names them.
func (b *Bus) capsuleUp(m *CapsuleUp) {
	if b.durable.log == nil {
		return
	}
	interceptors := slices.DeleteFunc(slices.Clone(m.Interceptors), func(i messages.Interceptor) bool { return !i.Durable })
	if m.RunLoop && len(interceptors) > 0 {
		m.Ref.cfg.Log.Warn("a run loop has no durable interceptors: nothing says when it has dealt with a message", "capsule", m.Ref.ID())
		interceptors = nil
	}
	d := &b.durable
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.of[m.Ref.ID()]
	if c == nil {
		if len(interceptors) == 0 {
			return
		}
		c = &durableCapsule{readers: map[DurableSubscription]*durableReader{}}
		d.of[m.Ref.ID()] = c
	}
	c.ref, c.interceptors = m.Ref.whole(), interceptors
	b.readLocked(c)
}

// capsuleGone ends the readers of a capsule that was removed.
func (b *Bus) capsuleGone(ref *CapsuleRef) {
	d := &b.durable
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.of[ref.ID()]; c != nil && c.ref == ref.whole() {
		c.interceptors = nil
		b.readLocked(c)
		delete(d.of, ref.ID())
	}
}

// TopicsChanged has capsules read the durable topics that there are now.
func (b *Bus) TopicsChanged() {
	b.durable.mu.Lock()
	defer b.durable.mu.Unlock()
	for _, c := range b.durable.of {
		b.readLocked(c)
	}
}

// readLocked makes the readers of a capsule those that it should have, and has them look.
func (b *Bus) readLocked(c *durableCapsule) {
	wanted := map[DurableSubscription]int{}
	for _, i := range c.interceptors {
		matches := 0
		for _, topic := range b.durable.log.Topics() {
			if capsulehost.TopicMatches(topic, i.Event) {
				wanted[DurableSubscription{c.ref.ID(), i.Action, topic}] = int(i.Attempts)
				matches++
			}
		}
		if matches == 0 {
			c.ref.cfg.Log.Warn("an interceptor is durable, and no topic that it matches is", "capsule", c.ref.ID(), "event", i.Event)
		}
	}
	for of, r := range c.readers {
		if _, ok := wanted[of]; !ok || r.ref != c.ref {
			r.end()
			r.cursor.Close()
			delete(c.readers, of)
		}
	}
	for of, attempts := range wanted {
		r := c.readers[of]
		if r == nil {
			r = &durableReader{bus: b, ref: c.ref, of: of}
			r.ctx, r.end = context.WithCancel(context.Background()) //nolint:fatcontext // each reader has its own
			c.readers[of] = r
		}
		r.mu.Lock()
		if r.cursor == nil { // what comes at once waits for it
			r.cursor = b.durable.log.Open(of, r.look)
		}
		r.attempts = attempts
		if attempts == 0 {
			r.attempts = DefaultAttempts
		}
		r.lookLocked(!b.durable.ended)
		r.mu.Unlock()
	}
}

// endDurable ends all readers, and waits for them. What they have under way is not
// answered any more.
func (b *Bus) endDurable() {
	d := &b.durable
	d.mu.Lock()
	d.ended = true
	for _, c := range d.of {
		for _, r := range c.readers {
			r.end()
			r.cursor.Close()
		}
	}
	d.mu.Unlock()
	d.working.Wait()
}

// look has the reader look for messages.
func (r *durableReader) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookLocked(true)
}

func (r *durableReader) lookLocked(allowed bool) {
	r.again = true
	if r.running || !allowed || r.ctx.Err() != nil {
		return
	}
	r.running = true
	r.bus.durable.working.Add(1)
	go r.run()
}

// run delivers until there is nothing that it could deliver.
func (r *durableReader) run() {
	defer r.bus.durable.working.Done()
	for {
		r.mu.Lock()
		if !r.again || r.ctx.Err() != nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.again = false
		r.mu.Unlock()
		r.deliver()
	}
}

// deliver calls the capsule with one message after another. It returns when there is
// none, or if the capsule can't be called until it is up again.
func (r *durableReader) deliver() {
	wait := retryFirst
	for r.ctx.Err() == nil {
		due, dropped, err := r.cursor.Next(r.ctx)
		if dropped > 0 {
			r.bus.stats.deadLetters(r.of.Topic, "", r.of.Capsule, DeadExpired, dropped)
		}
		if err == nil && due == nil {
			return
		}
		outcome := messages.OutcomeOverloaded // as far as waiting goes
		if err == nil {
			outcome = r.call(due)
		} else if r.ctx.Err() == nil {
			r.ref.cfg.Log.Warn("reading a durable topic failed", "topic", r.of.Topic, "capsule", r.of.Capsule, "err", err)
		}
		switch {
		case outcome == messages.OutcomeUnavailable:
			return // capsuleUp has it look again
		case outcome == messages.OutcomeOverloaded, isFailure(outcome):
			r.pause(wait)
			wait = min(2*wait, retryMost)
		default:
			wait = retryFirst
		}
	}
}

func (r *durableReader) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// isFailure reports whether a call counts as an attempt that has failed, unless it was
// interrupted: then it is no fault of the capsule.
func isFailure(o messages.Outcome) bool {
	return o == messages.OutcomeFailed || o == messages.OutcomeCrashed || o == messages.OutcomeTimeout
}

// call calls the capsule once, in its queue, and returns the outcome; OutcomePending if
// the call was interrupted, or the reader has ended before.
func (r *durableReader) call(k *Kept) messages.Outcome {
	d := &durableCall{reader: r, message: k, done: make(chan struct{})}
	t := &d.call
	*t = trigger{
		router: r.bus.cfg.Router, topic: k.Topic, payload: k.Payload.Bytes(), publisher: k.Publisher,
		caller: callerOf(k.Message), asker: context.Background(), made: monotime.Now(), depth: k.Depth + 1, step: d,
	}
	t.room(1)
	t.legs[0] = messages.Leg{Capsule: r.of.Capsule, Action: r.of.Action}
	call := &t.calls[0]
	call.trigger, call.action = t, r.of.Action
	if pool := r.ref.pool; pool != nil {
		pool.plan(t, call, "")
	} else {
		call.ref, t.pending = r.ref, 1
	}
	if t.legs[0].Outcome == messages.OutcomePending {
		call.queue()
	} else {
		d.answered() // the pool takes no calls
	}
	select {
	case <-d.done:
		if call.interrupted {
			return messages.OutcomePending
		}
		return t.legs[0].Outcome
	case <-r.ctx.Done():
		return messages.OutcomePending // a late answer still counts
	}
}

// callerOf returns on whose behalf a message's receivers run.
func callerOf(m *capsulehost.Message) *capsulehost.Caller {
	c := &capsulehost.Caller{SourceID: m.SourceID, Timestamp: m.Timestamp}
	if m.Principal != "" {
		c.Principal = &m.Principal
	}
	return c
}

// durableCall is one call of a durable interceptor.
type durableCall struct {
	reader  *durableReader
	message *Kept
	call    trigger // with one leg
	done    chan struct{}
}

// answered tells the cursor while the instance that answered still exists, so that its
// fence can be used.
func (d *durableCall) answered() {
	r, leg, k := d.reader, &d.call.legs[0], d.message
	r.bus.stats.stepped(leg.Outcome)
	called := leg.Outcome != messages.OutcomeUnavailable && leg.Outcome != messages.OutcomeOverloaded
	switch {
	case !called, d.call.calls[0].interrupted: // it is due as before
	case !isFailure(leg.Outcome):
		r.cursor.Answered(k, leg.Generation)
	case k.Attempts+1 < r.limit():
		r.cursor.Failed(k, leg.Generation)
	default:
		letter := r.deadLetter(k, leg)
		r.cursor.Bury(k, leg.Generation, func(ctx context.Context) error {
			if !strings.HasPrefix(k.Topic, DeadLetterPrefix) { // a dead letter has none of its own
				if err := r.bus.own.publish(ctx, &letter); err != nil {
					return err
				}
			}
			r.bus.stats.deadLetter(k.Topic, k.Publisher, r.of.Capsule, DeadPoison)
			return nil
		})
	}
	d.call.close()
	if called {
		r.bus.cfg.Router.traces.answered(&d.call, monotime.Now(), nil)
	}
	close(d.done)
}

func (r *durableReader) limit() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempts
}

// deadLetter is what is published of a message that has failed too often.
func (r *durableReader) deadLetter(k *Kept, leg *messages.Leg) Publication {
	return Publication{
		Topic: DeadLetterPrefix + k.Topic, SourceID: k.SourceID, Principal: k.Principal, depth: k.Depth,
		Payload: custom(struct {
			Action    string    `json:"action"`
			Attempts  int       `json:"attempts"`
			Capsule   string    `json:"capsule"`
			Outcome   string    `json:"outcome"`
			Payload   rawJSON   `json:"payload"`
			Position  uint64    `json:"position"`
			Reason    string    `json:"reason"`
			Timestamp time.Time `json:"timestamp"`
			Topic     string    `json:"topic"`
		}{
			r.of.Action, k.Attempts + 1, r.of.Capsule, leg.Outcome.String(), rawJSON(k.Payload.Bytes()), k.Position, leg.Reason, k.Timestamp.UTC(), k.Topic,
		}),
	}
}

// rawJSON is JSON as it is.
type rawJSON []byte

// MarshalJSON returns it.
func (j rawJSON) MarshalJSON() ([]byte, error) { return j, nil }
