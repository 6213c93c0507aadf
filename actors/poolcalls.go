package actors

import (
	"cmp"
	"encoding/json"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// This file gives the calls of a pool to its instances: each goes to the one with the
// fewest, or to the one that its key belongs to, and moves while it waits if its instance
// ends, crashes or has more to do than another one.

// pooledCall is what a call of a pool has besides.
type pooledCall struct {
	pool  *Pool
	key   string // what it is ordered by
	keyed bool
	seat  *seat // whose load it counts in; nil for none
	moves int   // how often it was refused by an instance that ended
}

// maxMoves bounds how often a call goes from one ending instance to the next.
const maxMoves = 100

// plan gives a call to an instance, or decides its leg. A call for which there is no
// instance yet is placed when it is dispatched.
func (p *Pool) plan(t *trigger, c *invocation, orderedBy string) {
	c.enterPool(p, t, orderedBy)
	ref, outcome, reason := p.take(c, false)
	if outcome != messages.OutcomePending {
		t.legs[c.leg].Outcome, t.legs[c.leg].Reason = outcome, reason
		return
	}
	c.ref, c.first = ref, true
	t.pending++
}

// enterPool makes a call one of a pool.
func (c *invocation) enterPool(p *Pool, t *trigger, orderedBy string) {
	c.pooled = &pooledCall{pool: p}
	if orderedBy != "" {
		c.pooled.key, c.pooled.keyed = t.orderKey(orderedBy), true
	}
}

// orderKey returns what a call is ordered by: the caller's principal, or the value in the
// payload that a JSON pointer (RFC 6901) points to; "" if there is none.
func (t *trigger) orderKey(orderedBy string) string {
	if orderedBy == messages.OrderedByPrincipal {
		if t.caller == nil || t.caller.Principal == nil {
			return ""
		}
		return *t.caller.Principal
	}
	value := json.RawMessage(t.payload)
	for part := range strings.SplitSeq(strings.TrimPrefix(orderedBy, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		var object map[string]json.RawMessage
		var array []json.RawMessage
		switch {
		case json.Unmarshal(value, &object) == nil:
			value = object[part]
		case json.Unmarshal(value, &array) == nil:
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 || n >= len(array) {
				return ""
			}
			value = array[n]
		default:
			return ""
		}
	}
	return string(value)
}

// take chooses an instance for a call, and counts the call in its load: the instance
// with the fewest, or the one that the call's key belongs to. It returns nil if the call
// is to wait for an instance, as it does from then on with wait; or an outcome, if it is
// not to be made. A trigger of a capsule gets its edge in the graph of waits.
func (p *Pool) take(c *invocation, wait bool) (*CapsuleRef, messages.Outcome, string) {
	t := c.trigger
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != "" {
		return nil, messages.OutcomeUnavailable, p.down
	}
	seats, held := p.candidatesLocked(c)
	switch {
	case len(seats) > 0:
	case held != "":
		return nil, messages.OutcomeUnavailable, held
	case wait && p.version.Queue > 0 && len(p.waiting) >= p.version.Queue:
		return nil, messages.OutcomeOverloaded, "the capsule has no instance yet, and the queue of its pool is full"
	default:
		if wait {
			p.waiting = append(p.waiting, c)
		}
		p.growLocked()
		return nil, messages.OutcomePending, ""
	}
	for _, s := range seats {
		if t.asking != nil && !t.router.waits.enter(&t.edges[c.leg], t.asking, &s.ref.node) {
			continue
		}
		if s.load > 0 {
			p.growLocked()
		}
		s.load++
		c.pooled.seat = s
		return s.ref, messages.OutcomePending, ""
	}
	return nil, messages.OutcomeDeadlock, p.cfg.ID + " waits for " + t.from
}

// candidatesLocked returns the seats that may take a call, best first: only the best, if
// the others could not take it in place of that. If all are held, it says why.
func (p *Pool) candidatesLocked(c *invocation) (seats []*seat, held string) {
	better := (*seat).compare
	if c.pooled.keyed {
		key := c.pooled.key
		better = func(a, b *seat) int { return cmp.Compare(b.weight(key), a.weight(key)) }
	}
	all := p.scratch[:0]
	for _, s := range p.seats {
		switch {
		case s.held != "":
			held = s.held
		case p.mixed && !s.ref.Version().has(c.action):
		case len(all) == 0 || c.trigger.asking != nil && !c.pooled.keyed:
			all = append(all, s)
		case better(s, all[0]) < 0:
			all[0] = s
		}
	}
	if len(all) > 1 {
		slices.SortStableFunc(all, better)
	}
	p.scratch = all
	return all, held
}

// compare orders seats by what they have to do: those that can't begin at once, since
// their instance is not up, come last.
func (s *seat) compare(o *seat) int {
	isDown := func(s *seat) int {
		if s.ref.Announced() == nil {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(isDown(s), isDown(o)), cmp.Compare(s.load, o.load))
}

// hashSeed is the process's: which instance a key belongs to is nobody's business.
var hashSeed = maphash.MakeSeed() //nolint:gochecknoglobals // never changed

// weight is how much a seat wants a key: the highest one gets it (rendezvous hashing), so
// that only the keys of an instance that comes or goes change theirs.
func (s *seat) weight(key string) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	_, _ = h.WriteString(key)
	_, _ = h.WriteString(strconv.Itoa(s.ref.number))
	return h.Sum64()
}

// place gives a call to an instance that has none, or none any more, and queues it there.
func (p *Pool) place(c *invocation) {
	t := c.trigger
	t.mu.Lock()
	if t.closed.Load() || t.legs[c.leg].Outcome != messages.OutcomePending {
		t.mu.Unlock()
		return
	}
	if t.asking != nil {
		t.router.waits.leave(&t.edges[c.leg], t.asking)
	}
	ref, outcome, reason := p.take(c, true)
	if ref != nil {
		c.ref = ref
	}
	t.mu.Unlock()
	switch {
	case ref != nil:
		ref.post(c)
	case outcome != messages.OutcomePending:
		t.answer(c.leg, &messages.Leg{Outcome: outcome, Reason: reason}, nil)
	}
}

// refused takes a call back that an instance will not serve. It returns false if no other
// instance is to serve it either.
func (p *Pool) refused(c *invocation, why system.Refusal) bool {
	c.pooled.ended()
	if why != system.Closed || c.pooled.moves >= maxMoves {
		return false
	}
	c.pooled.moves++
	p.place(c)
	return true
}

// ended takes a call off the load of its instance.
func (c *pooledCall) ended() {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.endedLocked()
}

// endedLocked returns the seat of an instance that has nothing to do from now on; else nil.
func (c *pooledCall) endedLocked() *seat {
	s := c.seat
	c.seat = nil
	if s == nil {
		return nil
	}
	if s.load--; s.load > 0 {
		return nil
	}
	s.idle = monotime.Now()
	return s
}

// served takes a call off the load of the instance that has served it. If that has
// nothing more to do, it takes over a call that waits at the instance with the most: how
// long calls take is not known when they are given out.
func (c *pooledCall) served() {
	p := c.pool
	p.mu.Lock()
	idle := c.endedLocked()
	var most *seat
	if idle != nil && idle.held == "" && idle.ref.Announced() != nil {
		for _, s := range p.seats {
			if s.load > 1 && (most == nil || s.load > most.load) {
				most = s
			}
		}
	}
	p.mu.Unlock()
	if most == nil {
		return
	}
	taken := false
	p.move(most.ref, func(c *invocation) bool {
		one := !taken && !c.pooled.keyed
		taken = taken || one
		return one
	})
}

// serves records that an instance is up. If calls wait at the others, it gets its share of
// them, and an elastic pool grows further.
func (p *Pool) serves() {
	p.mu.Lock()
	p.growing = false
	var crowded []*CapsuleRef
	idle := false
	for _, s := range p.seats {
		if s.load > 1 {
			crowded = append(crowded, s.ref)
		}
		idle = idle || s.load == 0 && s.held == ""
	}
	if len(crowded) > 0 {
		p.growLocked()
	}
	p.mu.Unlock()
	if !idle {
		return
	}
	for _, ref := range crowded {
		p.move(ref, func(c *invocation) bool { return !c.pooled.keyed })
	}
}

// spread gives the calls that wait at an instance to others, if there are some. Those
// that are ordered stay if the instance will be back soon.
func (p *Pool) spread(ref *CapsuleRef) {
	p.mu.Lock()
	at, found := p.findLocked(ref)
	isHeld := found && p.seats[at].held != ""
	others := slices.ContainsFunc(p.seats, func(s *seat) bool { return s.ref != ref && s.held == "" })
	p.mu.Unlock()
	if !others {
		return
	}
	p.move(ref, func(c *invocation) bool { return isHeld || !c.pooled.keyed })
}

// move takes the calls that match from the queue of an instance, and places them again.
func (p *Pool) move(from *CapsuleRef, match func(*invocation) bool) {
	for _, message := range from.mailbox.Load().Extract(func(message any) bool {
		c, isCall := message.(*invocation)
		return isCall && c.pooled != nil && match(c)
	}) {
		c, _ := message.(*invocation)
		c.pooled.ended()
		p.place(c)
	}
}
