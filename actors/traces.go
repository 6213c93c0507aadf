package actors

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// What is kept: some 7 MiB at most.
const (
	tracesKept = 100
	traceSpans = 128      // of one trace
	traceCalls = 256      // of one trace
	traceWell  = 64       // of one trigger whose guests make none, if they go well
	traceTexts = 32 << 10 // bytes of topics and reasons of one trace
)

// traces keeps the last triggers from outside, and the last messages that interceptors
// receive, with all that followed from them; of a message of a durable topic, each attempt of
// each durable interceptor is one. A trigger whose guests make none in turn, or such an
// attempt, is copied into a place that is used again and again, so it costs no memory. The zero value
// is ready for use, from any goroutine.
type traces struct {
	last atomic.Uint64
	kept [tracesKept]tracePlace
}

// tracePlace holds every hundredth trace.
type tracePlace struct {
	mu   sync.Mutex
	id   uint64
	tree *traceTree // nil for a trigger whose guests made none
	flat traceTree  // of such a trigger
}

// traceTree is one trigger or message, and what followed. Its spans and calls are in the order
// in which they were recorded, and refer to each other by index.
type traceTree struct {
	mu        sync.Mutex // not of a flat one, which belongs to its place
	made      monotime.Time
	principal string
	spans     []traceSpan // the first one is the root
	calls     []traceCall
	texts     int
	well      int // how many calls that go well it has room for
	omitted   uint64
}

// traceSpan is one trigger or message.
type traceSpan struct {
	topic, from, problem string
	published            bool
	parent, leg          int32 // the call that made it: a span, and a leg of that
	began, ended         monotime.Time
	open                 bool
}

// traceCall is one leg of a trigger, or one step of a chain.
type traceCall struct {
	span, leg               int32
	capsule, action, reason string
	version                 string
	priority                uint32
	outcome                 messages.Outcome
	generation, reductions  uint64
	began                   monotime.Time // of the guest call
	wait, took              time.Duration
}

// tracePoint is where a trigger or a chain is in its trace.
type tracePoint struct {
	tree *traceTree // nil unless its guest's call made it, or it is a chain
	span int32      // noRoom if it is not kept
	leg0 int32      // the number of its first leg
}

// noRoom is the span of a trigger that is not kept.
const noRoom = -1

// join begins a span below a call, for a trigger or message that its guest makes. The
// result is zero if there is no call, as in a run loop, or if no trigger has made it.
func (m *invocation) join(topic, from string, published bool, made monotime.Time) tracePoint {
	if m == nil || m.trigger == nil {
		return tracePoint{}
	}
	p := m.trigger
	tree := p.traced.tree
	if tree == nil {
		tree = p.grow()
	}
	return tracePoint{tree: tree, span: tree.begin(traceSpan{
		topic: shortened(topic, topicKept), from: from, published: published, began: made, open: true,
		parent: p.traced.span, leg: p.traced.leg0 + int32(m.leg), //nolint:gosec // at most MaxLegs
	})}
}

// grow returns the trace of a trigger from outside, which the first of its guests that
// makes one needs. It may be called from any goroutine.
func (t *trigger) grow() *traceTree {
	tree := t.grown.Load()
	if tree == nil {
		fresh := newTrace(t.topic, t.source(), principalOf(t), t.step != nil, t.made)
		if tree = fresh; !t.grown.CompareAndSwap(nil, fresh) {
			tree = t.grown.Load()
		}
	}
	return tree
}

func newTrace(topic, from, principal string, published bool, made monotime.Time) *traceTree {
	return &traceTree{made: made, principal: principal, well: traceCalls, spans: []traceSpan{{
		topic: shortened(topic, topicKept), from: from, published: published, began: made, open: true,
	}}}
}

// source returns the capsule that has made it, or whose message it is.
func (t *trigger) source() string { return cmp.Or(t.from, t.publisher) }

func principalOf(t *trigger) string {
	if t.caller == nil || t.caller.Principal == nil {
		return ""
	}
	return *t.caller.Principal
}

// begin adds a span below another one, and returns its index.
func (t *traceTree) begin(s traceSpan) int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.parent == noRoom || len(t.spans) >= traceSpans || t.texts+len(s.topic) > traceTexts {
		return noRoom
	}
	t.texts += len(s.topic)
	t.spans = append(t.spans, s)
	return int32(len(t.spans) - 1) //nolint:gosec // at most traceSpans
}

// addCall adds a call to a span. A flat traceTree needs no lock; else the caller holds it.
func (t *traceTree) addCall(span, leg int32, l *messages.Leg, m *invocation, made, ended monotime.Time) {
	if span == noRoom || len(t.calls) >= traceCalls || len(t.calls) >= t.well && l.Outcome.Answered() {
		t.omitted++
		return
	}
	c := traceCall{
		span: span, leg: leg, capsule: l.Capsule, action: l.Action, reason: l.Reason, priority: l.Priority, outcome: l.Outcome,
		generation: l.Generation, reductions: l.Reductions, began: made, took: l.Duration,
	}
	if l.Generation != 0 { // else it was not called, or may be running still
		if m.version != nil { // else it was refused
			c.version = m.version.Number
		}
		if m.ended != monotime.None {
			ended = m.ended
		}
		c.began = ended.Add(-l.Duration)
		c.wait = max(0, c.began.Sub(made))
	}
	if t.texts+len(c.reason) > traceTexts {
		c.reason = ""
	}
	t.texts += len(c.reason)
	t.calls = append(t.calls, c)
}

