package actors

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/astrid-actors/astrid-actors/messages"
)

// routingTable is which capsules want which topics. The hook-router actor writes
// it, and any goroutine reads it.
type routingTable struct {
	mu      sync.RWMutex
	version atomic.Uint64      // changes with it, under mu
	targets map[string]*target // by capsule id
	index   topicIndex
}

// target is a capsule as the table has it: every capsule that was announced and is
// not gone, so that a trigger can say who would have been asked.
type target struct {
	lastSeen
	table        *routingTable // whose mu guards all but the id
	id           string
	ref          *CapsuleRef // of a pool, one of its instances
	pool         *Pool       // nil for a capsule with one instance
	interceptors []messages.Interceptor
	down         string // why it can't be asked; empty if it can
	runLoop      bool   // it receives messages by subscriptions
}

func newRoutingTable() *routingTable { return &routingTable{targets: map[string]*target{}} }

// plan gives a trigger its legs, in order: each with the call that will answer
// it, or with the reason why there is none.
func (r *routingTable) plan(t *trigger) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	matches := r.index.match(t.topic)
	t.room(len(matches))
	var last map[*CapsuleRef]*invocation // of the capsules that may be asked more than once
	n := 0
	for _, m := range matches {
		if m.target.id == t.from {
			continue // a capsule is never asked itself
		}
		leg, call := &t.legs[n], &t.calls[n]
		leg.Capsule, leg.Action, leg.Priority = m.target.id, m.interceptor.Action, m.interceptor.Priority
		switch {
		case m.target.pool != nil && n < MaxLegs:
			call.trigger, call.leg, call.action = t, n, leg.Action
			m.target.pool.plan(t, call, m.interceptor.OrderedBy)
		case m.target.down != "":
			leg.Outcome, leg.Reason = messages.OutcomeUnavailable, m.target.down
		case n >= MaxLegs:
			leg.Outcome = messages.OutcomeOverloaded
			leg.Reason = fmt.Sprintf("the topic has %d interceptors: a trigger asks at most %d", len(matches), MaxLegs)
		case t.asking != nil && !t.router.waits.enter(&t.edges[n], t.asking, &m.target.ref.node):
			leg.Outcome, leg.Reason = messages.OutcomeDeadlock, fmt.Sprintf("%s waits for %s", m.target.id, t.from)
		default:
			call.trigger, call.leg, call.action, call.ref, call.first = t, n, leg.Action, m.target.ref, true
			t.pending++
			if len(m.target.interceptors) > 1 {
				if last == nil {
					last = map[*CapsuleRef]*invocation{}
				}
				if before := last[call.ref]; before != nil {
					before.then, call.first = call, false
				}
				last[call.ref] = call
			}
		}
		n++
	}
	t.legs, t.calls = t.legs[:n], t.calls[:n]
}

// up enters a capsule that serves, in place of what it was before.
func (r *routingTable) up(m *CapsuleUp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.target(m.Ref)
	if t.pool == nil && !t.lastSeen.up(m.Generation) { // a pool knows its own instances
		return
	}
	r.subscribe(t, m.Interceptors)
	if t.runLoop != m.RunLoop {
		r.version.Add(1)
	}
	t.down, t.runLoop = "", m.RunLoop
	if m.RunLoop {
		t.down = "it is a run loop, which triggers do not reach"
	}
}

// down keeps a capsule that does not serve, so that its legs are answered.
func (r *routingTable) down(m *CapsuleDown) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.target(m.Ref)
	if t.pool == nil && !t.lastSeen.down(m.Generation) {
		return
	}
	r.subscribe(t, m.Interceptors)
	if t.down = m.Reason; t.down == "" {
		t.down = "it does not serve"
	}
}

// gone takes a capsule out: no trigger asks for it any longer.
func (r *routingTable) gone(m *CapsuleGone) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.targets[m.Ref.ID()]; t != nil && !m.PoolStays {
		r.subscribe(t, nil)
		delete(r.targets, t.id)
	}
}

// target returns the entry for a capsule, a new one if it is not known.
func (r *routingTable) target(ref *CapsuleRef) *target {
	t := r.targets[ref.ID()]
	if t == nil {
		t = &target{table: r, id: ref.ID(), down: "it has not been started"}
		r.targets[t.id] = t
	}
	t.ref, t.pool = ref, ref.pool
	return t
}

// now returns who answers for a capsule, or why nobody does.
func (t *target) now() (ref *CapsuleRef, pool *Pool, down string) {
	t.table.mu.RLock()
	defer t.table.mu.RUnlock()
	return t.ref, t.pool, t.down
}

// subscribe indexes a capsule under its current interceptors. It announces the
// very same slice until its manifest is read again.
func (r *routingTable) subscribe(t *target, interceptors []messages.Interceptor) {
	if len(t.interceptors) == len(interceptors) && (len(interceptors) == 0 || &t.interceptors[0] == &interceptors[0]) {
		return
	}
	r.version.Add(1)
	for i := range t.interceptors {
		r.index.remove(t, t.interceptors[i].Event)
	}
	t.interceptors = interceptors
	for position := range interceptors {
		r.index.add(subscription{target: t, interceptor: &interceptors[position], position: position})
	}
}
