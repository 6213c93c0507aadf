package actors

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// chain is a message on its way through the interceptors that match its topic, one after
// another, in the order of their priority. Each step is a call in its capsule's queue,
// as the leg of a trigger is.
//
// A publisher's messages reach each capsule in the order of their publication: every
// step has its place in the capsule's lane from the beginning, and is handed over only
// as the first there. An earlier chain never waits for a later one, so this can't
// deadlock. All fields belong to the publisher's lock.
type chain struct {
	publisher *publisher
	topic     string
	payload   []byte // for the next step
	caller    *capsulehost.Caller
	depth     int
	size      int            // of the payload, as it counts against the publisher
	steps     []subscription // never changed
	next      int            // the step that is next, or that runs
	waiting   bool           // for its turn in a lane
	traced    tracePoint
}

// lane is the order in which the chains of one publisher call one capsule.
type lane struct{ chains []*chain }

// chainStep is one call of a chain.
type chainStep struct {
	chain *chain
	call  trigger // with one leg
	// sides counts who is done with it: the one that hands it over, and the one that
	// answers. The second goes on with the chain.
	sides atomic.Int32
}

// startLocked begins the chain of a message, and hands over its first step if it is its
// turn.
func (p *publisher) startLocked(m *capsulehost.Message, what *Publication, matches []subscription) {
	c := &chain{publisher: p, topic: m.Topic, payload: m.Payload.Bytes(), depth: what.depth, steps: matches}
	c.size = len(c.payload)
	if p.messages >= publisherMessages || p.messages > 0 && p.bytes+c.size > publisherBytes {
		p.bus.stats.deadLetter(m.Topic, p.id, "", DeadBacklog)
		return
	}
	c.caller = callerOf(m)
	c.traced = p.bus.cfg.Router.traces.chained(c, what.by, monotime.Now())
	p.messages++
	p.bytes += c.size
	for n := range matches {
		l := p.laneLocked(matches[n].target.id)
		l.chains = append(l.chains, c)
	}
	p.goOnLocked(c, false)
	p.wakeLocked()
}

// laneLocked returns the lane of a capsule.
func (p *publisher) laneLocked(id string) *lane {
	l := p.lanes[id]
	if l == nil {
		l = &lane{}
		p.lanes[id] = l
	}
	return l
}

// leaveLocked takes a chain's first place out of a lane. The chain that is first then
// may go on.
func (p *publisher) leaveLocked(l *lane, c *chain) {
	at := slices.Index(l.chains, c)
	l.chains = slices.Delete(l.chains, at, at+1)
	if at > 0 || len(l.chains) == 0 {
		return
	}
	if first := l.chains[0]; first.waiting && p.laneLocked(first.steps[first.next].target.id) == l {
		first.waiting = false
		p.due = append(p.due, first)
	}
}

// wakeLocked goes on with the chains whose turn has come.
func (p *publisher) wakeLocked() {
	for len(p.due) > 0 {
		c := p.due[0]
		p.due = slices.Delete(p.due, 0, 1)
		p.goOnLocked(c, false)
	}
}

// goOnLocked hands over the next step of a chain, if it is its turn, or ends the chain.
// With claim, the step of an idle capsule is returned, for the caller to run without the
// lock; every other is queued.
func (p *publisher) goOnLocked(c *chain, claim bool) *chainStep {
	for c.next < len(c.steps) {
		target := c.steps[c.next].target
		l := p.laneLocked(target.id)
		if l.chains[0] != c {
			c.waiting = true
			return nil
		}
		step := c.newStep()
		call := &step.call.calls[0]
		claimed := claim && call.ref != nil && call.ref.claim()
		if !claimed && (call.ref != nil || call.first) {
			call.queue()
		}
		p.leaveLocked(l, c)
		switch {
		case claimed:
			return step
		case step.sides.Add(1) < 2:
			return nil
		}
		c.settleLocked(step) // it was refused
	}
	p.messages--
	p.bytes -= c.size
	return nil
}