// close ends the span of a trigger, with the outcomes of its legs.
func (t *traceTree) close(span int32, from *trigger, ended monotime.Time, err error) {
	for n := range from.legs {
		t.addCall(span, int32(n), &from.legs[n], &from.calls[n], from.made, ended)
	}
	if span == noRoom {
		return
	}
	s := &t.spans[span]
	s.ended, s.open = ended, false
	if err != nil {
		s.problem = err.Error()
	}
}

// answered records a trigger that has its answer, or was given up, and returns the id of
// its trace; 0 if that is another trigger's.
func (k *traces) answered(t *trigger, ended monotime.Time, err error) uint64 {
	if in := &t.traced; in.tree != nil {
		in.tree.mu.Lock()
		in.tree.close(in.span, t, ended, err)
		in.tree.mu.Unlock()
		return 0
	}
	if tree := t.grown.Load(); tree != nil {
		tree.mu.Lock()
		tree.close(0, t, ended, err)
		tree.mu.Unlock()
		return k.keep(tree)
	}
	id := k.last.Add(1)
	p := &k.kept[id%tracesKept]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id, p.tree = id, nil
	f := &p.flat
	f.made, f.principal, f.well, f.omitted = t.made, principalOf(t), traceWell, 0
	f.spans = append(f.spans[:0], traceSpan{
		topic: shortened(t.topic, topicKept), from: t.source(), published: t.step != nil, began: t.made,
	})
	f.texts, f.calls = len(f.spans[0].topic), f.calls[:0]
	f.close(0, t, ended, err)
	return id
}

// chained begins the trace of a message that interceptors receive: below the call that has
// published it, or of its own.
func (k *traces) chained(c *chain, by *invocation, made monotime.Time) tracePoint {
	if point := by.join(c.topic, c.publisher.id, true, made); point.tree != nil {
		return point
	}
	principal := ""
	if c.caller.Principal != nil {
		principal = *c.caller.Principal
	}
	tree := newTrace(c.topic, c.publisher.id, principal, true, made)
	k.keep(tree)
	return tracePoint{tree: tree}
}

// stepped records a step of a chain, and that it was the last one.
func (p *tracePoint) stepped(step *trigger, last bool) {
	ended := monotime.Now()
	p.tree.mu.Lock()
	defer p.tree.mu.Unlock()
	p.tree.addCall(p.span, step.traced.leg0, &step.legs[0], &step.calls[0], step.made, ended)
	if p.span != noRoom && last {
		s := &p.tree.spans[p.span]
		s.ended, s.open = ended, false
	}
}

// keep gives a trace its place.
func (k *traces) keep(tree *traceTree) uint64 {
	id := k.last.Add(1)
	p := &k.kept[id%tracesKept]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id, p.tree = id, tree
	return id
}

// all returns copies, the oldest first.
func (k *traces) all() []messages.Trace {
	last := k.last.Load()
	out := make([]messages.Trace, 0, min(last, tracesKept))
	for id := last + 1 - min(last, tracesKept); id <= last; id++ {
		if t, ok := k.find(id); ok {
			out = append(out, t)
		}
	}
	return out
}

// find returns a copy of one trace, if it is still kept.
func (k *traces) find(id uint64) (messages.Trace, bool) {
	p := &k.kept[id%tracesKept]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id != id || id == 0 {
		return messages.Trace{}, false
	}
	t := &p.flat
	if p.tree != nil {
		t = p.tree
		t.mu.Lock()
		defer t.mu.Unlock()
	}
	return messages.Trace{ID: id, At: t.made.Wall(), Principal: t.principal, Root: t.span(0), Omitted: t.omitted}, true
}

// span copies a span, with all below it.
func (t *traceTree) span(n int32) messages.TraceSpan {
	s := &t.spans[n]
	out := messages.TraceSpan{
		Topic: s.topic, Published: s.published, From: s.from, Start: s.began.Sub(t.made), Open: s.open, Problem: s.problem,
	}
	if s.ended != monotime.None {
		out.Duration = s.ended.Sub(s.began)
	}
	made := map[int32][]messages.TraceSpan{} // by leg
	for i := n + 1; int(i) < len(t.spans); i++ {
		if below := &t.spans[i]; below.parent == n {
			made[below.leg] = append(made[below.leg], t.span(i))
		}
	}
	for i := range t.calls {
		c := &t.calls[i]
		if c.span != n {
			continue
		}
		out.Calls = append(out.Calls, messages.TraceCall{
			Capsule: c.capsule, Action: c.action, Priority: c.priority, Version: c.version, Generation: c.generation,
			Outcome: c.outcome, Reason: c.reason, Start: c.began.Sub(t.made), QueueWait: c.wait, Duration: c.took,
			Reductions: c.reductions, Made: made[c.leg],
		})
		delete(made, c.leg)
	}
	return out
}

// Traces returns the last 100 triggers from outside, of run loops, and messages that
// interceptors receive, with all that followed from them: the oldest first. One that has
// no answer yet is among them only if it is a message.
func (r *Router) Traces() []messages.Trace { return r.traces.all() }

// Trace returns one of them, if it is still kept.
func (r *Router) Trace(id uint64) (messages.Trace, bool) { return r.traces.find(id) }