// newStep prepares the next call. That of a capsule that does not serve is answered.
func (c *chain) newStep() *chainStep {
	s := c.steps[c.next]
	step := &chainStep{chain: c}
	t := &step.call
	*t = trigger{
		router: c.publisher.bus.cfg.Router, topic: c.topic, payload: c.payload, publisher: c.publisher.id, caller: c.caller,
		asker: context.Background(), made: monotime.Now(), depth: c.depth + 1, step: step,
	}
	t.traced = tracePoint{c.traced.tree, c.traced.span, int32(c.next)} //nolint:gosec // a few
	t.room(1)
	t.legs[0] = messages.Leg{Capsule: s.target.id, Action: s.interceptor.Action, Priority: s.interceptor.Priority}
	t.calls[0].trigger, t.calls[0].action = t, s.interceptor.Action
	ref, pool, down := s.target.now()
	if pool != nil {
		if pool.plan(t, &t.calls[0], s.interceptor.OrderedBy); t.legs[0].Outcome != messages.OutcomePending {
			step.sides.Add(1) // it has been answered
		}
		return step
	}
	t.pending = 1
	if down != "" {
		t.answer(0, &messages.Leg{Outcome: messages.OutcomeUnavailable, Reason: down}, nil)
	} else {
		t.calls[0].ref = ref
	}
	return step
}

// settleLocked records how a step ended, and what that means for the chain.
func (c *chain) settleLocked(step *chainStep) {
	p, leg := c.publisher, &step.call.legs[0]
	step.call.close()
	p.bus.stats.stepped(leg.Outcome)
	switch leg.Outcome {
	case messages.OutcomeContinue:
		p.bytes += len(leg.Value) - c.size
		c.payload, c.size = leg.Value, len(leg.Value)
	case messages.OutcomeFinal, messages.OutcomeDenied:
		for n := c.next + 1; n < len(c.steps); n++ {
			p.leaveLocked(p.laneLocked(c.steps[n].target.id), c)
		}
		c.next = len(c.steps)
		c.traced.stepped(&step.call, true)
		return
	case messages.OutcomeOverloaded:
		p.bus.stats.deadLetter(c.topic, p.id, leg.Capsule, DeadFull)
	default: // it is skipped
	}
	c.next++
	c.traced.stepped(&step.call, c.next == len(c.steps))
}

// answered is called once, when a step has its outcome, on any goroutine.
func (s *chainStep) answered() {
	if s.sides.Add(1) < 2 {
		return // it is still being handed over
	}
	c, p := s.chain, s.chain.publisher
	p.mu.Lock()
	defer p.mu.Unlock()
	c.settleLocked(s)
	if c.next < len(c.steps) {
		p.bus.cfg.System.Go(c.run)
	} else {
		p.goOnLocked(c, false)
	}
	p.wakeLocked()
}

// run goes on with a chain on a worker, until a step waits. The capsules that are idle
// run here, one after the other: that costs no change of goroutine.
func (c *chain) run() {
	p := c.publisher
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		step := p.goOnLocked(c, true)
		p.wakeLocked()
		if step == nil {
			return
		}
		p.mu.Unlock()
		call := &step.call.calls[0]
		call.ref.mailbox.Load().RunClaimed(call)
		p.mu.Lock()
		c.settleLocked(step) // it has been answered
	}
}

// claim takes the capsule for a call on the caller's goroutine, if it is idle and its
// calls may run there.
func (r *CapsuleRef) claim() bool { return r.likely.Load() > 0 && r.mailbox.Load().Claim() }

// judgeStep turns the result of a step into its outcome. Unlike the answer to a trigger
// it need not be JSON: it is the payload of the next step.
func judgeStep(answer *messages.Leg, result capsulehost.Result) {
	switch {
	case result.Action == capsulehost.Final:
		answer.Outcome = messages.OutcomeFinal
	case len(result.Data) == 0:
		answer.Outcome = messages.OutcomeEmpty
	case len(result.Data) > maxAnswer:
		answer.Outcome = messages.OutcomeInvalid
		answer.Reason = fmt.Sprintf("the payload of %d bytes is over the limit of %d", len(result.Data), maxAnswer)
	default:
		answer.Outcome, answer.Value = messages.OutcomeContinue, result.Data
	}
}
